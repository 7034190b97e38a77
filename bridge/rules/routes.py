"""Owns `EventRoute`: the way of an event from a routing key to the rooms of a namespace."""

from msgspec import Struct

from bridge.rules.keys import KeyPattern
from bridge.rules.names import NamespacePattern
from bridge.rules.templates import RoomTemplates, TextTemplate, ValueTemplate


class EventRoute(Struct, frozen=True, kw_only=True):
    """One entry of a namespace's `events`."""

    name: str
    """The label of its metrics: the namespace and the key, as the YAML writes them."""
    file: str
    system: str
    exchange: str
    key: KeyPattern
    namespace: str
    """As the YAML writes it."""
    schema: str | None
    """The Struct's name; None for a binary body."""
    event: str
    """As the YAML writes it: `annotation:{action}`."""
    rooms: tuple[str, ...]
    """As the YAML writes them; empty is everyone in the namespace."""
