"""The part of the log that this instance can hand out again: fills the history, and knows where it stands."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, cast

from bridge.model import Delivery, Emission, Place
from bridge.state.history import History

_NOWHERE: Final = Place(0, 0)
"""Where clients begin while nothing has come from the log yet; no delivery has it."""


class LogWindow:
    """Dates deliveries, records them once their emissions were sent, and lets clients wait for those to come.

    Recorded later than sent: whoever asks for the head in between is told of no event that is still to be
    sent to it.
    """

    def __init__(self, history: History, clock: Callable[[], float], heartbeat: float) -> None:
        """`clock` gives epoch seconds that never jump: the wall clock may be set, the log goes on.

        Every `heartbeat` seconds there is a delivery in the log that tells when it happened.
        """
        self.history = history
        self.now = clock
        """The time of the log."""
        self._heartbeat = heartbeat
        self._told: float | None = None
        """When the last delivery happened that told it; None while none has."""
        self._time = 0.0
        """Of the last delivery."""
        self._waiting: dict[asyncio.Future[None], int] = {}

    @property
    def place(self) -> Place:
        """Where the log is now: what all clients have that miss nothing."""
        return self.history.head or _NOWHERE

    def head(self) -> str:
        """The cursor of a client that has been given all that was sent (`flow.ports.Head`)."""
        return self.place.cursor

    def caught_up(self) -> None:
        """From here on deliveries come when they happen."""
        if self._told is None:
            self._told = self._time = self.now()
            self.history.date(self._told)

    def begin_epoch(self) -> None:
        """Another log begins, or the same one behind a gap: what was before means nothing any more."""
        self.history.clear()

    def date(self, batch: Sequence[Delivery]) -> list[float]:
        """When deliveries happened (epoch seconds): none before the one in front of it, none in the future.

        A stream does not tell. A delivery that does not say it itself, or not credibly, happened now, as long
        as there are signs of life; in a backlog, at the time of the last that told it. Those in front of the
        first that tells happened before it.
        """
        now = self.now()
        times: list[float] = []
        for delivery in batch:
            own, told = delivery.timestamp, self._told
            if told is None:
                if own is None:
                    times.append(now)
                    continue
                self._told = self._time = told = min(own, now)
                self.history.date(told)
                times = [told] * len(times)
            elif own is not None and told <= own <= now:
                self._told = told = own
            elif told + 2 * self._heartbeat >= now:
                told = now
            if told > self._time:
                self._time = told
            times.append(self._time)
        return times

    def record(
        self, batch: Sequence[Delivery], times: list[float], emissions: list[Sequence[Emission]]
    ) -> None:
        """Keep deliveries with what was sent for them; what came round the log is none of it."""
        offsets = [delivery.offset for delivery in batch]
        checksums = [delivery.checksum for delivery in batch]
        if None in offsets:
            kept = [at for at, offset in enumerate(offsets) if offset is not None]
            times, emissions = [times[at] for at in kept], [emissions[at] for at in kept]
            offsets, checksums = [offsets[at] for at in kept], [checksums[at] for at in kept]
        if offsets:
            self.history.extend(cast(list[int], offsets), checksums, times, emissions)
        if self._told is not None:
            self.history.trim(self.now())
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

    def _wake(self) -> None:
        head = self.history.head
        for passed, offset in self._waiting.items():
            if head is not None and head.offset >= offset and not passed.done():
                passed.set_result(None)
