"""Routing key patterns: AMQP's `*` and `#` plus named words, and an index that finds those that match."""

from collections.abc import Iterable
from typing import Generic, TypeVar

from msgspec import Struct

T = TypeVar("T")


def is_id(value: str) -> bool:
    """Tell whether this is an id: 1-128 characters, no whitespace, no control characters."""
    raise NotImplementedError


def is_key_word(value: str) -> bool:
    """Tell whether this is an id that may be a word of a routing key: no `.`, `#`, `*` either."""
    raise NotImplementedError


class KeyPattern(Struct, frozen=True, kw_only=True):
    """A pattern such as `project.{project}.state_change`."""

    text: str
    binding: str
    """The AMQP binding key: each named word is a `*`."""
    words: tuple[str, ...]
    """Names of its words, in order."""
    last: str | None
    """The last word where it is literal: the default name of the client event."""

    def match(self, key: str) -> dict[str, str] | None:
        """Return the named words of a routing key that matches as a whole."""
        raise NotImplementedError

    def choices(self, word: str) -> tuple[str, ...] | None:
        """Return the `a|b` of `{word:a|b}`; None for a word that may be anything."""
        raise NotImplementedError

    def overlaps(self, other: "KeyPattern") -> bool:
        """Tell whether some routing key matches both."""
        raise NotImplementedError


class KeyIndex(Generic[T]):
    """Finds all patterns that match a routing key, at a cost that does not grow with their number."""

    def __init__(self, pairs: Iterable[tuple[KeyPattern, T]]) -> None:
        raise NotImplementedError

    def find(self, key: str) -> list[tuple[T, dict[str, str]]]:
        """Return what belongs to each matching pattern and its named words, in the order of the pairs."""
        raise NotImplementedError


def parse_key_pattern(text: str) -> KeyPattern:
    """Parse a pattern; ValueError says what is wrong and the remedy."""
    raise NotImplementedError
