"""Owns `since`: what a client says of the last event that it has seen, a cursor or an age."""

from msgspec import Struct

from bridge.config.units import Duration
from bridge.state.cursors import MOST_CHARACTERS, Cursor, parse_cursor


class Age(Struct, frozen=True):
    """Everything of the last seconds, for a client that has no cursor."""

    seconds: float


Since = Cursor | Age


def parse_since(value: object) -> Since | None:
    """A cursor as it was handed out, or an age such as `30s`; None when it is neither."""
    if not isinstance(value, str) or len(value) > MOST_CHARACTERS or not value.isascii():
        return None
    cursor = parse_cursor(value)
    if cursor is not None:
        return cursor
    try:
        return Age(float(Duration(value)))
    except ValueError:
        return None
