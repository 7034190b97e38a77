"""Names of namespaces and rooms: how they are quoted, and patterns that match them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Generic, Protocol, TypeVar

from msgspec import Struct

from bridge.rules.words import MAX_ID, is_id, is_key_word, match_plain, parse_word_name

T = TypeVar("T")

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.~@*-]")
_QUOTED_BYTE: Final = re.compile(r"%([0-9A-F]{2})")
_QUOTED: Final = r"[A-Za-z0-9_.~@*%-]+"
_RAW: Final = rf"[^:]{{1,{MAX_ID}}}"
_BYTES: Final = tuple(
    chr(byte) if byte < 128 and not _UNSAFE.match(chr(byte)) else f"%{byte:02X}" for byte in range(256)
)
_WORD: Final = re.compile(r"\{([^{}]*)\}")
_SEPARATOR: Final = re.compile(r"[^A-Za-z0-9_.~@*%-]")
_LITERAL: Final = re.compile(r"[!-$&-~]*")


def quote(value: str) -> str:
    """Percent-encode all but `[A-Za-z0-9_.~@*-]`, as UTF-8, so that a value holds no separator."""
    if _UNSAFE.search(value) is None:
        return value
    return "".join([_BYTES[byte] for byte in value.encode()])


def unquote(text: str) -> str:
    """Undo `quote`; raises ValueError for text that `quote` cannot have made."""
    if "%" not in text:
        value = text
    else:
        value = _QUOTED_BYTE.sub(lambda match: chr(int(match[1], 16)), text).encode("latin-1").decode()
    if quote(value) != text:
        raise ValueError(f'"{text}" is no quoted value')
    return value


class NamespacePattern(Struct, frozen=True, kw_only=True):
    """A namespace such as `/project/{project}`; a word is one whole path segment."""

    text: str
    words: tuple[str, ...]
    shape: str
    """The text with all words alike, `/project/{}`: two patterns of one shape match the same names."""
    segments: tuple[tuple[str, bool], ...]
    """Each a literal, or a word's name and True."""
    format: str
    """For the `%` operator and a mapping of its words."""

    def match(self, name: str) -> dict[str, str] | None:
        """Return the words of a concrete namespace; each must be a key word."""
        texts = name.split("/")[1:] if name.startswith("/") else []
        if len(texts) != len(self.segments):
            return None
        words: dict[str, str] = {}
        for (segment, is_word), text in zip(self.segments, texts, strict=True):
            if is_word:
                if not is_key_word(text):
                    return None
                words[segment] = text
            elif segment != text:
                return None
        return words

    def render(self, words: Mapping[str, str]) -> str | None:
        """Return the concrete namespace; None when a word is none that `match` accepts: nobody is there."""
        for word in self.words:
            value = words[word]
            if match_plain(value) is None and ("/" in value or not is_key_word(value)):
                return None
        return self.format % words if self.words else self.text


class RoomPattern(Struct, frozen=True, kw_only=True):
    """A room name such as `project:{project}`, for canonical (quoted) names."""

    text: str
    words: tuple[str, ...]
    shape: str
    regex: re.Pattern[str]
    raw: re.Pattern[str]
    """For names as clients write them, without quotes."""
    format: str
    """For the `%` operator and its words, in order."""

    def match(self, room: str) -> dict[str, str] | None:
        """Return the words, unquoted, of a room's name; each must be an id."""
        found = self.regex.fullmatch(room)
        if found is None:
            return None
        try:
            values = [unquote(text) for text in found.groups()]
        except ValueError:
            return None
        return dict(zip(self.words, values, strict=True)) if all(map(is_id, values)) else None

    def canonize(self, name: str) -> str | None:
        """Return the canonical form of a name that a client wrote; each word must be a key word without `:`.

        None when the name is not of this pattern.
        """
        found = self.raw.fullmatch(name)
        if found is None or not all(map(is_key_word, found.groups())):
            return None
        return self.format % tuple(map(quote, found.groups()))


class _Pattern(Protocol):
    """What an index looks through."""

    @property
    def shape(self) -> str:
        """The text with all words alike."""

    def match(self, name: str) -> dict[str, str] | None:
        """The words of a name of this pattern."""


P = TypeVar("P", bound=_Pattern)


class NameIndex(Generic[P, T]):
    """Finds the one pattern for a name; of several the one with more literal text."""

    def __init__(self, pairs: Iterable[tuple[P, T]]) -> None:
        self._pairs = sorted(pairs, key=lambda pair: _preference(pair[0].shape))

    def __iter__(self) -> Iterator[tuple[P, T]]:
        return iter(self._pairs)

    def find(self, name: str) -> tuple[T, dict[str, str]] | None:
        """Return what belongs to the name, and its words."""
        for pattern, value in self._pairs:
            words = pattern.match(name)
            if words is not None:
                return value, words
        return None


def canonize_room(rooms: NameIndex[RoomPattern, T], name: str) -> str | None:
    """Return the canonical form of a name as a client wrote it; None when no pattern covers it."""
    return next((room for pattern, _ in rooms if (room := pattern.canonize(name))), None)


def _preference(shape: str) -> tuple[int, int]:
    return -len(shape.replace("{}", "")), shape.count("{}")


def parse_namespace_pattern(text: str) -> NamespacePattern:
    """Parse a namespace of the configuration; ValueError says what is wrong and the remedy."""
    if not text.startswith("/"):
        raise ValueError(f'"{text}" is no namespace (write /{text})')
    segments: list[tuple[str, bool]] = []
    for segment in text.split("/")[1:]:
        if segment.startswith("{") and segment.endswith("}"):
            segments.append((parse_word_name(segment[1:-1]), True))
        elif "{" in segment or "}" in segment:
            raise ValueError(f'"{segment}": a placeholder is a whole segment (write /{{name}}/)')
        elif re.search(r"[\s,?\x00-\x1f\x7f]", segment):
            raise ValueError(f'"{segment}" cannot stand in a namespace (no whitespace, "," or "?")')
        elif not segment and text != "/":
            raise ValueError(
                f'"{text}" has an empty segment (write one "/" between segments, none at the end)'
            )
        else:
            segments.append((segment, False))
    words = tuple(segment for segment, is_word in segments if is_word)
    _check_distinct(text, words)
    return NamespacePattern(
        text=text,
        words=words,
        shape=_WORD.sub("{}", text),
        segments=tuple(segments),
        format=_WORD.sub(r"%(\1)s", text.replace("%", "%%")),
    )


def parse_room_pattern(text: str) -> RoomPattern:
    """Parse a room of the configuration; ValueError says what is wrong and the remedy."""
    pieces = _WORD.split(text)
    literals, words = pieces[::2], tuple(parse_word_name(name) for name in pieces[1::2])
    check_room_literals(text, literals)
    _check_distinct(text, words)
    return RoomPattern(
        text=text,
        words=words,
        shape=_WORD.sub("{}", text),
        regex=re.compile(f"({_QUOTED})".join(map(re.escape, literals))),
        raw=re.compile(f"({_RAW})".join(map(re.escape, literals))),
        format="%s".join(literals),
    )


def check_room_literals(text: str, literals: list[str]) -> None:
    """Check the text around and between the placeholders of a room; ValueError says what is wrong.

    Quoted values hold no separator, so one between two of them keeps `a:b` + `c` from `a` + `b:c`.
    """
    if not text:
        raise ValueError("a room needs a name")
    for literal in literals:
        if _LITERAL.fullmatch(literal) is None or "{" in literal or "}" in literal:
            raise ValueError(
                f'"{literal}" cannot stand in a room name (ASCII, no whitespace, "%" or lone brace)'
            )
    for between in literals[1:-1]:
        if _SEPARATOR.search(between) is None:
            raise ValueError(f'"{text}": "{between}" does not keep two values apart (write ":" between them)')


def _check_distinct(text: str, words: tuple[str, ...]) -> None:
    for word in words:
        if words.count(word) > 1:
            raise ValueError(f'"{text}" names the word "{word}" twice')
