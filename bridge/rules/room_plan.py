"""Decides, purely, which rooms a command joins, leaves, or asks its sender to be in."""

from collections.abc import Mapping

from msgspec import to_builtins

from bridge.errors import Code
from bridge.model import Join, Leave, Principal, Refuse
from bridge.rules.bodies import to_refuse, to_validation_refuse
from bridge.rules.commands import CommandRule
from bridge.rules.names import canonize_room
from bridge.rules.namespaces import NamespaceRules
from bridge.rules.room_choice import RoomChoice
from bridge.rules.scope import Scope
from bridge.rules.targets import MAX_ROOMS

_UNKNOWN = Refuse(code=Code.UNKNOWN_ROOM, message="There is no such room")


def plan_inside(namespace: NamespaceRules, rule: CommandRule, scope: Scope) -> tuple[str, ...] | Refuse:
    """The rooms that the sender must be in: one at least, where the command asks for it."""
    if rule.inside is None:
        return ()
    rooms = _choose_rooms(namespace, rule.inside, scope)
    return rooms or Refuse(code=Code.FORBIDDEN, message="This names no room that you are in")


def plan_join(
    namespace: NamespaceRules, rule: CommandRule, principal: Principal, scope: Scope
) -> Join | Refuse | None:
    """The rooms that the client enters, each of which an entry of `rooms` must allow."""
    if rule.join is None:
        return None
    rooms = _choose_rooms(namespace, rule.join, scope)
    if isinstance(rooms, Refuse):
        return rooms
    if not rooms:
        return Refuse(code=Code.FORBIDDEN, message="This names no room that you may join")
    for room in rooms:
        if find_access(namespace, scope.words, principal, room) is not True:
            return Refuse(code=Code.FORBIDDEN, message="You may not join this room")
    return Join(rooms=rooms)


def plan_leave(namespace: NamespaceRules, rule: CommandRule, scope: Scope) -> Leave | Refuse | None:
    """The rooms that the client leaves."""
    if rule.leave is None:
        return None
    rooms = _choose_rooms(namespace, rule.leave, scope)
    if isinstance(rooms, Refuse):
        return rooms
    return Leave(rooms=rooms) if rooms else None


def find_access(
    namespace: NamespaceRules, words: Mapping[str, str], principal: Principal, room: str
) -> bool | None:
    """Whether a client may be in a room; None for one that no entry of `rooms` covers."""
    found = namespace.find_room(room, words)
    return None if found is None else found[0].allow.permits(principal.claims, found[1])


def _choose_rooms(namespace: NamespaceRules, choice: RoomChoice, scope: Scope) -> tuple[str, ...] | Refuse:
    rooms: tuple[str, ...] = ()
    if choice.templates is not None:
        bad = choice.templates.fault(scope)
        if bad is not None:
            return to_refuse(bad)
        rooms = choice.templates.render(scope)
    if not choice.named:
        return rooms
    named = _find_named(namespace, choice, scope)
    return named if isinstance(named, Refuse) else tuple(dict.fromkeys((*rooms, *named)))


def _find_named(namespace: NamespaceRules, choice: RoomChoice, scope: Scope) -> list[str] | Refuse:
    """The canonical names of the rooms that the client named as a whole."""
    rooms = []
    for source in choice.named:
        for path, value in source.walk(scope):
            name = to_builtins(value)
            if not isinstance(name, str):
                return to_validation_refuse("must be the name of a room", path)
            room = canonize_room(namespace.rooms, name)
            if room is None or namespace.find_room(room, scope.words) is None:
                return _UNKNOWN
            rooms.append(room)
            if len(rooms) > MAX_ROOMS:
                return to_validation_refuse(f"must not name more than {MAX_ROOMS} rooms")
    return rooms
