"""Owns `CommandRule`: what a client may send, and the templates of what becomes of it."""

from typing import Final

from msgspec import Struct, structs

from bridge.config.merge import System
from bridge.config.route_model import Command
from bridge.config.units import Rate
from bridge.rules.access import OPEN, Access, compile_allow
from bridge.rules.emits import EmitTemplate, compile_emit, find_name_fault
from bridge.rules.faults import Spot, suggest
from bridge.rules.names import NamespacePattern, RoomPattern
from bridge.rules.publishing import PublishRule, compile_publish
from bridge.rules.refusals import ErrorRules, compile_errors
from bridge.rules.room_choice import RoomChoice, compile_choice
from bridge.rules.routes import find_schema
from bridge.rules.schemas import Schema, Schemas
from bridge.rules.scope import Known
from bridge.rules.templates import ValueTemplate, compile_value

IDEMPOTENCY_KEY: Final = "idempotency_key"
"""The field that a client may add to any command, so that a retry is safe."""
SINCE: Final = "since"
"""The field that a client may add to any command that joins rooms, to receive what it missed there."""
RECOVERY_FIELDS: Final = ("offset", "recovered")
"""What the answer to `since` has besides what the route file gives it."""

_OWN: Final = frozenset({"authenticate"})
"""Commands of the bridge itself."""


class CommandRule(Struct, frozen=True, kw_only=True):
    """One command of a namespace."""

    name: str
    """The client event; the label of its metrics."""
    limit: tuple[Rate, ...]
    """Bounds for this command alone, on top of the system's; the flow counts them before planning."""
    allow: Access
    schema: str | None
    """The Struct's name; None for a command without payload."""
    body: Schema | None
    args: tuple[str, ...] | None
    """Fields of the schema that clients send as arguments, in order; None is one object with all of them."""
    dropped: frozenset[str]
    """Fields that a client may send to no effect: the bridge stamps them, or reads them itself."""
    overwritten: frozenset[str]
    """Fields of the schema among those that the bridge stamps."""
    stamps: ValueTemplate | None
    """The mapping of `set`, rendered as one."""
    inside: RoomChoice | None
    """The rooms that the sender must be in."""
    publish: PublishRule | None
    join: RoomChoice | None
    leave: RoomChoice | None
    emit: EmitTemplate | None
    ack: ValueTemplate | None
    """None is the default: a reply, or `{status: ok}`, with `message_id` if something was published."""
    errors: ErrorRules

    @property
    def only_publishes(self) -> bool:
        """Whether it leads to one message, and to nothing else."""
        publish = self.publish
        return publish is not None and publish.timeout is None and self.join is None and self.leave is None

    @property
    def reads_room(self) -> bool:
        """Whether its answer says something of the room that it joins or leaves."""
        in_emit = self.emit is not None and "room" in self.emit.payload.roots
        return in_emit or (self.ack is not None and "room" in self.ack.roots)


class CommandPlace(Struct, frozen=True, kw_only=True):
    """What the commands of one namespace in one file share."""

    spot: Spot
    """Of the namespace."""
    system: System
    namespace: NamespacePattern
    rooms: tuple[RoomPattern, ...]
    schemas: Schemas
    errors: ErrorRules
    """Of the namespace; what a command says goes over them."""
    is_open: bool
    """No `allow` is asked."""


def compile_command(around: CommandPlace, name: str, command: Command) -> CommandRule | None:
    """Compile one entry of `commands`; None when a fault was found."""
    spot = around.spot.at("commands", name)
    before = len(spot.faults)
    _check_name(spot, name)
    schema = None
    if command.schema is not None:
        schema = find_schema(spot.at("schema"), around.schemas, around.system.routes.schemas, command.schema)
    known = _to_known(around.namespace, command, schema)
    answer = _to_answer_known(known, command)
    emit = None if command.emit is None else compile_emit(spot.at("emit"), command.emit, answer)
    ack = None if command.ack is None else spot.at("ack").attempt(compile_value, command.ack, answer)
    stamped = frozenset(command.set)
    allow = spot.at("allow").attempt(compile_allow, command.allow, Known(words=known.words))
    _check_stamps(spot, command, schema)
    _check_args(spot.at("args"), command, schema)
    _check_since(spot, command, schema)
    publish = compile_publish(spot, around.system, command, known)
    member_of = [] if command.inside is None else [command.inside]
    inside = _compile_choice(around, spot.at("inside"), member_of, known, covered=False)
    join = _compile_choice(around, spot.at("join"), command.join, known, covered=True)
    leave = _compile_choice(around, spot.at("leave"), command.leave, known, covered=False)
    stamps = spot.at("set").attempt(compile_value, command.set, known) if command.set else None
    errors = compile_errors(spot.at("errors"), command.errors, known.words, around.errors)
    if len(spot.faults) > before or allow is None:
        return None
    return CommandRule(
        name=name,
        limit=tuple(command.limit),
        allow=OPEN if around.is_open else allow,
        schema=command.schema,
        body=schema,
        args=None if command.args is None else tuple(command.args),
        dropped=stamped | ({IDEMPOTENCY_KEY, SINCE} if command.join else {IDEMPOTENCY_KEY}),
        overwritten=stamped & schema.fields if schema else frozenset(),
        stamps=stamps,
        inside=inside,
        publish=publish,
        join=join,
        leave=leave,
        emit=emit,
        ack=ack,
        errors=errors,
    )


def _check_name(spot: Spot, name: str) -> None:
    if fault := find_name_fault(name):
        spot.add(fault)
    if name in _OWN:
        spot.add(f'"{name}" is a command of the bridge itself (take another name)')


def _to_known(namespace: NamespacePattern, command: Command, schema: Schema | None) -> Known:
    roots = {"user", "sid", "now", "uuid"}
    if schema is not None:
        roots.add("body")
    if command.publish is not None or command.request is not None:
        roots.add("message")
    return Known(
        words=frozenset(namespace.words),
        roots=frozenset(roots),
        body=schema.type if schema else None,
        client=True,
    )


def _to_answer_known(known: Known, command: Command) -> Known:
    """What `emit` and `ack` may read besides: the room that is joined or left, the reply to a request."""
    roots = set(known.roots)
    if command.join or command.leave:
        roots.add("room")
    if command.request is not None:
        roots.add("reply")
    return structs.replace(known, roots=frozenset(roots))


def _compile_choice(
    around: CommandPlace, spot: Spot, texts: list[str], known: Known, *, covered: bool
) -> RoomChoice | None:
    if not texts:
        return None
    return compile_choice(spot, texts, known, around.rooms, covered=covered)


def _check_args(spot: Spot, command: Command, schema: Schema | None) -> None:
    if command.args is None or (command.schema is not None and schema is None):
        return
    if schema is None:
        spot.add("names fields of a schema, and there is none (add schema, or leave it out)")
        return
    for index, name in enumerate(command.args):
        if name not in schema.fields:
            spot.add(f'{command.schema} has no field "{name}" ({suggest(name, schema.fields)})', f"[{index}]")
        elif name in command.args[:index]:
            spot.add(f'names "{name}" twice', f"[{index}]")
        elif name in command.set:
            spot.add(f'"{name}" is stamped, so clients need not send it (leave it out)', f"[{index}]")
    for name in sorted(schema.required - set(command.args) - set(command.set)):
        spot.add(f'leaves out "{name}", which {command.schema} requires (add it, or make it optional there)')


def _check_since(spot: Spot, command: Command, schema: Schema | None) -> None:
    """What a command that joins rooms may not say itself: where to begin, and whether that was possible."""
    if not command.join:
        return
    if SINCE in command.set or (schema is not None and SINCE in schema.fields):
        spot.add(f'"{SINCE}" is a field of the bridge itself where rooms are joined (take another name)')
    answers = {"ack": command.ack, **{f"emit.{event}": body for event, body in (command.emit or {}).items()}}
    for where, answer in answers.items():
        for name in RECOVERY_FIELDS:
            if isinstance(answer, dict) and name in answer:
                spot.at(where).add(f'"{name}" is the bridge\'s own answer to "{SINCE}" (take another name)')


def _check_stamps(spot: Spot, command: Command, schema: Schema | None) -> None:
    if IDEMPOTENCY_KEY in command.set or (schema is not None and IDEMPOTENCY_KEY in schema.fields):
        spot.add(f'"{IDEMPOTENCY_KEY}" is a field of the bridge itself (take another name)')
    for name in sorted(command.set.keys() & (schema.required if schema else frozenset())):
        message = f'"{name}" is required by {command.schema}, but clients need not send what is stamped'
        spot.at("set").add(f"{message} (make it optional there, or leave it out there)")
