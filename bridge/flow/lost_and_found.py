"""The sessions that clients may come back to: of those that are connected here, lost here, or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from msgspec import structs

from bridge.config.units import Rate
from bridge.flow.control import Covers
from bridge.flow.handovers import Aged, Handovers, Wanted
from bridge.flow.ports import Client
from bridge.flow.replays import Replays
from bridge.flow.session import Session, Sessions
from bridge.model import Principal
from bridge.rules.limits import RateWindow
from bridge.state.lost_sessions import LostSession, LostSessions
from bridge.state.memberships import Memberships
from bridge.state.recent_orders import RecentOrders

_STRANGERS: Final = Rate("200/s")
"""How often all others are asked for clients for whom nobody has vouched: in an open namespace whoever shows
any secret would have all instances work."""


class LostAndFound:
    """Knows sessions by the hash of their secret, keeps those that are lost, and brings what others have.

    Each is in one place: a client that comes for its session ends the connection that still has it.
    """

    def __init__(
        self,
        *,
        sessions: Sessions,
        lost: LostSessions,
        orders: RecentOrders,
        handovers: Handovers,
        replays: Replays,
        memberships: Memberships[Client],
        clock: Callable[[], float],
    ) -> None:
        """`clock` gives seconds that never jump (`time.monotonic`)."""
        self._sessions = sessions
        self._lost = lost
        self._orders = orders
        self._handovers = handovers
        self._replays = replays
        self._memberships = memberships
        self._clock = clock
        self._strangers = RateWindow((_STRANGERS,))
        self._here: dict[str, Session] = {}
        """Sessions whose clients are connected."""
        handovers.serve(self._give, self._keep)

    @property
    def connected(self) -> list[Session]:
        """The sessions whose clients are connected, and may come back."""
        return list(self._here.values())

    def find_connected(self, key: str) -> Session | None:
        """The session of this key, while its connection has not been missed yet."""
        return self._here.get(key)

    def begin(self, session: Session, key: str) -> None:
        """A client is about to be connected that may come back by this key."""
        session.key = key
        self._here[key] = session

    def closed(self, session: Session, *, transport_lost: bool) -> None:
        """A client is gone, and still in its rooms: keep its session, if it may come back."""
        key = session.key
        if key is None or self._here.get(key) is not session:
            return
        del self._here[key]
        lost = self._to_lost(session, key) if transport_lost else None
        if lost is not None:
            self._lost.put(lost, self._clock())
        else:
            self._handovers.withdraw(key)

    async def bring(self, client: Client, principal: Principal, key: str) -> bool:
        """Have the session among the lost ones here, from wherever it is; whether there is one.

        A copy that all were given is good as long as nobody has gone on with it: where nobody can be asked,
        it is not relied on.
        """
        lost = self.find(client, principal, key)
        if lost is not None and not lost.shared:
            return True
        if lost is None and not principal.identity and self._strangers.take(self._clock()) is not None:
            return False
        wanted = Wanted(
            key=key, identity=principal.identity, namespace=client.namespace, newer=lost is not None
        )
        found = await self._handovers.find(wanted)
        if isinstance(found, LostSession):
            self._keep(found)
        elif found is not None:
            return False
        return self.find(client, principal, key) is not None

    def find(self, client: Client, principal: Principal, key: str) -> LostSession | None:
        """The lost session of a client that is back, if it is here."""
        return self._fetch(key, principal.identity, client.namespace, client.connection_id)

    def take(self, lost: LostSession) -> LostSession:
        """A session goes on here: nobody else need keep it."""
        self._lost.take(lost.key, self._clock())
        if lost.shared:
            self._handovers.claim(lost.key)
        return structs.replace(lost, shared=False)

    async def hand_over(self) -> None:
        """Give all sessions to the others, of clients that are connected too; the caller bounds the time.

        An instance that is about to stop has no other use for them: it carries out no commands any more, and
        reads nothing, so that they stay as they are. Given before their clients are sent away, they are there
        when those come.
        """
        await self._handovers.hand_over(self._own_sessions(), self._is_here)

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

    def begin_epoch(self) -> None:
        """The log began anew, or with a gap: no cursor means anything any more, and clients must know.

        Those that get cursors are cut at once: they would come back with one of the new log, as if they had
        missed nothing. All others are sent away soon, and are given no cursor until then.
        """
        for session in list(self._here.values()):
            session.client.evict()
        for session in self._sessions:
            session.behind_gap = True
        self._lost.clear()
        self._orders.clear()

    def _give(self, wanted: Wanted) -> LostSession | None:
        """Part with a session for another instance, to which its client has come."""
        lost = self._fetch(wanted.key, wanted.identity, wanted.namespace)
        if lost is None:
            return None
        shared = self._handovers.is_shared(lost)
        if shared and wanted.newer:
            return None
        self._lost.take(lost.key, self._clock())
        return structs.replace(lost, shared=shared)

    def _keep(self, lost: LostSession, age: float = 0.0) -> None:
        """Keep a session of another instance, lost `age` seconds ago, as operators want it by now."""
        own = self._lost.get(lost.key, self._clock())
        if lost.shared and (lost.key in self._here or (own is not None and not own.shared)):
            return  # its client has come here meanwhile: this is what it was before
        obedient = self._orders.apply(lost)
        if obedient is None:
            self._lost.take(lost.key, self._clock())  # an older copy of it shall not go on instead
        else:
            self._lost.put(obedient, self._clock(), age)

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

    def _to_lost(self, session: Session, key: str) -> LostSession | None:
        """What its client may come back to; None when nobody has signed in yet."""
        client, principal, entry = session.client, session.principal, session.entry
        if principal is None:
            return None
        if session.progress is None:  # it is not connected yet
            return None if entry is None else entry.lost
        return LostSession(
            key=key,
            sid=client.sid,
            namespace=client.namespace,
            identity=principal.identity,
            rooms=self._memberships.marks(client.namespace, client),
            due=session.due,
            progress=session.progress,
            lost_at=self._replays.head.offset,
        )

    def _own_sessions(self) -> Iterator[Aged]:
        """All that can be given away; each as it is when it is asked for."""
        for age, lost in self._lost.aged(self._clock()):
            yield Aged(age=age, session=lost)
        for key, session in list(self._here.items()):
            own = self._to_lost(session, key) if self._here.get(key) is session else None
            if own is not None:
                yield Aged(age=0.0, session=own)

    def _is_here(self, key: str) -> bool:
        return key in self._here or self._lost.get(key, self._clock()) is not None
