"""Joins with `since`, and all catching up: what clients missed comes before anything newer, nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog
from msgspec import Struct

from bridge.flow.catch_up import CatchUp
from bridge.flow.log_window import LogWindow
from bridge.flow.ports import Client
from bridge.flow.session import Session
from bridge.model import Place
from bridge.rules.since import Age, Since
from bridge.state.cursors import to_tag
from bridge.state.memberships import Memberships
from bridge.state.progress import Behind
from bridge.telemetry.metrics import Metrics

AHEAD_SECONDS: Final = 5.0
"""How long a client waits that has seen more, on another instance, than this one has read; and for one
that has just started."""
_BURST: Final = 16.0
"""Seconds' worth of replays that a connection may have at once, at one outbox a second in the long run:
whoever asks again and again, by joins or by coming anew, waits, and costs the others no more than so much."""
_SHARE: Final = 4
"""A portion is this share of what may wait for a client: it may be exceeded by one event, and doubled."""

log = structlog.get_logger()


class Joined(Struct, frozen=True, kw_only=True):
    """What the answer says to a join with `since`."""

    recovered: bool
    mark: int
    """The offset from which on the client has the rooms."""


class Replays:
    """Finds what clients missed in the history, and sends it to them."""

    def __init__(
        self,
        window: LogWindow,
        memberships: Memberships[Client],
        outbox: int,
        metrics: Metrics,
    ) -> None:
        """`outbox` is how many bytes may wait for a client."""
        self._window = window
        self._history = window.history
        self._memberships = memberships
        self._outbox = outbox
        self._portion = outbox // _SHARE
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()
        self._draining = asyncio.Event()
        self._ready = asyncio.Event()

    def caught_up(self) -> None:
        """The history holds what was in the log at the start: from here on it can be asked."""
        self._ready.set()

    @property
    def is_ready(self) -> bool:
        """Whether the history can be asked."""
        return self._ready.is_set()

    @property
    def head(self) -> Place:
        """Where the log is now: what all clients have that miss nothing."""
        return self._window.place

    def holds(self, behind: Behind) -> bool:
        """Whether all that a client lacks can be given to it."""
        older = behind.older
        return self._history.holds(behind.base) and (older is None or self._history.holds(older))

    async def wait_for(self, place: Place) -> None:
        """Wait until the place is not ahead of this instance any more, for so long as is reasonable."""
        await self._window.wait_past(place, AHEAD_SECONDS)

    async def wait_until_ready(self) -> None:
        """Wait until this instance knows what the log held at its start, for so long as is reasonable."""
        with suppress(TimeoutError):
            async with asyncio.timeout(AHEAD_SECONDS):
                await self._ready.wait()

    async def find(self, since: Since, rooms: tuple[str, ...] | None) -> Place | None:
        """The place after which the client misses the events of rooms; None when it cannot be had.

        Without `rooms` they are those that clients are in by themselves, from their beginning.
        """
        await self.wait_until_ready()
        if not self.is_ready:
            return None  # what is behind the place is still being read, and then sent to nobody
        if isinstance(since, Age):
            return self._window.reach_back(since.seconds)
        place = since.live
        if since.replayed is not None and rooms is not None:
            if since.tag != to_tag(rooms):
                return None  # nobody knows which of them it has up to where
            place = since.replayed
        await self.wait_for(place)
        return place if self._history.holds(place) else None

    async def join(
        self, session: Session, rooms: tuple[str, ...], since: Since, may_join: Callable[[], bool]
    ) -> Joined | None:
        """Send what the client missed of rooms that it is about to enter; None when it is gone meanwhile.

        When this returns, the caller lets it enter the rooms and answers it, and ends the catching up
        (`Client.end_catch_up`), all in this very turn of the loop. Once `may_join` is false, since a renewed
        token allows less, no more events of these rooms are sent.
        """
        client = session.client
        await self._wait_for_turn(session)
        place = await self.find(since, rooms)
        await _give_way(client)
        if session.behind_gap:
            client.evict()  # with a cursor of now it would not learn, when it is back, what its rooms lack
        if session.closed:
            return None
        recovered = place is not None and self._history.holds(place)
        self.count_since(since, recovered)
        if place is None or not recovered:
            return Joined(recovered=False, mark=self.head.offset)
        behind = Behind(base=self.head, older=place, rooms=rooms, tag=to_tag(rooms))
        catch_up = self._make(session, behind, rooms)
        done = self._step(session, catch_up)
        if catch_up.brought_older:
            self._note_join(session, behind)
        while not done:
            await _give_way(client)
            if session.closed or self._draining.is_set():
                client.evict()
                return None
            if not may_join():
                catch_up.give_up_joining()
            done = self._step(session, catch_up)
        return None if session.closed else Joined(recovered=True, mark=place.offset)

    def catch_up(self, session: Session, behind: Behind, then: Callable[[], None]) -> None:
        """Send all that the client lacks of the rooms that it is in, and call `then` when it lacks nothing.

        That is before this returns, unless it is more than may be sent at once, or too much of late.
        """
        catch_up = self._make(session, behind, ())
        if not self._time_to_turn(session) and self._step(session, catch_up):
            self._end(session, then)
            return
        session.catching_up = True
        task = asyncio.get_running_loop().create_task(self._go_on(session, catch_up, then), name="catch up")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def drain(self) -> None:
        """From here on let nobody wait: clients that still lack something are cut, and come back."""
        self._draining.set()

    async def stop(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def count(self, kind: str, recovered: bool) -> None:
        """Count whether somebody got what was missed."""
        self._metrics.recoveries.labels(kind, "true" if recovered else "false").inc()

    def count_since(self, since: Since, recovered: bool) -> None:
        """Count the same of a `since`."""
        self.count("age" if isinstance(since, Age) else "cursor", recovered)

    async def _go_on(self, session: Session, catch_up: CatchUp, then: Callable[[], None]) -> None:
        await self._wait_for_turn(session)
        done = False
        while not done:
            await _give_way(session.client)
            if session.closed or self._draining.is_set():
                session.client.evict()
                return
            done = self._step(session, catch_up)
        session.catching_up = False
        self._end(session, then)

    async def _wait_for_turn(self, session: Session) -> None:
        """Let a client wait that has had more replays than it may; not when all is about to end."""
        if ahead := self._time_to_turn(session):
            with suppress(TimeoutError):
                async with asyncio.timeout(ahead):
                    await self._draining.wait()

    def _time_to_turn(self, session: Session) -> float:
        """Seconds until the client may be replayed something again; 0 when it may now."""
        return max(0.0, session.lane.replays_due - asyncio.get_running_loop().time() - _BURST)

    def _charge(self, session: Session, sent: int) -> None:
        """Count what a client was sent, whatever becomes of it: to leave and come again helps nobody."""
        due = max(session.lane.replays_due, asyncio.get_running_loop().time())
        session.lane.replays_due = due + sent / self._outbox

    def _end(self, session: Session, then: Callable[[], None]) -> None:
        if not session.closed:
            session.client.end_catch_up()
            then()

    def _make(self, session: Session, behind: Behind, joining: tuple[str, ...]) -> CatchUp:
        return CatchUp(
            self._history, self._memberships, session.client, behind, joining=joining, portion=self._portion
        )

    def _note_join(self, session: Session, behind: Behind) -> None:
        """From now on cursors of the session may tell of the rooms that are behind."""
        if session.progress is not None and behind.older is not None:
            marks = self._memberships.marks(session.client.namespace, session.client)
            session.progress = session.progress.join(
                behind.rooms, behind.older, behind.base, behind.tag, marks
            )

    def _step(self, session: Session, catch_up: CatchUp) -> bool:
        """The next portion; a client to which it cannot be given is cut: it must not go on behind a gap."""
        sent = catch_up.sent
        try:
            return catch_up.step(self._window.now())
        except Exception:
            log.exception("catch_up.failed", namespace=session.namespace.pattern)
            session.client.evict()
            return True
        finally:
            self._charge(session, catch_up.sent - sent)


async def _give_way(client: Client) -> None:
    """Wait until a client may be sent more; let all others have their turn, however fast this one reads."""
    await asyncio.sleep(0)
    await client.drained()
