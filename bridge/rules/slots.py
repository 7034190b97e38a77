"""One value in the name of a room or in a routing key: which values may stand there, and their text."""

from collections.abc import Callable
from typing import Final

from msgspec import Struct, to_builtins

from bridge.rules.names import quote
from bridge.rules.placeholders import Placeholder
from bridge.rules.scope import MISSING, BadValue, Known, Scope
from bridge.rules.sources import Source, compile_source
from bridge.rules.words import MAX_ID, is_id, is_key_word, match_plain

Words = tuple[str, ...]

_NO_KEY_WORD: Final = (
    f'must be 1 to {MAX_ID} characters without whitespace, control characters, ".", "#" and "*"'
)
_NO_ID: Final = f"must be 1 to {MAX_ID} characters without whitespace and control characters"


class Slot(Struct, frozen=True, kw_only=True):
    """The place of one value."""

    roots: frozenset[str]
    client: bool
    """It may take a value from a client's body."""
    words: Callable[[Scope], Words]
    """Returns the value as it stands in the name; several for `{x[]}`, none when missing or invalid."""
    fault: Callable[[Scope], BadValue | None]
    """Returns the first value that is there but may not stand here."""
    missing: BadValue
    """What a missing value amounts to, where it is needed."""


class _Guard(Struct, frozen=True, kw_only=True):
    """What a source's values must be."""

    accepts: Callable[[str], bool]
    message: str
    quoted: bool

    def to_word(self, value: object) -> str | None:
        """Return a value's text in the name, or None where it may not stand there."""
        if type(value) is not str:
            text = _scalar_text(value)
            if text is None:
                return None
            value = text
        if match_plain(value) is not None:
            return value
        if not self.accepts(value):
            return None
        return quote(value) if self.quoted else value


def _is_room_id(value: str) -> bool:
    return value != "*" and is_id(value)


_KEY: Final = _Guard(accepts=is_key_word, message=_NO_KEY_WORD, quoted=False)
_CLIENT_ROOM: Final = _Guard(accepts=is_key_word, message=_NO_KEY_WORD, quoted=True)
_ROOM: Final = _Guard(accepts=_is_room_id, message=_NO_ID, quoted=True)
_CLAIM_ROOM: Final = _Guard(accepts=is_id, message=_NO_ID, quoted=True)
"""Of a claim that is a list: `*` in it stands for all, in the room's name too."""


def compile_slot(placeholder: Placeholder, known: Known, *, for_key: bool) -> Slot:
    """Compile the place of one value; ValueError says what is wrong and the remedy."""
    source = compile_source(placeholder, known)
    if for_key and source.each:
        raise ValueError(f'"{{{placeholder.path}}}": "[]" is for rooms (a message has one routing key)')
    client = known.client and source.root == "body"
    guard = _choose_guard(source, client=client, for_key=for_key)
    default = _compile_default(placeholder, known, guard, for_key=for_key)
    words = _compile_each(source, guard) if source.each else _compile_single(source, guard)
    names = tuple(step.name for step in placeholder.steps)
    path = names[1:] if source.root == "body" else names
    slot = Slot(
        roots=frozenset((source.root,)),
        client=client,
        words=words,
        fault=_compile_fault(source, guard, client=client),
        missing=BadValue(message="is missing", path=path, client=client),
    )
    return slot if default is None else _with_default(slot, source, default)


def _choose_guard(source: Source, *, client: bool, for_key: bool) -> _Guard:
    if for_key:
        return _KEY
    if client:
        return _CLIENT_ROOM
    return _CLAIM_ROOM if source.root == "user" and source.each else _ROOM


def _compile_single(source: Source, guard: _Guard) -> Callable[[Scope], Words]:
    read, to_word = source.read, guard.to_word

    def words(scope: Scope) -> Words:
        value = read(scope)
        if type(value) is str and match_plain(value) is not None:
            return (value,)
        if value is MISSING or value is None:
            return ()
        word = to_word(value)
        return () if word is None else (word,)

    return words


def _compile_each(source: Source, guard: _Guard) -> Callable[[Scope], Words]:
    walk, to_word = source.walk, guard.to_word

    def words(scope: Scope) -> Words:
        found = (to_word(value) for _, value in walk(scope))
        return tuple(dict.fromkeys(word for word in found if word is not None))

    return words


def _compile_fault(source: Source, guard: _Guard, *, client: bool) -> Callable[[Scope], BadValue | None]:
    def fault(scope: Scope) -> BadValue | None:
        for below, value in source.walk(scope):
            if guard.to_word(value) is None:
                path = below if source.root == "body" else (source.root, *below)
                return BadValue(message=guard.message, path=path, client=client)
        return None

    return fault


def _compile_default(placeholder: Placeholder, known: Known, guard: _Guard, *, for_key: bool) -> Slot | None:
    default = placeholder.default
    if default is None:
        return None
    if len(default) == 1 and isinstance(default[0], Placeholder):
        return compile_slot(default[0], known, for_key=for_key)
    if not all(isinstance(part, str) for part in default):
        raise ValueError(f'the default of "{{{placeholder.path}}}" must be text or one placeholder here')
    text = "".join(map(str, default))
    word = guard.to_word(text)
    if word is None:
        raise ValueError(f'the default "{text}" of "{{{placeholder.path}}}" {guard.message}')
    missing = BadValue(message="is missing", path=(), client=False)
    return Slot(
        roots=frozenset(), client=False, words=lambda _: (word,), fault=lambda _: None, missing=missing
    )


def _with_default(slot: Slot, source: Source, default: Slot) -> Slot:
    """Let the default stand in where the value is missing or null; never where it is invalid."""

    def is_there(scope: Scope) -> bool:
        return not _is_missing(source, scope)

    return Slot(
        roots=slot.roots | default.roots,
        client=slot.client or default.client,
        words=lambda scope: slot.words(scope) if is_there(scope) else default.words(scope),
        fault=lambda scope: slot.fault(scope) if is_there(scope) else default.fault(scope),
        missing=default.missing,
    )


def _is_missing(source: Source, scope: Scope) -> bool:
    if source.each:
        return next(source.walk(scope), None) is None
    value = source.read(scope)
    return value is MISSING or value is None


def _scalar_text(value: object) -> str | None:
    """Return the JSON text of an id that is no plain string: a whole number, an enumeration, a UUID."""
    if isinstance(value, bool | bytes | bytearray | memoryview):
        return None
    try:
        plain = to_builtins(value)
    except TypeError:
        return None
    if isinstance(plain, int) and not isinstance(plain, bool):
        return str(plain)
    return plain if isinstance(plain, str) else None
