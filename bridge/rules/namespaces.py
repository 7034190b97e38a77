"""Owns `NamespaceRules`: who may connect to a namespace, its rooms, commands, limits and answers."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from bridge.config.load import MergedNamespace
from bridge.config.model import Errors, Late, NamespaceAuth, NamespaceLimits, OnConnect, Presence, Room
from bridge.errors import Code
from bridge.rules.access import Access, compile_allow
from bridge.rules.commands import CommandPlace, CommandRule, compile_command
from bridge.rules.emits import EmitTemplate, compile_emit
from bridge.rules.faults import Place, suggest
from bridge.rules.names import NamespacePattern, RoomIndex, RoomPattern, parse_room_pattern
from bridge.rules.schemas import Schemas
from bridge.rules.scope import Known
from bridge.rules.targets import RoomTemplates, compile_rooms
from bridge.rules.templates import compile_value

_CLIENT: Final = frozenset({"user", "sid", "now"})
"""What may be read wherever one client is answered."""

_OTHERS: Final = "*"
"""The key of `errors.events` for all codes without an event of their own."""

_DEFAULT_ERROR: Final = {
    "type": "{error.type}",
    "message": "{error.message}",
    "code": "{error.code}",
    "details": "{error.details}",
    "timestamp": "{now}",
}


class AuthRules(Struct, frozen=True, kw_only=True):
    """How clients show who they are, and what they are answered."""

    required: bool
    late: Late | None
    """None: only the handshake may carry the token."""
    authenticated: EmitTemplate
    """Reads the new principal's claims as `{user...}`."""
    failed: EmitTemplate
    """Reads the fault as `{error...}`."""
    expired: EmitTemplate
    """Reads the fault as `{error...}` and the old claims as `{user...}`."""


class ErrorRules(Struct, frozen=True, kw_only=True):
    """How refusals look: an event for each code."""

    always: bool
    """Send the event also when the client asked for an ack."""
    events: Mapping[Code, EmitTemplate]
    other: EmitTemplate
    """For a code without an event of its own."""

    def find(self, code: Code) -> EmitTemplate:
        """The event that tells a client of this code."""
        return self.events.get(code, self.other)


class OnConnectRules(Struct, frozen=True, kw_only=True):
    """What happens to a client once it is authenticated."""

    join: RoomTemplates | None
    emit: EmitTemplate | None


class PresenceRules(Struct, frozen=True, kw_only=True):
    """What the others of a room receive when a user's first client comes and its last one goes."""

    joined: EmitTemplate | None
    left: EmitTemplate | None
    grace: float
    """Seconds for which a client whose connection broke still counts as there."""


class RoomRule(Struct, frozen=True, kw_only=True):
    """A room that clients may join: who, and what the others learn of it."""

    pattern: str
    allow: Access
    presence: PresenceRules | None


class NamespaceRules(Struct, frozen=True, kw_only=True):
    """All rules of one namespace pattern."""

    pattern: str
    """As the YAML writes it, such as `/project/{project}`; the label of its metrics."""
    system: str
    """The system whose limits, presence and last values its clients share."""
    name: NamespacePattern
    auth: AuthRules
    allow: Access
    """Who may connect; asked with the words of the namespace."""
    limits: NamespaceLimits
    limits_name: str
    """Whose limits they are: the system's name, or one of the namespace's own where it states them.

    Clients are counted by it: rates of connections, connections of users, bans.
    """
    errors: ErrorRules
    on_connect: OnConnectRules
    rooms: RoomIndex[RoomRule]
    commands: Mapping[str, CommandRule]

    def find_room(self, room: str, words: Mapping[str, str]) -> tuple[RoomRule, Mapping[str, str]] | None:
        """The rule of a rendered room name and the words it captures, those of the namespace among them.

        None when no entry of `rooms` covers it, or when a word that the namespace has too differs.
        """
        found = self.rooms.find(room)
        if found is None:
            return None
        rule, captured = found
        if any(words.get(name, value) != value for name, value in captured.items()):
            return None
        return rule, {**words, **captured}


def compile_namespace(
    merged: MergedNamespace, name: NamespacePattern, faults: Place, schemas: Schemas
) -> NamespaceRules | None:
    """Compile a namespace over all of its files; None when a fault was found."""
    before = len(faults.faults)
    owner = merged.owner
    file = Place(faults.faults, owner.system.file)
    place = file.at("namespaces", merged.pattern)
    words = frozenset(name.words)
    own, shared = owner.namespace, owner.system.routes
    auth = _compile_auth((file if own.auth is None else place).at("auth"), own.auth or shared.auth, words)
    errors = _compile_errors(
        (file if own.errors is None else place).at("errors"), own.errors or shared.errors, words
    )
    allow = place.at("allow").attempt(compile_allow, own.allow, Known(words=words))
    on_connect = _compile_on_connect(place.at("on_connect"), own.on_connect, words)
    rooms = _compile_rooms(merged, words, faults)
    commands = _compile_commands(merged, name, tuple(pattern for pattern, _ in rooms), faults, schemas)
    if len(faults.faults) > before or auth is None or errors is None or allow is None:
        return None
    return NamespaceRules(
        pattern=merged.pattern,
        system=owner.system.name,
        name=name,
        auth=auth,
        allow=allow,
        limits=own.limits or shared.limits,
        limits_name=owner.system.name if own.limits is None else f"{owner.system.name} {merged.pattern}",
        errors=errors,
        on_connect=on_connect,
        rooms=RoomIndex([(pattern, rule) for pattern, rule in rooms if rule is not None]),
        commands=commands,
    )


def _compile_auth(place: Place, auth: NamespaceAuth, words: frozenset[str]) -> AuthRules | None:
    known = Known(words=words, roots=_CLIENT)
    failing = Known(words=words, roots=_CLIENT | {"error"})
    authenticated = compile_emit(place.at("authenticated"), auth.authenticated, known)
    failed = compile_emit(place.at("failed"), auth.failed, failing)
    expired = compile_emit(place.at("expired"), auth.expired, failing)
    if authenticated is None or failed is None or expired is None:
        return None
    return AuthRules(
        required=auth.required, late=auth.late, authenticated=authenticated, failed=failed, expired=expired
    )


def _compile_errors(place: Place, errors: Errors, words: frozenset[str]) -> ErrorRules | None:
    known = Known(words=words, roots=_CLIENT | {"error"})
    other: EmitTemplate | None = EmitTemplate(event="error", payload=compile_value(_DEFAULT_ERROR, known))
    events: dict[Code, EmitTemplate | None] = {}
    for text, emit in errors.events.items():
        template = compile_emit(place.at("events", text), emit, known)
        if text == _OTHERS:
            other = template
        elif text in Code.__members__:
            events[Code(text)] = template
        else:
            place.at("events", text).add(
                f'unknown code "{text}" ({suggest(text, [*Code.__members__, _OTHERS])})'
            )
    if other is None:
        return None
    compiled = {code: template for code, template in events.items() if template is not None}
    return ErrorRules(always=errors.always, events=compiled, other=other)


def _compile_on_connect(place: Place, on_connect: OnConnect, words: frozenset[str]) -> OnConnectRules:
    known = Known(words=words, roots=_CLIENT)
    join = place.at("join").attempt(compile_rooms, on_connect.join, known) if on_connect.join else None
    emit = None if on_connect.emit is None else compile_emit(place.at("emit"), on_connect.emit, known)
    return OnConnectRules(join=join, emit=emit)


def _compile_commands(
    merged: MergedNamespace,
    name: NamespacePattern,
    rooms: tuple[RoomPattern, ...],
    faults: Place,
    schemas: Schemas,
) -> dict[str, CommandRule]:
    commands = {}
    for part in merged.parts:
        around = CommandPlace(
            place=Place(faults.faults, part.system.file, f"namespaces.{merged.pattern}"),
            system=part.system,
            namespace=name,
            rooms=rooms,
            schemas=schemas,
        )
        for event, command in part.namespace.commands.items():
            rule = compile_command(around, event, command)
            if rule is not None:
                commands[event] = rule
    return commands


def _compile_rooms(
    merged: MergedNamespace, words: frozenset[str], faults: Place
) -> list[tuple[RoomPattern, RoomRule | None]]:
    """All rooms, those with a fault without their rule: a command that joins one is no further fault."""
    rooms: list[tuple[RoomPattern, RoomRule | None]] = []
    for part in merged.parts:
        place = Place(faults.faults, part.system.file, f"namespaces.{merged.pattern}")
        for text, room in part.namespace.rooms.items():
            _compile_room(place.at("rooms", text), text, room, words, rooms)
    return rooms


def _compile_room(
    place: Place,
    text: str,
    room: Room,
    words: frozenset[str],
    rooms: list[tuple[RoomPattern, RoomRule | None]],
) -> None:
    pattern = place.attempt(parse_room_pattern, text)
    if pattern is None:
        return
    for other, _ in rooms:
        if other.shape == pattern.shape:
            place.add(f'covers the same rooms as "{other.text}" (write one of them)')
    known = Known(words=words | frozenset(pattern.words))
    allow = place.at("allow").attempt(compile_allow, room.allow, known)
    presence = None if room.presence is None else _compile_presence(place, room.presence, known)
    rule = None if allow is None else RoomRule(pattern=text, allow=allow, presence=presence)
    rooms.append((pattern, rule))


def _compile_presence(place: Place, presence: Presence, known: Known) -> PresenceRules:
    known = Known(words=known.words, roots=_CLIENT)
    place = place.at("presence")
    joined = None if presence.joined is None else compile_emit(place.at("joined"), presence.joined, known)
    left = None if presence.left is None else compile_emit(place.at("left"), presence.left, known)
    return PresenceRules(joined=joined, left=left, grace=float(presence.grace))
