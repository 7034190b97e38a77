"""Owns `NamespaceRules`: who may connect to a namespace, its rooms, commands, limits and answers."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct, structs

from bridge.config.merge import MergedNamespace
from bridge.config.route_model import Late, NamespaceAuth, NamespaceLimits, OnConnect, Presence, Room
from bridge.rules.access import OPEN, Access, compile_allow
from bridge.rules.claims import find_claims
from bridge.rules.commands import CommandPlace, CommandRule, compile_command
from bridge.rules.emits import EmitTemplate, compile_emit
from bridge.rules.faults import Spot
from bridge.rules.names import NameIndex, NamespacePattern, RoomPattern, parse_room_pattern
from bridge.rules.refusals import ErrorRules, compile_errors, default_errors
from bridge.rules.schemas import Schemas
from bridge.rules.scope import Known
from bridge.rules.targets import RoomTemplates, compile_rooms

_CLIENT: Final = frozenset({"user", "sid", "now"})
"""What may be read wherever one client is answered."""

_REFUSED: Final = frozenset({"sid", "now", "error"})
"""What may be read of a client that is not let in: nobody knows who it is."""

_GRACE: Final = float(Presence().grace)
"""Of rooms without `presence`."""


class AuthRules(Struct, frozen=True, kw_only=True):
    """How clients show who they are, and what they are answered."""

    required: bool
    """False: nobody is asked for a token, and no `allow` is asked."""
    query_token: bool
    late: Late | None
    """None: only the handshake may carry the token."""
    authenticated: EmitTemplate
    """Reads the new principal's claims as `{user...}`."""
    failed: EmitTemplate
    """Reads the fault as `{error...}`."""
    expired: EmitTemplate
    """Reads the fault as `{error...}` and the old claims as `{user...}`."""
    revoked: EmitTemplate
    """Reads the same."""
    refuse_with: EmitTemplate | None
    """Reads the fault as `{error...}`. None: the CONNECT is refused."""


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
    claims: frozenset[str]
    """The claims that the two events read: other instances know no others."""


class RoomRule(Struct, frozen=True, kw_only=True):
    """A room that clients may join: who, and what the others learn of it."""

    pattern: str
    allow: Access
    presence: PresenceRules | None
    occupancy: bool
    """Services are told when it is occupied and when it is vacated."""

    @property
    def is_tracked(self) -> bool:
        """Whether the instances tell one another who is in it."""
        return self.presence is not None or self.occupancy

    @property
    def grace(self) -> float:
        """Seconds for which a client whose connection broke still counts as there."""
        return _GRACE if self.presence is None else self.presence.grace


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
    rooms: NameIndex[RoomPattern, RoomRule]
    commands: Mapping[str, CommandRule]

    def errors_of(self, event: str) -> ErrorRules:
        """How refusals of a client's event look: as its command says, else as the namespace does."""
        rule = self.commands.get(event)
        return self.errors if rule is None else rule.errors

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
    merged: MergedNamespace, name: NamespacePattern, faults: Spot, schemas: Schemas
) -> NamespaceRules | None:
    """Compile a namespace over all of its files; None when a fault was found."""
    before = len(faults.faults)
    owner = merged.owner
    file = Spot(faults.faults, owner.system.file)
    spot = file.at("namespaces", merged.pattern)
    words = frozenset(name.words)
    own, shared = owner.namespace, owner.system.routes
    auth = _compile_auth((file if own.auth is None else spot).at("auth"), own.auth or shared.auth, words)
    errors = compile_errors(file.at("errors"), shared.errors, words, default_errors())
    if own.errors is not None:
        errors = compile_errors(spot.at("errors"), own.errors, words, errors)
    allow = spot.at("allow").attempt(compile_allow, own.allow, Known(words=words))
    on_connect = _compile_on_connect(spot.at("on_connect"), own.on_connect, words)
    is_open = auth is not None and not auth.required
    rooms = _compile_rooms(merged, words, faults, is_open=is_open)
    around = CommandPlace(
        spot=spot,
        system=owner.system,
        namespace=name,
        rooms=tuple(pattern for pattern, _ in rooms),
        schemas=schemas,
        errors=errors,
        is_open=is_open,
    )
    commands = _compile_commands(merged, around)
    if len(faults.faults) > before or auth is None or allow is None:
        return None
    return NamespaceRules(
        pattern=merged.pattern,
        system=owner.system.name,
        name=name,
        auth=auth,
        allow=OPEN if is_open else allow,
        limits=own.limits or shared.limits,
        limits_name=owner.system.name if own.limits is None else f"{owner.system.name} {merged.pattern}",
        errors=errors,
        on_connect=on_connect,
        rooms=NameIndex([(pattern, rule) for pattern, rule in rooms if rule is not None]),
        commands=commands,
    )


def _compile_auth(spot: Spot, auth: NamespaceAuth, words: frozenset[str]) -> AuthRules | None:
    known = Known(words=words, roots=_CLIENT)
    failing = Known(words=words, roots=_CLIENT | {"error"})
    authenticated = compile_emit(spot.at("authenticated"), auth.authenticated, known)
    failed = compile_emit(spot.at("failed"), auth.failed, failing)
    expired = compile_emit(spot.at("expired"), auth.expired, failing)
    revoked = compile_emit(spot.at("revoked"), auth.revoked, failing)
    refuse_with = None
    if auth.refuse_with is not None:
        refused = Known(words=words, roots=_REFUSED)
        refuse_with = compile_emit(spot.at("refuse_with"), auth.refuse_with, refused)
        if auth.late is not None:
            spot.at("refuse_with").add(
                "does not go together with late, which lets clients in before they sign in (keep one of them)"
            )
    if authenticated is None or failed is None or expired is None or revoked is None:
        return None
    return AuthRules(
        required=auth.required,
        query_token=auth.query_token,
        late=auth.late,
        authenticated=authenticated,
        failed=failed,
        expired=expired,
        revoked=revoked,
        refuse_with=refuse_with,
    )


def _compile_on_connect(spot: Spot, on_connect: OnConnect, words: frozenset[str]) -> OnConnectRules:
    known = Known(words=words, roots=_CLIENT)
    join = spot.at("join").attempt(compile_rooms, on_connect.join, known) if on_connect.join else None
    emit = None if on_connect.emit is None else compile_emit(spot.at("emit"), on_connect.emit, known)
    return OnConnectRules(join=join, emit=emit)


def _compile_commands(merged: MergedNamespace, around: CommandPlace) -> dict[str, CommandRule]:
    """The commands of all parts; `around` is the owner's, whose errors hold for all."""
    commands = {}
    for part in merged.parts:
        spot = Spot(around.spot.faults, part.system.file, around.spot.path)
        here = structs.replace(around, spot=spot, system=part.system)
        for event, command in part.namespace.commands.items():
            rule = compile_command(here, event, command)
            if rule is not None:
                commands[event] = rule
    return commands


def _compile_rooms(
    merged: MergedNamespace, words: frozenset[str], faults: Spot, *, is_open: bool
) -> list[tuple[RoomPattern, RoomRule | None]]:
    """All rooms, those with a fault without their rule: a command that joins one is no further fault."""
    rooms: list[tuple[RoomPattern, RoomRule | None]] = []
    for part in merged.parts:
        spot = Spot(faults.faults, part.system.file, f"namespaces.{merged.pattern}")
        for text, room in part.namespace.rooms.items():
            _compile_room(spot.at("rooms", text), text, room, words, rooms)
    if is_open:
        return [(pattern, rule and structs.replace(rule, allow=OPEN)) for pattern, rule in rooms]
    return rooms


def _compile_room(
    spot: Spot,
    text: str,
    room: Room,
    words: frozenset[str],
    rooms: list[tuple[RoomPattern, RoomRule | None]],
) -> None:
    pattern = spot.attempt(parse_room_pattern, text)
    if pattern is None:
        return
    for other, _ in rooms:
        if other.shape == pattern.shape:
            spot.add(f'covers the same rooms as "{other.text}" (write one of them)')
    known = Known(words=words | frozenset(pattern.words))
    allow = spot.at("allow").attempt(compile_allow, room.allow, known)
    presence = None if room.presence is None else _compile_presence(spot, room.presence, known)
    rule = None
    if allow is not None:
        rule = RoomRule(pattern=text, allow=allow, presence=presence, occupancy=room.occupancy)
    rooms.append((pattern, rule))


def _compile_presence(spot: Spot, presence: Presence, known: Known) -> PresenceRules:
    known = Known(words=known.words, roots=_CLIENT)
    spot = spot.at("presence")
    joined = None if presence.joined is None else compile_emit(spot.at("joined"), presence.joined, known)
    left = None if presence.left is None else compile_emit(spot.at("left"), presence.left, known)
    claims = find_claims(presence.joined) | find_claims(presence.left)
    return PresenceRules(joined=joined, left=left, grace=float(presence.grace), claims=claims)
