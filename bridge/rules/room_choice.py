"""Owns `RoomChoice`: the rooms that a command is about, by template or by the whole name a client gives."""

import re
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from bridge.rules.faults import Spot, suggest
from bridge.rules.names import RoomPattern
from bridge.rules.placeholders import Placeholder, parse_template
from bridge.rules.scope import Known
from bridge.rules.sources import Source, compile_source
from bridge.rules.targets import RoomTemplates, compile_rooms


class RoomChoice(Struct, frozen=True, kw_only=True):
    """The `join`, `leave` or `inside` of a command."""

    templates: RoomTemplates | None
    """None when all rooms are named by the client."""
    named: tuple[Source, ...]
    """Values of the body that are whole names, `{body.room}`: to be matched against the `rooms`."""


def compile_choice(
    spot: Spot, texts: Sequence[str], known: Known, rooms: Sequence[RoomPattern], *, covered: bool
) -> RoomChoice | None:
    """Compile room templates of a command; None when a fault was found.

    `covered`: each of them must be able to name one of `rooms`.
    """
    before = len(spot.faults)
    named: list[Source] = []
    templates: list[str] = []
    for text in texts:
        placeholder = _find_whole_name(text)
        if placeholder is None:
            templates.append(text)
            continue
        source = spot.attempt(_compile_name, text, placeholder, known)
        if source is not None:
            named.append(source)
        if not rooms:
            spot.add(f'"{text}" is the name of a room, and the namespace has none (name them in `rooms`)')
    if covered:
        _check_covered(spot, templates, rooms)
    compiled = spot.attempt(compile_rooms, templates, known) if templates else None
    return RoomChoice(templates=compiled, named=tuple(named)) if len(spot.faults) == before else None


def _find_whole_name(text: str) -> Placeholder | None:
    """The placeholder of the body that a template consists of; None for any other template."""
    try:
        parts = parse_template(text)
    except ValueError:
        return None  # the template's own compiler says what is wrong
    if len(parts) == 1 and isinstance(parts[0], Placeholder) and parts[0].steps[0].name == "body":
        return parts[0]
    return None


def _compile_name(text: str, placeholder: Placeholder, known: Known) -> Source:
    if placeholder.default is not None:
        raise ValueError(f'"{text}" is the whole name of a room, which takes no default (leave it out)')
    return compile_source(placeholder, known)


def _check_covered(spot: Spot, joins: Sequence[str], rooms: Sequence[RoomPattern]) -> None:
    for text in joins:
        if not any(_may_match(_to_shape(text), _to_shape(room.text)) for room in rooms):
            names = suggest(text, (room.text for room in rooms))
            spot.add(f'no entry of `rooms` covers "{text}", so nobody could join it ({names})')


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
