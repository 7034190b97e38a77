"""Connection state recovery: sessions whose clients may come back to them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from msgspec import Struct, structs

from bridge.flow.control import Covers
from bridge.flow.handovers import Handovers, Wanted
from bridge.flow.ports import Admitted, Client
from bridge.flow.replays import Replays
from bridge.flow.rooms import Rooms
from bridge.flow.session import Entry, Session
from bridge.flow.wishes import Wish, to_key
from bridge.model import EVERYONE, Place, Principal
from bridge.rules.command_plan import plan_connect
from bridge.rules.since import Age
from bridge.state.lost_sessions import LostSession, LostSessions
from bridge.state.memberships import Memberships
from bridge.state.progress import Behind, Progress
from bridge.state.recent_orders import RecentOrders

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
    """Gives clients secrets to come back with, keeps what they come back to, and lets them.

    Sessions are known by a hash of the secret: it is shown to nobody but its client.
    """

    def __init__(
        self,
        *,
        lost: LostSessions,
        orders: RecentOrders,
        handovers: Handovers,
        replays: Replays,
        rooms: Rooms,
        memberships: Memberships[Client],
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        """`clock` gives seconds that never jump (`time.monotonic`), `wall` epoch seconds."""
        self._lost = lost
        self._handovers = handovers
        self._replays = replays
        self._rooms = rooms
        self._memberships = memberships
        self._clock = clock
        self._wall = wall
        self._orders = orders
        self._here: dict[str, Session] = {}
        """Sessions whose clients are connected, and may come back."""
        handovers.serve(self._give, self._keep)

    def caught_up(self) -> None:
        """All that was in the log at the start has been read: nobody here has received any of it.

        Whoever has connected by now has its rooms from here on.
        """
        head = self._replays.head
        self._memberships.begin_log(head.offset)
        for session in self._here.values():
            if session.progress is not None:
                session.progress = Progress(start=head)
        self._replays.caught_up()

    def connection_of(self, wish: Wish) -> str | None:
        """The connection of the session that is asked for, while it has not been missed yet."""
        session = self._here.get(wish.key) if wish.key is not None else None
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
                    has_session = await self._bring(client, principal, wish.key)
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
                session.entry = Entry(behind=behind, has_values=not isinstance(wish.since, Age))
            self._replays.count_since(wish.since, session.entry is not None)
            extra["recovered"] = session.entry is not None
        lost = None if session.entry is None else session.entry.lost
        pid = None
        if wish.recovers:
            pid = secrets.token_urlsafe(_SECRET_BYTES) if lost is None else wish.pid
            session.key = to_key(pid or "")
            self._here[session.key] = session
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

    def closed(self, session: Session, *, transport_lost: bool) -> None:
        """A client is gone, and still in its rooms: keep its session, if it may come back."""
        key = session.key
        if key is None or self._here.get(key) is not session:
            return
        del self._here[key]
        if not transport_lost or session.principal is None:
            return
        entry, progress = session.entry, session.progress
        if progress is not None:
            client = session.client
            lost = LostSession(
                key=key,
                sid=client.sid,
                namespace=client.namespace,
                identity=session.principal.identity,
                rooms=self._memberships.marks(client.namespace, client),
                due=session.due,
                progress=progress,
                lost_at=self._replays.head.offset,
            )
            self._lost.put(lost, self._clock())
        elif entry is not None and entry.lost is not None:  # it was cut before it was connected
            self._lost.put(entry.lost, self._clock())

    def forget(self, covers: Covers, offset: int | None) -> None:
        """Let none of the lost sessions come back that an operator ended; the order stands at `offset`."""
        self._lost.forget(covers)
        if offset is not None:
            self._orders.note(offset, covers, None, self._clock())

    def evict(self, covers: Covers, room: str, offset: int | None) -> None:
        """Let no lost session that is meant come back into a room that an operator emptied."""
        self._lost.evict(covers, room)
        if offset is not None:
            self._orders.note(offset, covers, room, self._clock())

    def forget_all(self) -> None:
        """The log began anew, or with a gap: no cursor means anything any more, and clients must know."""
        for session in list(self._here.values()):
            session.client.evict()
        self._lost.clear()
        self._orders.clear()

    async def _bring(self, client: Client, principal: Principal, key: str) -> bool:
        """Have the session among the lost ones here, from wherever it is; whether there is one."""
        if self._fetch(key, principal.identity, client.namespace, client.connection_id) is not None:
            return True
        wanted = Wanted(key=key, identity=principal.identity, namespace=client.namespace)
        found = await self._handovers.find(wanted)
        if found is not None:
            self._keep(found)
        return self._lost.get(key, self._clock()) is not None

    def _keep(self, lost: LostSession, age: float = 0.0) -> None:
        """Keep a session of another instance, lost `age` seconds ago, as operators want it by now."""
        obedient = self._orders.apply(lost)
        if obedient is not None:
            self._lost.put(obedient, self._clock(), age)

    def _give(self, wanted: Wanted) -> LostSession | None:
        """Part with a session for another instance, to which its client has come."""
        lost = self._fetch(wanted.key, wanted.identity, wanted.namespace)
        return None if lost is None else self._lost.take(lost.key, self._clock())

    def _fetch(self, key: str, identity: str, namespace: str, asking: str = "") -> LostSession | None:
        """Look for a session of this identity; its connection is cut, unless that is the one that asks."""
        session = self._here.get(key)
        if (
            session is not None
            and session.principal is not None
            and (session.principal.identity, session.client.namespace) == (identity, namespace)
            and session.client.connection_id != asking
        ):
            session.client.evict()
        lost = self._lost.get(key, self._clock())
        return None if lost is None or (lost.identity, lost.namespace) != (identity, namespace) else lost

    def _find_entry(self, session: Session, wish: Wish) -> Entry | None:
        """Take the lost session of the client that is back, if it may have all of it and nothing is amiss.

        Else it stays, since a client that does not get it by a wrong offset may mend that.
        """
        principal = session.principal
        if principal is None or wish.key is None:
            return None
        client = session.client
        lost = self._fetch(wish.key, principal.identity, client.namespace, client.connection_id)
        if lost is None or (wish.cursor is None and wish.offset is not None):
            return None
        behind = lost.progress.locate(wish.cursor, lost.rooms)
        if behind is None or not self._replays.holds(behind) or not self._may_have(session, lost):
            return None
        self._lost.take(lost.key, self._clock())
        self._handovers.claim(lost)
        marks = {room: max(lost.rooms[room], mark) for room, mark in behind.unsure.items()}
        return Entry(behind=behind, lost=structs.replace(lost, rooms={**lost.rooms, **marks}))

    def _may_have(self, session: Session, lost: LostSession) -> bool:
        """Whether the user, as the token says now, may be in every room of the session."""
        principal = session.principal
        if principal is None:
            return False
        due = plan_connect(session.namespace, session.words, principal, lost.sid, self._wall()).rooms
        return all(
            room == EVERYONE or room in due or self._rooms.may_enter(session, room) for room in lost.rooms
        )
