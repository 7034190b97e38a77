"""Owns `EmitTemplate`: an event for one client, compiled from `event: payload` of the YAML."""

from typing import Final

from msgspec import Raw, Struct, json

from bridge.config.route_model import Emit
from bridge.model import RESERVED_EVENTS, Argument
from bridge.rules.faults import Spot
from bridge.rules.scope import MISSING, Known, Scope
from bridge.rules.templates import ValueTemplate, compile_value

Emitted = tuple[str, tuple[Argument, ...]]
"""An event's name and its arguments."""

_MAX_NAME: Final = 128


def to_argument(value: object) -> Argument:
    """Encode one argument of an event or ack; bytes stay a binary attachment, a missing value is null."""
    if isinstance(value, bytes):
        return value
    return Raw(json.encode(None if value is MISSING else value))


def find_name_fault(name: str) -> str | None:
    """What is wrong with the name of a client event, if anything."""
    if not name:
        return "an event needs a name"
    if name in RESERVED_EVENTS:
        return f'"{name}" is reserved by Socket.IO (take another name)'
    if len(name) > _MAX_NAME or not name.isprintable():
        return f'"{name[:32]}" is no name of an event (1-{_MAX_NAME} printable characters)'
    return None


class EmitTemplate(Struct, frozen=True, kw_only=True):
    """One event with one argument, whose `{words}` are filled in when it is sent."""

    event: str
    payload: ValueTemplate

    def render(self, scope: Scope) -> Emitted:
        """The event as it goes to a client."""
        return self.event, (to_argument(self.payload.render(scope)),)


def compile_emit(spot: Spot, emit: Emit, known: Known) -> EmitTemplate | None:
    """Compile `event: payload`, of which the loader lets exactly one through; None when a fault was found."""
    [(event, payload)] = emit.items()
    if fault := find_name_fault(event):
        spot.add(fault)
    template = spot.at(event).attempt(compile_value, payload, known)
    return None if template is None else EmitTemplate(event=event, payload=template)
