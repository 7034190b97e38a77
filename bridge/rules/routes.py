"""Owns `EventRoute`: the way of an event from a routing key to the rooms of a namespace."""

import itertools
import re
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from bridge.config.merge import System
from bridge.config.route_model import Event
from bridge.rules.emits import find_name_fault
from bridge.rules.faults import Spot, suggest
from bridge.rules.keys import KeyPattern, parse_key_pattern
from bridge.rules.names import NamespacePattern
from bridge.rules.schemas import Schema, Schemas
from bridge.rules.scope import MISSING, Known, Scope
from bridge.rules.targets import RoomTemplates, compile_rooms
from bridge.rules.templates import TextTemplate, ValueTemplate, compile_text, compile_value

WHOLE_BODY: Final = "{body}"

_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")


class EventRoute(Struct, frozen=True, kw_only=True):
    """One entry of a namespace's `events`: as the YAML writes it, and compiled."""

    name: str
    """The label of its metrics: the namespace and the key."""
    file: str
    system: str
    exchange: str
    key: KeyPattern
    namespace: str
    schema: str | None
    """The Struct's name; None for a binary body."""
    event: str
    """As the YAML writes it: `annotation:{action}`."""
    rooms: tuple[str, ...]
    """Empty is everyone in the namespace."""

    events: frozenset[str]
    """Every name that `event` can become."""
    body: Schema | None
    event_name: TextTemplate | None
    """None when the name holds no words."""
    namespace_name: NamespacePattern
    targets: RoomTemplates | None
    """None is everyone."""
    otherwise: RoomTemplates | None
    args: tuple[ValueTemplate | None, ...] | None
    """None is the body alone; an element that is None stands for the whole body."""
    skip_sender: bool
    remember: RoomTemplates | None
    retain: bool
    """Its last value is kept for those who join its rooms later."""
    max_age: float | None
    live: bool = False
    """It goes round the log."""

    def render_event(self, words: Mapping[str, str]) -> str:
        """The client event's name."""
        if self.event_name is None:
            return self.event
        name = self.event_name.render(Scope(words=words))
        assert isinstance(name, str)  # noqa: S101  its words are captures of the key, always there
        return name


class RoutePlace(Struct, frozen=True, kw_only=True):
    """What the routes of one namespace in one file share."""

    spot: Spot
    """Of the namespace."""
    system: System
    owner: str
    """The system that the namespace belongs to."""
    namespace: NamespacePattern
    schemas: Schemas


def compile_event(around: RoutePlace, key_text: str, event: Event) -> EventRoute | None:
    """Compile one entry of `events`; None when a fault was found."""
    spot = around.spot.at("events", key_text)
    before = len(spot.faults)
    key = spot.attempt(parse_key_pattern, key_text)
    if key is None:
        return None
    _check_words(spot, key, around.namespace)
    if event.otherwise and event.rooms is None:
        spot.at("otherwise").add("has no effect without rooms (leave it out, or name rooms)")
    _check_kept(spot, event)
    body = None
    if event.schema is not None:
        body = find_schema(spot.at("schema"), around.schemas, around.system.routes.schemas, event.schema)
    known = _to_known(key, body)
    name = _default_name(spot, key) if event.event is None else event.event
    event_name, events = _compile_name(spot.at("as"), name, key)
    targets = _compile_targets(spot.at("rooms"), event.rooms, known)
    route = EventRoute(
        name=f"{around.namespace.text} {key_text}",
        file=around.system.file,
        system=around.owner,
        exchange=around.system.routes.exchange,
        key=key,
        namespace=around.namespace.text,
        schema=event.schema,
        event=name,
        rooms=tuple(event.rooms or ()),
        events=events,
        body=body,
        event_name=event_name if event_name is not None and event_name.roots else None,
        namespace_name=around.namespace,
        targets=targets,
        otherwise=_compile_targets(spot.at("otherwise"), event.otherwise or None, known),
        args=_compile_args(spot.at("args"), event.args, known),
        skip_sender=event.skip == "sender",
        remember=_compile_targets(spot.at("remember"), [event.remember] if event.remember else None, known),
        retain=event.retain,
        max_age=None if event.max_age is None else float(event.max_age),
        live=event.live,
    )
    return route if len(spot.faults) == before else None


def _check_kept(spot: Spot, event: Event) -> None:
    """What is kept of an event must agree with how long it is of use."""
    if event.retain and event.max_age is not None:
        spot.at("retain").add("does not go together with max_age, which drops what is old (keep one of them)")
    for kept, key in ((event.retain, "retain"), (event.remember, "remember")):
        if event.live and kept:
            spot.at("live").add(f"does not go together with {key}: nothing is kept of it (keep one of them)")


def _check_words(spot: Spot, key: KeyPattern, namespace: NamespacePattern) -> None:
    for word in namespace.words:
        if word not in key.words:
            message = f'the namespace needs the word "{word}", which the key does not capture'
            spot.add(f"{message} (write {{{word}}} for one of its words)")


def _to_known(key: KeyPattern, body: Schema | None) -> Known:
    roots = {"header", "message", "now"}
    if body is not None:
        roots.add("body")
    return Known(words=frozenset(key.words), roots=frozenset(roots), body=None if body is None else body.type)


def find_schema(spot: Spot, schemas: Schemas, module: str | None, name: str) -> Schema | None:
    """The Struct that `schema:` names; None when a fault was found."""
    if module is None:
        spot.add(f'"{name}" stands in no module (name it at the top of the file, as `schemas: module`)')
        return None
    if module not in schemas.modules:
        return None  # said once, for the whole file
    found = schemas.find(module, name)
    if found is None:
        spot.add(f'unknown schema "{name}" in module {module} ({suggest(name, schemas.names(module))})')
    return found


def _default_name(spot: Spot, key: KeyPattern) -> str:
    if key.last is None:
        spot.add("the key ends in no fixed word, so the event has no name (write it as `as: name`)")
    return key.last or "-"


def _compile_name(spot: Spot, name: str, key: KeyPattern) -> tuple[TextTemplate | None, frozenset[str]]:
    """Compile an event's name; its words list what they may be, so that all names are known beforehand."""
    for word in _PLACEHOLDER.findall(name):
        if word in key.words and key.choices(word) is None:
            spot.add(
                f'the word "{word}" may be anything (list its words in the key: {{{word}:first|second}})'
            )
            return None, frozenset()
    words = [word for word in key.words if key.choices(word) is not None]
    template = spot.attempt(compile_text, name, Known(words=frozenset(words)))
    if template is None:
        return None, frozenset()
    names = set()
    for combination in itertools.product(*(key.choices(word) or () for word in words)):
        rendered = template.render(Scope(words=dict(zip(words, combination, strict=True))))
        if rendered is not MISSING:
            names.add(str(rendered))
    for rendered_name in sorted(names):
        if fault := find_name_fault(rendered_name):
            spot.add(fault)
    return template, frozenset(names)


def _compile_targets(spot: Spot, texts: list[str] | None, known: Known) -> RoomTemplates | None:
    if texts is None:
        return None
    if not texts:
        spot.add("names no room (leave it out for everyone in the namespace)")
    return spot.attempt(compile_rooms, texts, known)


def _compile_args(
    spot: Spot, args: list[str] | None, known: Known
) -> tuple[ValueTemplate | None, ...] | None:
    if args is None:
        return None
    compiled: list[ValueTemplate | None] = []
    for index, text in enumerate(args):
        template = None
        if text != WHOLE_BODY:
            template = Spot(spot.faults, spot.file, f"{spot.path}[{index}]").attempt(
                compile_value, text, known
            )
        compiled.append(template)
    return tuple(compiled)
