"""Gives one client what it lacks, in portions, until it can hear the fan-out like all others."""

from __future__ import annotations

from collections.abc import Mapping

from bridge.flow.ports import Client
from bridge.model import Emission, size_of
from bridge.state.cursors import Cursor
from bridge.state.history import History
from bridge.state.memberships import Memberships
from bridge.state.progress import Behind


class CatchUp:
    """What one client lacks: first of the rooms that are behind the others, then of all rooms.

    The fan-out passes the client over from the first `step` to `Client.end_catch_up`, with which the caller
    ends it in the turn of the loop in which `step` returned True: so the fan-out's next event follows
    without a gap.
    """

    def __init__(
        self,
        history: History,
        memberships: Memberships[Client],
        client: Client,
        behind: Behind,
        *,
        joining: tuple[str, ...] = (),
        portion: int,
    ) -> None:
        """`joining` are rooms that the client enters at the end; a `portion` is so many bytes."""
        self._history = history
        self._memberships = memberships
        self._client = client
        self._behind = behind
        self._joining = joining
        self._portion = portion
        self._older = behind.older
        """How far the rooms have come that are behind; None once they are with the others."""
        self._reached = behind.base
        """How far all others have come."""
        self._cursor = behind.cursor
        self.sent = 0
        """Bytes of events that were sent so far."""
        self.brought_older = False
        """Whether there was anything that only the rooms lacked that were behind."""

    def step(self, now: float) -> bool:
        """Send the next portion at `now` (epoch seconds).

        True when the client lacks nothing more, or is past all help. When the history has lost what comes
        next, the connection ends: the client comes back and is told.
        """
        history, older = self._history, self._older
        if not history.holds(self._reached) or (older is not None and not history.holds(older)):
            self._client.evict()
            return True
        found: list[tuple[Emission, str]] = []
        done = self._add_older(found, now) and self._add_newer(found, now)
        self._client.begin_catch_up(self._cursor)
        self._client.replay(found)
        self.sent += sum(size_of(emission.args) for emission, _ in found)
        return done

    def give_up_joining(self) -> None:
        """Leave out the rooms that the client was about to enter."""
        self._joining = ()
        self._older = None

    def _add_older(self, found: list[tuple[Emission, str]], now: float) -> bool:
        """Add what rooms lack that are behind the others; whether that was all."""
        if self._older is None:
            return True
        base, tag = self._behind.base, self._behind.tag
        marks = self._marks()
        older = self._older.offset
        since = {
            room: older if room in self._joining else max(older, marks.get(room, -1))
            for room in self._behind.rooms
        }
        replay = self._history.replay(
            self._client.namespace,
            since,
            covered={
                **{room: mark for room, mark in marks.items() if room in self._joining or room not in since},
                **self._behind.had,
            },
            sid=self._client.sid,
            now=now,
            up_to=base.offset,
            limit_bytes=self._portion,
        )
        found += [(emission, Cursor(base, place, tag).text) for emission, place in replay.emissions]
        self.brought_older = self.brought_older or bool(found)
        self._older = None if replay.finished else replay.upto
        if replay.finished and not self.brought_older:
            self._cursor = base.cursor
        else:
            self._cursor = Cursor(base, base if replay.finished else replay.upto, tag).text
        return replay.finished

    def _add_newer(self, found: list[tuple[Emission, str]], now: float) -> bool:
        """Add what all rooms lack; whether that was all."""
        reached = self._reached.offset
        since = {room: max(mark, reached) for room, mark in self._marks().items()}
        since |= dict.fromkeys(self._joining, reached)
        replay = self._history.replay(
            self._client.namespace, since, sid=self._client.sid, now=now, limit_bytes=self._portion
        )
        found += [(emission, place.cursor) for emission, place in replay.emissions]
        self._reached = replay.upto
        if replay.emissions or not replay.finished:
            self._cursor = replay.upto.cursor
        return replay.finished

    def _marks(self) -> Mapping[str, int]:
        return self._memberships.marks(self._client.namespace, self._client)
