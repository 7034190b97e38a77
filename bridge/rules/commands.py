"""Owns `CommandRule`: what a client may send, and the templates of what becomes of it."""

import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct, structs

from bridge.config.load import System
from bridge.config.model import Command
from bridge.config.units import Rate
from bridge.rules.access import Access, compile_allow
from bridge.rules.emits import EmitTemplate, compile_emit, find_name_fault
from bridge.rules.faults import Place, suggest
from bridge.rules.names import NamespacePattern, RoomPattern
from bridge.rules.routes import find_schema
from bridge.rules.schemas import Schema, Schemas
from bridge.rules.scope import Known
from bridge.rules.targets import KeyTemplate, RoomTemplates, compile_key, compile_rooms
from bridge.rules.templates import ValueTemplate, compile_value

IDEMPOTENCY_KEY: Final = "idempotency_key"
"""The field that a client may add to any command, so that a retry is safe."""

_OWN: Final = frozenset({"authenticate"})
"""Commands of the bridge itself."""


class PublishRule(Struct, frozen=True, kw_only=True):
    """Where a command's body is published."""

    exchange: str
    key: KeyTemplate


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
    dropped: frozenset[str]
    """Fields that a client may send to no effect: the bridge stamps them, or reads them itself."""
    overwritten: frozenset[str]
    """Fields of the schema among those that the bridge stamps."""
    stamps: ValueTemplate | None
    """The mapping of `set`, rendered as one."""
    publish: PublishRule | None
    join: RoomTemplates | None
    leave: RoomTemplates | None
    emit: EmitTemplate | None
    ack: ValueTemplate | None
    """None is the default: `{status: ok}`, with `message_id` if something was published."""
    reads_room: bool
    """Its answer says something of the room that it joins or leaves."""


class CommandPlace(Struct, frozen=True, kw_only=True):
    """What the commands of one namespace in one file share."""

    place: Place
    """Of the namespace."""
    system: System
    namespace: NamespacePattern
    rooms: tuple[RoomPattern, ...]
    schemas: Schemas


def compile_command(around: CommandPlace, name: str, command: Command) -> CommandRule | None:
    """Compile one entry of `commands`; None when a fault was found."""
    place = around.place.at("commands", name)
    before = len(place.faults)
    if fault := find_name_fault(name):
        place.add(fault)
    if name in _OWN:
        place.add(f'"{name}" is a command of the bridge itself (take another name)')
    schema = None
    if command.schema is not None:
        schema = find_schema(place.at("schema"), around.schemas, around.system.routes.schemas, command.schema)
    known = _to_known(around.namespace, command, schema)
    answer = structs.replace(known, roots=known.roots | {"room"}) if command.join or command.leave else known
    emit = None if command.emit is None else compile_emit(place.at("emit"), command.emit, answer)
    ack = None if command.ack is None else place.at("ack").attempt(compile_value, command.ack, answer)
    stamped = frozenset(command.set)
    allow = place.at("allow").attempt(compile_allow, command.allow, Known(words=known.words))
    _check_stamps(place, command, schema)
    publish = _compile_publish(around, place, command, known)
    join = place.at("join").attempt(compile_rooms, command.join, known) if command.join else None
    _check_covered(place.at("join"), command.join, around.rooms)
    leave = place.at("leave").attempt(compile_rooms, command.leave, known) if command.leave else None
    stamps = place.at("set").attempt(compile_value, command.set, known) if command.set else None
    if len(place.faults) > before or allow is None:
        return None
    return CommandRule(
        name=name,
        limit=tuple(command.limit),
        allow=allow,
        schema=command.schema,
        body=schema,
        dropped=stamped | {IDEMPOTENCY_KEY},
        overwritten=stamped & schema.fields if schema else frozenset(),
        stamps=stamps,
        publish=publish,
        join=join,
        leave=leave,
        emit=emit,
        ack=ack,
        reads_room=(emit is not None and "room" in emit.payload.roots)
        or (ack is not None and "room" in ack.roots),
    )


def _to_known(namespace: NamespacePattern, command: Command, schema: Schema | None) -> Known:
    roots = {"user", "sid", "now", "uuid"}
    if schema is not None:
        roots.add("body")
    if command.publish is not None:
        roots.add("message")
    return Known(
        words=frozenset(namespace.words),
        roots=frozenset(roots),
        body=schema.type if schema else None,
        client=True,
    )


def _check_stamps(place: Place, command: Command, schema: Schema | None) -> None:
    if command.set and command.publish is None:
        place.at("set").add("stamps a body that is not published (add publish, or leave it out)")
    if IDEMPOTENCY_KEY in command.set or (schema is not None and IDEMPOTENCY_KEY in schema.fields):
        place.add(f'"{IDEMPOTENCY_KEY}" is a field of the bridge itself (take another name)')
    for name in sorted(command.set.keys() & (schema.required if schema else frozenset())):
        message = f'"{name}" is required by {command.schema}, but clients need not send what is stamped'
        place.at("set").add(f"{message} (make it optional there, or leave it out there)")


def _compile_publish(
    around: CommandPlace, place: Place, command: Command, known: Known
) -> PublishRule | None:
    if command.publish is None:
        if command.to != "commands":
            place.at("to").add("has no effect without publish (add publish, or leave it out)")
        return None
    routes = around.system.routes
    exchange = routes.exchange if command.to == "events" else routes.commands_exchange
    if exchange is None:
        message = "needs an exchange (name it at the top of the file, as `commands_exchange: name`)"
        place.at("publish").add(message)
        return None
    key = place.at("publish").attempt(compile_key, command.publish, known)
    return None if key is None else PublishRule(exchange=exchange, key=key)


def _check_covered(place: Place, joins: Iterable[str], rooms: tuple[RoomPattern, ...]) -> None:
    for text in joins:
        if not any(_may_match(_to_shape(text), _to_shape(room.text)) for room in rooms):
            names = suggest(text, (room.text for room in rooms))
            place.add(f'no entry of `rooms` covers "{text}", so nobody could join it ({names})')


_ANY: Final = "\0"


def _to_shape(text: str) -> str:
    """The text with each placeholder, whatever is nested in it, as one sign."""
    inner = re.compile(r"\{[^{}]*\}")
    while inner.search(text):
        text = inner.sub(_ANY, text)
    return re.sub(f"{_ANY}+", _ANY, text)


def _may_match(left: str, right: str) -> bool:
    """Tell whether some name is of both shapes; a placeholder's value never holds a `:`."""
    reach = {(0, 0)}
    todo = [(0, 0)]
    while todo:
        i, j = todo.pop()
        a, b = left[i : i + 1], right[j : j + 1]
        steps = []
        if a == _ANY:
            steps += [(i + 1, j)] + ([(i, j + 1)] if b not in ("", ":") else [])
        if b == _ANY:
            steps += [(i, j + 1)] + ([(i + 1, j)] if a not in ("", ":") else [])
        if a == b != "" and a != _ANY:
            steps.append((i + 1, j + 1))
        new = [step for step in steps if step not in reach]
        reach.update(new)
        todo.extend(new)
    return (len(left), len(right)) in reach
