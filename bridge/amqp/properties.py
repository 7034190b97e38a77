"""The properties of a message (class basic), between bytes and values: only those that the bridge knows."""

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct as Layout
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from bridge.amqp.fields import decode_table, encode_table, to_seconds
from bridge.amqp.frames import SYNTAX_ERROR, WireError, decode_short, encode_names, encode_short
from bridge.model import OFFSET_HEADER

_CONTENT_TYPE: Final = 1 << 15
_CONTENT_ENCODING: Final = 1 << 14
_HEADERS: Final = 1 << 13
_DELIVERY_MODE: Final = 1 << 12
_PRIORITY: Final = 1 << 11
_CORRELATION_ID: Final = 1 << 10
_REPLY_TO: Final = 1 << 9
_EXPIRATION: Final = 1 << 8
_MESSAGE_ID: Final = 1 << 7
_TIMESTAMP: Final = 1 << 6
_TYPE: Final = 1 << 5
_APP_ID: Final = 1 << 3
_MORE_FLAGS: Final = 1
_BETWEEN: Final = _PRIORITY | _CORRELATION_ID | _REPLY_TO | _EXPIRATION

_USUAL_FLAGS: Final = _CONTENT_TYPE | _HEADERS | _DELIVERY_MODE | _MESSAGE_ID | _TIMESTAMP
_USUAL_MASK: Final = _USUAL_FLAGS | _CONTENT_ENCODING | _BETWEEN
"""What stands before or between those five; what stands behind them is not read."""

_LATEST_TIME: Final = 2**63
_ONLY_OFFSET: Final = b"\x00\x00\x00\x19\x0fx-stream-offsetl"
"""A table of 25 bytes with this entry alone: most of what comes from a stream."""
_JSON: Final = b"\x10application/json"

_NO_HEADERS: Final[Mapping[str, object]] = MappingProxyType({})

_FLAGS = Layout(">H")
_USUAL = Layout(">H17s21sqBB")
"""Flags, content type, the table up to its value, that value, delivery mode, length of the message id."""
_UINT64 = Layout(">Q")
_INT64 = Layout(">q")


class Properties(Struct, frozen=True, gc=False):
    """What a received message says about itself; texts that are not UTF-8 hold U+FFFD."""

    content_type: str | None
    headers: Mapping[str, object]
    correlation_id: str | None
    message_id: str | None
    timestamp: float | None
    """Epoch seconds."""


def decode_properties(raw: bytes) -> Properties:
    """The flags and properties of a content header frame; WireError when they are none."""
    end = len(raw)
    flags = (raw[0] << 8) + raw[1] if end >= 2 else _MORE_FLAGS
    if flags & _MORE_FLAGS:
        raise WireError(SYNTAX_ERROR, "unknown property flags")
    return _decode_any(raw, end, flags)


def decode_usual(raw: bytes) -> tuple[int, str, float | None] | None:
    """Offset, message id and time of what most events from a stream are, at a third of the price.

    They are JSON, persistent, with an id and a time, and no header but the offset. None for anything else.
    """
    end = len(raw)
    if end < _USUAL.size:
        return None
    flags, content_type, table, offset, _, length = _USUAL.unpack_from(raw)
    stop = _USUAL.size + length
    if flags & _USUAL_MASK != _USUAL_FLAGS or flags & _MORE_FLAGS or stop + 8 > end:
        return None
    if content_type != _JSON or table != _ONLY_OFFSET:
        return None
    message_id = raw[_USUAL.size : stop].decode("utf-8", "replace")
    return offset, message_id, _decode_time(raw[stop : stop + 8])


def _decode_any(raw: bytes, end: int, flags: int) -> Properties:
    position = 2
    content_type = correlation_id = message_id = timestamp = None
    headers: Mapping[str, object] = _NO_HEADERS
    if flags & _CONTENT_TYPE:
        if raw.startswith(_JSON, 2):
            content_type, position = "application/json", 19
        else:
            content_type, position = decode_short(raw, 2, end)
    if flags & _CONTENT_ENCODING:
        _, position = decode_short(raw, position, end)
    if flags & _HEADERS:
        if raw.startswith(_ONLY_OFFSET, position) and position + 29 <= end:
            headers = {OFFSET_HEADER: _INT64.unpack_from(raw, position + 21)[0]}
            position += 29
        else:
            headers, position = decode_table(raw, position, end)
    if flags & _DELIVERY_MODE:
        position += 1
    if flags & _BETWEEN:
        correlation_id, position = _decode_between(raw, position, flags)
    if flags & _MESSAGE_ID:
        message_id, position = decode_short(raw, position, end)
    if flags & _TIMESTAMP:
        if position + 8 > end:
            raise WireError(SYNTAX_ERROR, "time over the end of its frame")
        timestamp = _decode_time(raw[position : position + 8])
    return Properties(content_type, headers, correlation_id, message_id, timestamp)


@lru_cache(maxsize=64)
def _decode_time(raw: bytes) -> float | None:
    """Whole seconds as a rule, so that many messages in a row have the same."""
    return to_seconds(_UINT64.unpack(raw)[0])


def _decode_between(raw: bytes, position: int, flags: int) -> tuple[str | None, int]:
    """Correlation id, and where the seldom properties about it end."""
    if flags & _PRIORITY:
        position += 1
    texts: dict[int, str] = {}
    for flag in (_CORRELATION_ID, _REPLY_TO, _EXPIRATION):
        if flags & flag:
            texts[flag], position = decode_short(raw, position, len(raw))
    return texts.get(_CORRELATION_ID), position


def encode_properties(
    *,
    content_type: str,
    headers: Mapping[str, str],
    persistent: bool,
    message_id: str,
    timestamp: float,
    type: str,
    correlation_id: str | None = None,
    reply_to: str | None = None,
    expiration: str | None = None,
) -> bytes:
    """Flags and properties of a message of the bridge; ValueError for a text that AMQP cannot carry."""
    flags = _CONTENT_TYPE | _HEADERS | _DELIVERY_MODE | _MESSAGE_ID | _TIMESTAMP | _TYPE | _APP_ID
    parts = [encode_names(content_type), encode_table(headers), b"\x02" if persistent else b"\x01"]
    for flag, text in ((_CORRELATION_ID, correlation_id), (_REPLY_TO, reply_to), (_EXPIRATION, expiration)):
        if text is not None:
            flags |= flag
            parts.append(encode_short(text))
    parts += (encode_short(message_id), _encode_time(timestamp), encode_names(type, "bridged"))
    return _FLAGS.pack(flags) + b"".join(parts)


def _encode_time(timestamp: float) -> bytes:
    if not 0 <= timestamp < _LATEST_TIME:
        raise ValueError(f"time {timestamp} is none that AMQP can carry")
    return _UINT64.pack(int(timestamp))
