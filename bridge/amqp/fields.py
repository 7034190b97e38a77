"""Field tables of AMQP 0-9-1, as RabbitMQ writes them, to Python values; the values of `pamqp`, but tolerant.

A service may put anything into a message's headers, and the broker delivers the same message again after
every reconnect: what cannot be decoded must not cost the connection. So a text that is not UTF-8 stays
bytes, a time that no calendar knows is None, and what is nested deeper than 32 levels is None.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from struct import Struct
from typing import Final

from bridge.amqp.frames import SYNTAX_ERROR, WireError, decode_short, encode_short

_DEEPEST: Final = 32
_LATEST_SECONDS: Final = 0xFFFFFFFF
"""A larger time (after the year 2106) is meant in milliseconds; so says pamqp, too."""
_END_OF_TIME: Final = 253_402_300_800  # the year 10000

_LENGTH = Struct(">I")
_INT64 = Struct(">q")

_FIXED: Final[Mapping[int, Struct]] = {
    ord(letter): Struct(layout)
    for letter, layout in {
        "b": ">b",
        "B": ">B",
        "s": ">h",
        "u": ">H",
        "I": ">i",
        "i": ">I",
        "l": ">q",
        "L": ">q",
        "f": ">f",
        "d": ">d",
        "t": ">B",
        "T": ">Q",
        "D": ">BI",
    }.items()
}
"""Types of a fixed size (https://www.rabbitmq.com/amqp-0-9-1-errata.html, section 3)."""


def decode_table(raw: bytes, position: int, end: int, depth: int = 0) -> tuple[dict[str, object], int]:
    """The table whose length stands at `position`, and where it ends; WireError if it is none."""
    position, stop = _limits(raw, position, end)
    table: dict[str, object] = {}
    while position < stop:
        name, position = decode_short(raw, position, stop)
        if position < stop and raw[position] == 108 and position + 9 <= stop:  # "l": RabbitMQ's integers
            table[name] = _INT64.unpack_from(raw, position + 1)[0]
            position += 9
        else:
            table[name], position = _decode_value(raw, position, stop, depth)
    return table, stop


def encode_table(table: Mapping[str, str]) -> bytes:
    """A table of texts, with its length; ValueError when a name is over 255 bytes."""
    entries = b"".join([_encode_text(name, text) for name, text in table.items()])
    return _LENGTH.pack(len(entries)) + entries


@lru_cache(maxsize=4096)
def _encode_text(name: str, text: str) -> bytes:
    """One entry; the headers of a client's messages are the same again and again."""
    value = text.encode()
    return b"%b%b%b%b" % (encode_short(name), b"S", _LENGTH.pack(len(value)), value)


def to_seconds(value: int) -> float | None:
    """Epoch seconds of an AMQP time that may be in milliseconds; None for what is neither."""
    seconds = value / 1000 if value > _LATEST_SECONDS else float(value)
    return seconds if seconds < _END_OF_TIME else None


def _decode_value(raw: bytes, position: int, end: int, depth: int) -> tuple[object, int]:
    if position >= end:
        raise WireError(SYNTAX_ERROR, "field without a type")
    kind = raw[position]
    position += 1
    if (layout := _FIXED.get(kind)) is not None:
        stop = position + layout.size
        if stop > end:
            raise WireError(SYNTAX_ERROR, "field over the end of its table")
        return _convert(kind, layout.unpack_from(raw, position)), stop
    if kind == ord("V"):
        return None, position
    if (decode := _VARIABLE.get(kind)) is None:
        raise WireError(SYNTAX_ERROR, f"field of unknown type {kind:#04x}")
    return decode(raw, position, end, depth + 1)


def _convert(kind: int, values: tuple[int | float, ...]) -> object:
    value = values[0]
    if kind == ord("t"):
        return bool(value)
    if kind == ord("T"):
        seconds = to_seconds(int(value))
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    if kind == ord("D"):
        return Decimal(int(values[1])) * Decimal(10) ** -int(value)
    return value


def _decode_text(raw: bytes, position: int, end: int, _: int) -> tuple[str | bytes, int]:
    start, stop = _limits(raw, position, end)
    value = raw[start:stop]
    try:
        return value.decode(), stop
    except UnicodeDecodeError:
        return value, stop


def _decode_bytes(raw: bytes, position: int, end: int, _: int) -> tuple[bytearray, int]:
    start, stop = _limits(raw, position, end)
    return bytearray(raw[start:stop]), stop


def _decode_array(raw: bytes, position: int, end: int, depth: int) -> tuple[list[object] | None, int]:
    position, stop = _limits(raw, position, end)
    if depth > _DEEPEST:
        return None, stop
    values: list[object] = []
    while position < stop:
        value, position = _decode_value(raw, position, stop, depth)
        values.append(value)
    return values, stop


def _decode_nested(raw: bytes, position: int, end: int, depth: int) -> tuple[dict[str, object] | None, int]:
    if depth > _DEEPEST:
        return None, _limits(raw, position, end)[1]
    return decode_table(raw, position, end, depth)


_VARIABLE: Final[Mapping[int, Callable[[bytes, int, int, int], tuple[object, int]]]] = {
    ord("S"): _decode_text,
    ord("x"): _decode_bytes,
    ord("A"): _decode_array,
    ord("F"): _decode_nested,
}


def _limits(raw: bytes, position: int, end: int) -> tuple[int, int]:
    """Where the content begins whose length stands at `position`, and where it ends."""
    start = position + 4
    if start > end or (stop := start + _LENGTH.unpack_from(raw, position)[0]) > end:
        raise WireError(SYNTAX_ERROR, "length over the end of its frame")
    return start, stop
