"""Templates of rooms and routing keys: what may stand in them is guarded, and room values are quoted."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Final

from msgspec import Struct

from bridge.rules.keys import MAX_KEY_BYTES
from bridge.rules.names import check_room_literals
from bridge.rules.placeholders import Part, Placeholder, parse_template
from bridge.rules.scope import BadValue, Known, Problem, Scope, TemplateError
from bridge.rules.slots import Slot, compile_slot
from bridge.rules.words import is_key_word

MAX_ROOMS: Final = 1000
"""Rooms that one place may name at once, so that no list in a body multiplies without end."""

Pieces = tuple[str | Slot, ...]


class RoomTemplates(Struct, frozen=True, kw_only=True):
    """Some templates of room names; together they name a set of rooms."""

    roots: frozenset[str]
    render: Callable[[Scope], tuple[str, ...]]
    """Returns the rooms, in order, each once; a missing or invalid value names no room."""
    templates: tuple[Pieces, ...]

    def fault(self, scope: Scope) -> BadValue | None:
        """Return why the rooms cannot be used: a client's value may not name a room, or they are too many.

        For commands, which are refused then. Values of events and claims are no faults: they name no room.
        """
        count = 0
        for pieces in self.templates:
            slots = [piece for piece in pieces if not isinstance(piece, str)]
            for slot in slots:
                bad = slot.fault(scope)
                if bad is not None and bad.client:
                    return bad
            count += _count(pieces, scope)
        if count > MAX_ROOMS:
            client = any(slot.client for p in self.templates for slot in p if not isinstance(slot, str))
            return BadValue(message=f"must not name more than {MAX_ROOMS} rooms", path=(), client=client)
        return None


class KeyTemplate(Struct, frozen=True, kw_only=True):
    """A template of a routing key."""

    roots: frozenset[str]
    pieces: Pieces

    def render(self, scope: Scope) -> str | BadValue:
        """Return the key; a value that is missing or no key word, or a key over 255 bytes, is a BadValue."""
        texts = []
        for piece in self.pieces:
            if isinstance(piece, str):
                texts.append(piece)
                continue
            words = piece.words(scope)
            if not words:
                return piece.fault(scope) or piece.missing
            texts.append(words[0])
        key = "".join(texts)
        if len(key) > MAX_KEY_BYTES // 4 and len(key.encode()) > MAX_KEY_BYTES:
            client = any(slot.client for slot in self.pieces if not isinstance(slot, str))
            return BadValue(message="is too long for a routing key", path=(), client=client)
        return key


def compile_rooms(texts: Sequence[str], known: Known) -> RoomTemplates:
    """Compile room templates; `{x[]}` makes one room per element. Raises `TemplateError` (path `[i]`)."""
    problems: list[Problem] = []
    templates: list[Pieces] = []
    for index, text in enumerate(texts):
        try:
            parts = parse_template(text)
            check_room_literals(text, _literals(parts))
            templates.append(_compile_pieces(parts, known, for_key=False))
        except ValueError as error:
            problems.append(Problem(path=f"[{index}]", message=str(error)))
    if problems:
        raise TemplateError(tuple(problems))
    return RoomTemplates(
        roots=_roots(templates), render=_compile_render(tuple(templates)), templates=tuple(templates)
    )


def compile_key(text: str, known: Known) -> KeyTemplate:
    """Compile the template of a routing key; raises `TemplateError`."""
    try:
        parts = parse_template(text)
        for word in "".join(part if isinstance(part, str) else "x" for part in parts).split("."):
            if not is_key_word(word):
                raise ValueError(
                    f'"{text}" is no routing key (words with "." between, no "*", "#" or whitespace)'
                )
        pieces = _compile_pieces(parts, known, for_key=True)
    except ValueError as error:
        raise TemplateError((Problem(path="", message=str(error)),)) from error
    return KeyTemplate(roots=_roots([pieces]), pieces=pieces)


def _literals(parts: Sequence[Part]) -> list[str]:
    """Return the text before, between and after the placeholders, empty where there is none."""
    literals = [""]
    for part in parts:
        if isinstance(part, str):
            literals[-1] = part
        else:
            literals.append("")
    return literals


def _compile_pieces(parts: Sequence[Part], known: Known, *, for_key: bool) -> Pieces:
    return tuple(
        compile_slot(part, known, for_key=for_key) if isinstance(part, Placeholder) else part
        for part in parts
    )


def _roots(templates: Sequence[Pieces]) -> frozenset[str]:
    return frozenset(
        root for pieces in templates for slot in pieces if not isinstance(slot, str) for root in slot.roots
    )


def _compile_render(templates: tuple[Pieces, ...]) -> Callable[[Scope], tuple[str, ...]]:
    """Choose the cheapest way: most places name constant rooms, or one room with one value in it."""
    if all(isinstance(piece, str) for pieces in templates for piece in pieces):
        rooms = tuple(dict.fromkeys("".join(map(str, pieces)) for pieces in templates))
        return lambda _: rooms
    renders = tuple(_compile_one(pieces) for pieces in templates)
    if len(renders) == 1:
        return renders[0]

    def render(scope: Scope) -> tuple[str, ...]:
        rooms: list[str] = []
        for render_one in renders:
            rooms += render_one(scope)
        return tuple(dict.fromkeys(rooms)) if len(rooms) <= MAX_ROOMS else ()

    return render


def _compile_one(pieces: Pieces) -> Callable[[Scope], tuple[str, ...]]:
    slots = [piece for piece in pieces if not isinstance(piece, str)]
    if not slots:
        room = "".join(map(str, pieces))
        return lambda _: (room,)
    if len(slots) > 1:
        return _compile_product(pieces)
    words, before, after = slots[0].words, *_around(pieces)

    def render(scope: Scope) -> tuple[str, ...]:
        found = words(scope)
        if len(found) == 1:
            return (before + found[0] + after,)
        if len(found) > MAX_ROOMS:
            return ()
        return tuple(dict.fromkeys(before + word + after for word in found))

    return render


def _around(pieces: Pieces) -> tuple[str, str]:
    at = next(index for index, piece in enumerate(pieces) if not isinstance(piece, str))
    return "".join(map(str, pieces[:at])), "".join(map(str, pieces[at + 1 :]))


def _compile_product(pieces: Pieces) -> Callable[[Scope], tuple[str, ...]]:
    def render(scope: Scope) -> tuple[str, ...]:
        columns = [(piece,) if isinstance(piece, str) else piece.words(scope) for piece in pieces]
        count = 1
        for column in columns:
            count *= len(column)
        if not 0 < count <= MAX_ROOMS:
            return ()
        return tuple(dict.fromkeys(map("".join, product(*columns))))

    return render


def _count(pieces: Pieces, scope: Scope) -> int:
    count = 1
    for piece in pieces:
        count *= 1 if isinstance(piece, str) else len(piece.words(scope))
    return count
