"""Owns the words that all systems share: ids, timestamps, open values, and the two kinds of body.

An *event* comes from a service: fields that are not named here are dropped on the way to a browser.
A *command* comes from a browser: a field that is not named here is refused.
An *open* event or command keeps fields that are not named: their meaning is its users' own.
"""

from typing import Annotated, ClassVar, TypeVar

from msgspec import Meta, Struct, UnsetType

T = TypeVar("T")

Maybe = T | None | UnsetType
"""An optional field, written `name: Maybe[str] = UNSET`: absent stays absent, null stays null."""

Number = int | float
"""A number that goes on as it came, whole or not."""

Id = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        pattern=r"\A[^\s\x00-\x1f\x7f-\x9f]*\Z",
        description="text without whitespace and control characters",
    ),
]
"""An id or a name: 1-128 characters, no whitespace, no control characters."""

KeyWord = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        pattern=r"\A[^\s\x00-\x1f\x7f-\x9f.#*]*\Z",
        description="text without whitespace, control characters and any of `.`, `#`, `*`",
    ),
]
"""An id that may become a word of a routing key or the name of a room."""

Uuid = Annotated[
    str,
    Meta(
        pattern=r"\A[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\Z",
        description="a UUID",
    ),
]
"""A UUID in its usual form; the text goes on as it came."""

Timestamp = Annotated[
    str,
    Meta(
        max_length=64,
        pattern=r"\A\d{4}-\d\d-\d\d(?:[Tt ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:[Zz]|[+-]\d\d(?::?\d\d)?)?)?\Z",
        description="a date and time in ISO 8601",
    ),
]
"""A date and time in ISO 8601; the text goes on as it came."""

Open = str | dict[str, object]
"""A value whose type a document names but never defines: any string or object."""


class Event(Struct, frozen=True):
    """The body of a service's event: required fields first, then the optional ones."""


class Command(Struct, frozen=True, forbid_unknown_fields=True):
    """What a browser sends: required fields first, then the optional ones."""


class OpenEvent(Event, frozen=True):
    """The body of a service's event whose further fields go on as they came."""

    keep_unknown_fields: ClassVar[bool] = True


class OpenCommand(Struct, frozen=True):
    """What a browser sends, whose further fields go on as they came."""

    keep_unknown_fields: ClassVar[bool] = True
