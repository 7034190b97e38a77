"""Names of namespaces and rooms: how they are quoted, and patterns that match them."""

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from msgspec import Struct

T = TypeVar("T")


def quote(value: str) -> str:
    """Percent-encode all but `[A-Za-z0-9_.~@*-]`, as UTF-8, so that a value holds no separator."""
    raise NotImplementedError


def unquote(text: str) -> str:
    """Undo `quote`; raises ValueError for text that `quote` cannot have made."""
    raise NotImplementedError


class NamespacePattern(Struct, frozen=True, kw_only=True):
    """A namespace such as `/project/{project}`; a word is one whole path segment."""

    text: str
    words: tuple[str, ...]
    shape: str
    """The text with all words alike, `/project/{}`: two patterns of one shape match the same names."""

    def match(self, name: str) -> dict[str, str] | None:
        """Return the words of a concrete namespace; each must be a key word."""
        raise NotImplementedError

    def render(self, words: Mapping[str, str]) -> str | None:
        """Return the concrete namespace; None when a word holds a `/`, since no client can be there."""
        raise NotImplementedError


class RoomPattern(Struct, frozen=True, kw_only=True):
    """A room name such as `project:{project}`, for canonical (quoted) names."""

    text: str
    words: tuple[str, ...]
    shape: str

    def match(self, room: str) -> dict[str, str] | None:
        """Return the words, unquoted, of a room's name."""
        raise NotImplementedError


class NamespaceIndex(Generic[T]):
    """Finds the one pattern for a namespace; of several the one with more literal text."""

    def __init__(self, pairs: Iterable[tuple[NamespacePattern, T]]) -> None:
        raise NotImplementedError

    def find(self, name: str) -> tuple[T, dict[str, str]] | None:
        """Return what belongs to the namespace, and its words."""
        raise NotImplementedError


class RoomIndex(Generic[T]):
    """Finds the one pattern for a room's name; of several the one with more literal text."""

    def __init__(self, pairs: Iterable[tuple[RoomPattern, T]]) -> None:
        raise NotImplementedError

    def find(self, room: str) -> tuple[T, dict[str, str]] | None:
        """Return what belongs to the room, and its words."""
        raise NotImplementedError


def parse_namespace_pattern(text: str) -> NamespacePattern:
    """Parse a namespace of the configuration; ValueError says what is wrong and the remedy."""
    raise NotImplementedError


def parse_room_pattern(text: str) -> RoomPattern:
    """Parse a room of the configuration; ValueError says what is wrong and the remedy."""
    raise NotImplementedError
