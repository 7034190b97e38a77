"""Owns `EmitTemplate`: an event for one client, compiled from `event: payload` of the YAML."""

from msgspec import Raw, Struct, json

from bridge.model import Argument
from bridge.rules.templates import MISSING, Scope, ValueTemplate

Emitted = tuple[str, tuple[Argument, ...]]
"""An event's name and its arguments."""


def to_argument(value: object) -> Argument:
    """Encode one argument of an event or ack; bytes stay a binary attachment, a missing value is null."""
    if isinstance(value, bytes):
        return value
    return Raw(json.encode(None if value is MISSING else value))


class EmitTemplate(Struct, frozen=True, kw_only=True):
    """One event with one argument, whose `{words}` are filled in when it is sent."""

    event: str
    payload: ValueTemplate

    def render(self, scope: Scope) -> Emitted:
        """The event as it goes to a client."""
        return self.event, (to_argument(self.payload.render(scope)),)
