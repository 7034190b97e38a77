"""The part of the log that this instance can hand out again: fills the history, and knows where it stands."""

import asyncio
from collections.abc import Callable, Sequence

from bridge.model import Delivery, Emission, Place
from bridge.state.history import History

_BEFORE_ANYTHING = Place(0, 0).cursor
"""What a client holds that connects before anything was read; no delivery has it."""


class LogWindow:
    """Records deliveries once their emissions were sent, and lets clients wait for those to come.

    Recorded later than sent: whoever asks for the head in between is told of no event that is still to be
    sent to it.
    """

    def __init__(self, history: History, clock: Callable[[], float]) -> None:
        """`clock` gives epoch seconds that never jump: the wall clock may be set, the log goes on."""
        self.history = history
        self.now = clock
        """The time of the log."""
        self._time: float | None = None
        """Of the last delivery; None while none has said its own."""
        self._warming_up = True
        self._waiting: dict[asyncio.Future[None], int] = {}

    def head(self) -> str:
        """The cursor of a client that has been given all that was sent (`flow.ports.Head`)."""
        place = self.history.head
        return _BEFORE_ANYTHING if place is None else place.cursor

    def caught_up(self) -> None:
        """From here on deliveries come when they happen."""
        self._warming_up = False
        if self._time is None:
            self._time = self.now()
            self.history.date(self._time)

    def begin_epoch(self) -> None:
        """Another log begins, or the same one behind a gap: what was before means nothing any more."""
        self.history.clear()

    def record(self, handled: Sequence[tuple[Delivery, Sequence[Emission]]]) -> None:
        """Keep deliveries with what was sent for them; those that came round the log are left out."""
        now = self.now()
        for delivery, emissions in handled:
            if delivery.offset is not None:
                time = self._find_time(delivery.timestamp, now)
                self.history.append(Place(delivery.offset, delivery.checksum), time, emissions)
        if self._time is not None:
            self.history.trim(now)
        if self._waiting:
            self._wake()

    def reach_back(self, age: float) -> Place | None:
        """A place that has everything of the last `age` seconds behind it; None when that is too long."""
        return self.history.place_before(self.now() - age)

    async def wait_past(self, place: Place, seconds: float) -> bool:
        """Wait until the reader, which may lag behind another instance's, has come to a place: whether so."""
        if not self.history.is_ahead(place):
            return True
        passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[passed] = place.offset
        try:
            async with asyncio.timeout(seconds):
                await passed
        except TimeoutError:
            return False
        finally:
            del self._waiting[passed]
        return True

    def age(self) -> float:
        """Seconds from the oldest delivery that is kept until now."""
        floor = self.history.floor_time
        return 0.0 if floor is None else max(0.0, self.now() - floor)

    def _find_time(self, own: float | None, now: float) -> float:
        """When a delivery happened: never before the one in front of it in the log, nor in the future.

        A stream does not tell. A delivery that does not say it itself, or not credibly, happened about now;
        in the backlog of the start at the time of the one before it, which is 10 s old at most: instances
        send heartbeats. Those in front of the first that tells happened before it.
        """
        last = self._time
        if last is None:
            if own is None:
                return now
            self._time = min(own, now)
            self.history.date(self._time)
        elif self._warming_up:
            self._time = last if own is None else min(max(own, last), now)
        else:
            self._time = own if own is not None and last <= own <= now else now
        return self._time

    def _wake(self) -> None:
        head = self.history.head
        for passed, offset in self._waiting.items():
            if head is not None and head.offset >= offset and not passed.done():
                passed.set_result(None)
