"""Decides, purely, what the members of a room are told when a user comes or goes, and in which namespaces."""

from collections.abc import Collection, Iterator, Mapping

from msgspec import Struct

from bridge.model import Emission, Principal, RoomRef
from bridge.rules.compile import Rules
from bridge.rules.names import NamespacePattern
from bridge.rules.namespaces import NamespaceRules, RoomRule
from bridge.rules.scope import Scope
from bridge.state.presence import Change, Member


class ShownRoom(Struct, frozen=True, kw_only=True):
    """A room as one concrete namespace has it."""

    rules: NamespaceRules
    namespace: str
    rule: RoomRule
    words: Mapping[str, str]
    """Those of the namespace and of the room."""


class PresencePlans:
    """What `presence` and `occupancy` of all rooms come to."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._systems: dict[str, list[NamespaceRules]] = {}
        self._claims: dict[str, frozenset[str]] = {}
        for namespace in rules.namespaces:
            self._systems.setdefault(namespace.system, []).append(namespace)
            claims = {name for _, rule in namespace.rooms for name in _claims_of(rule)}
            self._claims[namespace.system] = self._claims.get(namespace.system, frozenset()) | claims

    @property
    def longest_grace(self) -> float:
        """Seconds for which the members of an instance that has ended still count as there."""
        rooms = (rule for namespace in self._rules.namespaces for _, rule in namespace.rooms)
        return max((rule.grace for rule in rooms if rule.is_tracked), default=0.0)

    def to_member(self, room: RoomRef, namespace: str, principal: Principal, sid: str) -> Member:
        """A client in a room, with the claims that any namespace of the system reads of it."""
        names = self._claims.get(room.system, frozenset())
        claims = {name: value for name, value in principal.claims.items() if name in names}
        return Member(room=room, sid=sid, user=principal.identity, namespace=namespace, claims=claims)

    def plan(self, change: Change, at: float) -> list[Emission]:
        """The events that the others of the room receive, in every namespace that shows its presence.

        `at` is when it happened, in epoch seconds.
        """
        member = change.member
        emissions = []
        for shown in self._show(member.room, change.namespaces):
            presence = shown.rule.presence
            if presence is None:
                continue
            template = presence.joined if change.kind == "joined" else presence.left
            if template is None:
                continue
            event, args = template.render(
                Scope(words=shown.words, user=member.claims, sid=member.sid, now=at)
            )
            emissions.append(
                Emission(
                    route=f"{shown.rules.pattern} {event}",
                    namespace=shown.namespace,
                    event=event,
                    args=args,
                    rooms=(member.room.room,),
                    skip_sid=member.sid,
                )
            )
        return emissions

    def find_occupancy(self, room: RoomRef) -> Mapping[str, str] | None:
        """The words of a room whose occupancy is told to services; None for any other."""
        for namespace in self._systems.get(room.system, ()):
            found = namespace.rooms.find(room.room)
            if found is not None and found[0].occupancy:
                return found[1]
        return None

    def _show(self, room: RoomRef, namespaces: Collection[str]) -> Iterator[ShownRoom]:
        """A room in all concrete namespaces that have it.

        Where the room's words name the namespace it is found without anybody in it: a client that has lost
        its connection may come back for what it missed there. Else those count in which members are.
        """
        for rules in self._systems.get(room.system, ()):
            found = rules.rooms.find(room.room)
            if found is None or found[0].presence is None:
                continue
            for name in _name_namespaces(rules.name, found[1], namespaces):
                matched = self._rules.match_namespace(name)
                if matched is None or matched[0] is not rules:
                    continue
                entry = rules.find_room(room.room, matched[1])
                if entry is not None:
                    yield ShownRoom(rules=rules, namespace=name, rule=entry[0], words=entry[1])


def _name_namespaces(
    pattern: NamespacePattern, words: Mapping[str, str], namespaces: Collection[str]
) -> Collection[str]:
    if all(word in words for word in pattern.words):
        name = pattern.render(words)
        return () if name is None else (name,)
    return [name for name in namespaces if pattern.match(name) is not None]


def _claims_of(rule: RoomRule) -> frozenset[str]:
    return frozenset() if rule.presence is None else rule.presence.claims
