"""Owns `CommandRule`: what a client may send, and the templates of what becomes of it."""

from msgspec import Struct

from bridge.config.units import Rate
from bridge.rules.access import Access
from bridge.rules.emits import EmitTemplate
from bridge.rules.templates import KeyTemplate, RoomTemplates, ValueTemplate


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
    schema: type | None
    stamps: ValueTemplate | None
    """The mapping of `set`, rendered as one."""
    publish: PublishRule | None
    join: RoomTemplates | None
    leave: RoomTemplates | None
    emit: EmitTemplate | None
    ack: ValueTemplate | None
    """None is the default: `{status: ok}`, with `message_id` if something was published."""
