"""What a routing key leads to: its routes, with all that the key alone decides rendered once for each key."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from bridge.model import EVERYONE, RoomRef
from bridge.rules.key_index import KeyIndex
from bridge.rules.routes import EventRoute
from bridge.rules.scope import Scope
from bridge.rules.targets import RoomTemplates

_KEPT: Final = 16_384
"""Keys whose ways are kept, each about 1 kB; with more of them in use, some are found anew (5 us each)."""
_EVERYONE: Final = (EVERYONE,)
_OF_THE_KEY: Final = frozenset({"words"})


class Way(Struct, frozen=True, kw_only=True):
    """One route, as it applies to one routing key."""

    route: EventRoute
    words: dict[str, str]
    """What the key's words are."""
    event: str
    """The client event's name."""
    namespace: str | None
    """None when no client can be in it."""
    rooms: tuple[str, ...] | None
    """None when they must be rendered for each event."""
    remember: tuple[RoomRef, ...] | None
    """Whose last event it becomes; None when they must be rendered for each event."""


class Ways:
    """Finds the ways of an exchange's routing key; keeps those that were found last."""

    def __init__(self, route_index: Mapping[str, KeyIndex[EventRoute]]) -> None:
        self._route_index = route_index
        self._kept: dict[tuple[str, str], tuple[Way, ...]] = {}

    def find(self, exchange: str, key: str) -> tuple[Way, ...]:
        """The ways of a key, in the order of the routes; empty when no route takes it."""
        ways = self._kept.get((exchange, key))
        if ways is not None:
            return ways
        index = self._route_index.get(exchange)
        ways = () if index is None else tuple(_make_way(route, words) for route, words in index.find(key))
        if len(self._kept) >= _KEPT:
            self._kept.clear()
        self._kept[exchange, key] = ways
        return ways


def _make_way(route: EventRoute, words: dict[str, str]) -> Way:
    scope = Scope(words=words)
    # Where the key names no room, `otherwise` decides, which may look into the body.
    rooms = _EVERYONE if route.targets is None else _render(route.targets, scope) or None
    remember: tuple[RoomRef, ...] | None = ()
    if route.remember is not None:
        names = _render(route.remember, scope)
        remember = None if names is None else to_refs(route, names)
    return Way(
        route=route,
        words=words,
        event=route.render_event(words),
        namespace=route.namespace_name.render(words),
        rooms=rooms,
        remember=remember,
    )


def to_refs(route: EventRoute, rooms: tuple[str, ...]) -> tuple[RoomRef, ...]:
    """The rooms, as rooms of the route's system."""
    return tuple([RoomRef(system=route.system, room=room) for room in rooms])


def _render(templates: RoomTemplates, scope: Scope) -> tuple[str, ...] | None:
    """The rooms, when nothing but the key's words is needed to name them."""
    return templates.render(scope) if templates.roots <= _OF_THE_KEY else None
