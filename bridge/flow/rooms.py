"""Which rooms clients enter and leave, and what is known of a room."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.flow.ports import Client
from bridge.flow.presence import Presence
from bridge.flow.session import Session
from bridge.model import EVERYONE, RoomRef
from bridge.rules.compile import Rules
from bridge.rules.namespaces import RoomRule
from bridge.rules.scope import RoomView
from bridge.state.memberships import Memberships
from bridge.state.remembered import Remembered
from bridge.state.retained import Retained


class Rooms:
    """Joins and leaves of clients: memberships here, presence told to all instances."""

    def __init__(
        self,
        rules: Rules,
        memberships: Memberships[Client],
        remembered: Remembered,
        retained: Retained,
        presence: Presence,
    ) -> None:
        self._rules = rules
        self._memberships = memberships
        self._remembered = remembered
        self._retained = retained
        self._presence = presence

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

    def enter(self, session: Session, room: str, mark: int, *, retained: bool = True) -> None:
        """Put the client into a room and tell the others; nothing when it is there already.

        `mark` is the offset in the log behind which it has, or is given, all events of the room. It is
        given the values that are retained there from before, unless `retained` is false: it has them.
        """
        client, principal = session.client, session.principal
        if not self._memberships.join(client.namespace, room, client, mark) or principal is None:
            return
        if retained:
            self._show_retained(client, room, mark)
        rule = self._find_tracked(session, room)
        if rule is not None:
            ref = RoomRef(system=session.system, room=room)
            self._presence.enter(ref, client.namespace, principal, client.sid)

    def _show_retained(self, client: Client, room: str, mark: int) -> None:
        namespace = client.namespace
        for emission in self._retained.of(namespace, room):
            if emission.place is not None and emission.place.offset > mark:
                continue
            if emission.skip_sid == client.sid or any(
                self._memberships.contains(namespace, other, client)
                for other in emission.rooms
                if other != room
            ):
                continue  # it is the client's own, or it has it by another room
            client.emit(emission.event, emission.args)

    def exit(self, session: Session, room: str) -> None:
        """Take the client out of a room and tell the others; nothing when it is not there."""
        client = session.client
        if self._memberships.leave(client.namespace, room, client):
            self._leave(session, room, transport_lost=False)

    def exit_all(self, session: Session, *, transport_lost: bool) -> None:
        """Take the client out of all its rooms; if its connection broke, its user stays present a while."""
        for _, room in self._memberships.leave_all(session.client):
            self._leave(session, room, transport_lost=transport_lost)

    def rooms_of(self, session: Session) -> list[str]:
        """The rooms that the client is in, without the one of everybody."""
        client = session.client
        return [room for room in self._memberships.rooms_of(client.namespace, client) if room != EVERYONE]

    def view(self, room: RoomRef) -> RoomView:
        """What templates may know of a room."""
        last = self._remembered.view(room)
        return RoomView(users=self._presence.users(room), last=last.events, last_activity=last.time)

    def _find_tracked(self, session: Session, room: str) -> RoomRule | None:
        """The rule of a room whose members the instances tell one another; None for any other."""
        found = session.namespace.find_room(room, session.words)
        return found[0] if found is not None and found[0].is_tracked else None

    def _leave(self, session: Session, room: str, *, transport_lost: bool) -> None:
        rule = self._find_tracked(session, room)
        if rule is None or session.principal is None:
            return
        ref = RoomRef(system=session.system, room=room)
        if transport_lost:
            self._presence.lose(ref, session.client.sid, rule.grace)
        else:
            self._presence.exit(ref, session.client.sid)
