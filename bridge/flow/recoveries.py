"""Connection state recovery: what clients that come back may go on with, and what the others begin with."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from msgspec import Struct, structs

from bridge.flow.lost_and_found import LostAndFound
from bridge.flow.ports import Admitted, Client
from bridge.flow.replays import Replays
from bridge.flow.rooms import Rooms
from bridge.flow.session import Entry, Session
from bridge.flow.wishes import Wish, to_key
from bridge.model import EVERYONE, Place, Principal
from bridge.rules.command_plan import plan_connect
from bridge.state.lost_sessions import LostSession
from bridge.state.memberships import Memberships
from bridge.state.progress import Behind, Progress

_SECRET_BYTES: Final = 16
_PATIENCE: Final = 8.0
"""Seconds that a client waits for its session at most: the edge gives up soon after."""


class AtHand(Struct, frozen=True, kw_only=True):
    """What a client may have of what it wishes, as far as that took time to find."""

    session: bool = False
    """Its session is here, and nobody has a newer one."""
    since: Place | None = None
    """The place that its `since` names."""


class Recoveries:
    """Gives clients secrets to come back with, and lets them: with all that they missed, or as new ones."""

    def __init__(
        self,
        *,
        sessions: LostAndFound,
        replays: Replays,
        rooms: Rooms,
        memberships: Memberships[Client],
        wall: Callable[[], float],
    ) -> None:
        """`wall` gives epoch seconds."""
        self._sessions = sessions
        self._replays = replays
        self._rooms = rooms
        self._memberships = memberships
        self._wall = wall

    def caught_up(self) -> None:
        """All that was in the log at the start has been read: nobody here has received any of it.

        Whoever has connected by now has its rooms from here on.
        """
        head = self._replays.head
        self._memberships.begin_log(head.offset)
        for session in self._sessions.connected:
            if session.progress is not None:
                session.progress = Progress(start=head)
        self._replays.caught_up()

    def connection_of(self, wish: Wish) -> str | None:
        """The connection of the session that is asked for, while it has not been missed yet."""
        session = None if wish.key is None else self._sessions.find_connected(wish.key)
        return None if session is None else session.client.connection_id

    async def prepare(self, client: Client, principal: Principal, wish: Wish) -> AtHand:
        """Have what a client comes back to at hand.

        The one thing about a recovery that takes time: others may have the session, and this instance may
        not have read yet what the client has seen. While it still reads what its log held at the start
        nothing can be had: of what is behind that, nobody would be sent the rest.
        """
        has_session, since = False, None
        with suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                await self._replays.wait_until_ready()
                if wish.key is not None and self._replays.is_ready:
                    has_session = await self._sessions.bring(client, principal, wish.key)
                    if has_session and wish.cursor is not None:
                        await self._replays.wait_for(wish.cursor.live)
                if wish.since is not None:
                    since = await self._replays.find(wish.since, None)
        return AtHand(session=has_session, since=since)

    def admit(self, session: Session, wish: Wish, at_hand: AtHand) -> Admitted:
        """Say how the session of a client begins that is about to be connected, with what `prepare` found."""
        extra: dict[str, object] = {}
        if wish.key is not None:
            session.entry = self._find_entry(session, wish) if at_hand.session else None
            self._replays.count("session", session.entry is not None)
            extra["recovered"] = session.entry is not None
        if wish.since is not None and session.entry is None:
            behind = None if at_hand.since is None else Behind(base=at_hand.since)
            if session.principal is not None and behind is not None and self._replays.holds(behind):
                session.entry = Entry(behind=behind)
            self._replays.count_since(wish.since, session.entry is not None)
            extra["recovered"] = session.entry is not None
        lost = None if session.entry is None else session.entry.lost
        pid = None
        if wish.recovers:
            pid = secrets.token_urlsafe(_SECRET_BYTES) if lost is None else wish.pid
            self._sessions.begin(session, to_key(pid or ""))
        if pid is not None or extra:
            extra["offset"] = (
                self._replays.head.cursor if session.entry is None else session.entry.behind.cursor
            )
        return Admitted(sid=None if lost is None else lost.sid, pid=pid, extra=extra)

    def begin(self, session: Session, due: tuple[str, ...]) -> None:
        """The client is connected and signed in: what its cursors mean from here on; `due` are its rooms."""
        session.due = due
        if session.key is None:
            return
        entry = session.entry
        if entry is None:
            session.progress = Progress(start=self._replays.head)
        elif entry.lost is None:
            session.progress = Progress(start=entry.behind.base)
        else:
            session.progress = entry.lost.progress.resume(entry.behind)

    def rooms_of(self, session: Session) -> dict[str, int]:
        """The rooms that the client enters when it has signed in, each with its mark."""
        entry = session.entry
        now = self._replays.head.offset
        mark = now if entry is None else entry.behind.base.offset
        if entry is None or entry.lost is None:
            return dict.fromkeys((EVERYONE, *session.due), mark)
        lost = entry.lost
        new = [room for room in session.due if room not in lost.due and room not in lost.rooms]
        return {**lost.rooms, **dict.fromkeys(new, now)}

    def _find_entry(self, session: Session, wish: Wish) -> Entry | None:
        """Take the lost session of the client that is back, if it may have all of it and nothing is amiss.

        Else it stays, since a client that does not get it by a wrong offset may mend that.
        """
        principal = session.principal
        if principal is None or wish.key is None:
            return None
        lost = self._sessions.find(session.client, principal, wish.key)
        cursor = wish.cursor
        if lost is None or (cursor is None and wish.offset is not None):
            return None
        if cursor is not None and cursor.live.offset > lost.lost_at:
            return None  # the client has been connected since, and its session has gone on without this one
        behind = lost.progress.locate(cursor, lost.rooms)
        if behind is None or not self._replays.holds(behind) or not self._may_have(session, lost):
            return None
        lost = self._sessions.take(lost)
        marks = {room: max(lost.rooms[room], mark) for room, mark in behind.unsure.items()}
        return Entry(
            behind=behind,
            lost=structs.replace(lost, rooms={**lost.rooms, **marks}),
            heard=lost.progress.covers(cursor),
        )

    def _may_have(self, session: Session, lost: LostSession) -> bool:
        """Whether the user, as the token says now, may be in every room of the session."""
        principal = session.principal
        if principal is None:
            return False
        due = plan_connect(session.namespace, session.words, principal, lost.sid, self._wall()).rooms
        return all(
            room == EVERYONE or room in due or self._rooms.may_enter(session, room) for room in lost.rooms
        )
