"""Who enters and leaves rooms, and what the others of the room are told about it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from bridge.flow.ports import Client, Fanout
from bridge.flow.session import Session
from bridge.model import EVERYONE, Emission, Principal, RoomRef
from bridge.rules.command_plan import client_scope
from bridge.rules.compile import Rules
from bridge.rules.namespaces import PresenceRules
from bridge.rules.scope import RoomView
from bridge.state.memberships import Memberships
from bridge.state.presence import Presence
from bridge.state.remembered import Remembered


class Rooms:
    """Joins and leaves of clients: memberships, presence and its events."""

    def __init__(
        self,
        rules: Rules,
        memberships: Memberships[Client],
        remembered: Remembered,
        fanout: Fanout,
        clock: Callable[[], float],
    ) -> None:
        self._rules = rules
        self._memberships = memberships
        self._remembered = remembered
        self._presence = Presence()
        self._places: dict[RoomRef, Counter[str]] = {}
        """Namespaces that show a room's presence, with how many clients of it are there."""
        self._fanout = fanout
        self._clock = clock
        self._grace: set[asyncio.TimerHandle] = set()

    def may_enter(self, session: Session, room: str) -> bool:
        """Whether an entry of `rooms` lets the client, as it is signed in now, into the room."""
        found = session.namespace.find_room(room, session.words)
        principal = session.principal
        return (
            found is not None and principal is not None and found[0].allow.permits(principal.claims, found[1])
        )

    def is_inside(self, session: Session, room: str) -> bool:
        """Whether the client is in a room."""
        return self._memberships.contains(session.client.namespace, room, session.client)

    def is_full(self, session: Session, rooms: Sequence[str]) -> bool:
        """Whether the client may not join these rooms besides those that it is in."""
        own = set(self.rooms_of(session))
        return len(own.union(rooms)) > self._rules.config.limits.rooms

    def enter(self, session: Session, room: str) -> None:
        """Put the client into a room and tell the others; nothing when it is there already."""
        client = session.client
        if not self._memberships.join(client.namespace, room, client):
            return
        if session.principal is None or self._presence_of(session, room) is None:
            return
        ref = RoomRef(system=session.system, room=room)
        self._places.setdefault(ref, Counter())[client.namespace] += 1
        if self._presence.join(ref, session.principal.identity, client.sid):
            self._tell(session, session.principal, ref, "joined")

    def exit(self, session: Session, room: str) -> None:
        """Take the client out of a room and tell the others; nothing when it is not there."""
        client = session.client
        if self._memberships.leave(client.namespace, room, client):
            self._absent(session, room)

    def exit_all(self, session: Session, *, transport_lost: bool) -> None:
        """Take the client out of all its rooms; if its connection broke, its user stays present a while."""
        for _, room in self._memberships.leave_all(session.client):
            presence = self._presence_of(session, room)
            if presence is not None and transport_lost:
                self._absent_later(session, room, presence.grace)
            else:
                self._absent(session, room)

    def rooms_of(self, session: Session) -> list[str]:
        """The rooms that the client is in, without the one of everybody."""
        client = session.client
        return [room for room in self._memberships.rooms_of(client.namespace, client) if room != EVERYONE]

    def view(self, room: RoomRef) -> RoomView:
        """What templates may know of a room."""
        last = self._remembered.view(room)
        return RoomView(users=self._presence.users(room), last=last.events, last_activity=last.time)

    def stop(self) -> None:
        """Forget the grace times that still run."""
        for timer in self._grace:
            timer.cancel()
        self._grace.clear()

    def _presence_of(self, session: Session, room: str) -> PresenceRules | None:
        found = session.namespace.find_room(room, session.words)
        return found[0].presence if found is not None else None

    def _absent_later(self, session: Session, room: str, grace: float) -> None:
        def expire() -> None:
            self._grace.discard(timer)
            self._absent(session, room)

        timer = asyncio.get_running_loop().call_later(grace, expire)
        self._grace.add(timer)

    def _absent(self, session: Session, room: str) -> None:
        """Count the client out of the room's presence; the others hear of a user's last one."""
        principal = session.principal
        ref = RoomRef(system=session.system, room=room)
        places = self._places.get(ref)
        if principal is None or places is None or session.client.namespace not in places:
            return
        last = self._presence.leave(ref, principal.identity, session.client.sid)
        if last:
            self._tell(session, principal, ref, "left")
        places[session.client.namespace] -= 1
        if not places[session.client.namespace]:
            del places[session.client.namespace]
        if not places:
            del self._places[ref]

    def _tell(
        self, session: Session, principal: Principal, ref: RoomRef, change: Literal["joined", "left"]
    ) -> None:
        """Send `joined` or `left` to the room in every namespace that shows its presence."""
        emissions = []
        for namespace in self._places[ref]:
            found = self._rules.match_namespace(namespace)
            entry = found[0].find_room(ref.room, found[1]) if found is not None else None
            if found is None or entry is None or entry[0].presence is None:
                continue
            template = entry[0].presence.joined if change == "joined" else entry[0].presence.left
            if template is None:
                continue
            scope = client_scope(entry[1], principal, sid=session.client.sid, now=self._clock())
            event, args = template.render(scope)
            emissions.append(
                Emission(
                    route=f"{found[0].pattern} {event}",
                    namespace=namespace,
                    event=event,
                    args=args,
                    rooms=(ref.room,),
                    skip_sid=session.client.sid,
                )
            )
        self._fanout.send(emissions)
