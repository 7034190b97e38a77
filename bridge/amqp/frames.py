"""AMQP 0-9-1 frames as bytes: their parts, and the few that are written by hand because they are hot.

A frame is kind (1 byte), channel (2), length (4), payload, and the octet 0xCE. Clauses are those of the
AMQP 0-9-1 specification.
"""

from functools import lru_cache
from struct import Struct
from typing import Final

from pamqp import frame as pamqp_frame
from pamqp.base import Frame

from bridge.errors import BridgeError

METHOD: Final = 1
HEADER: Final = 2
BODY: Final = 3
HEARTBEAT: Final = 8
END: Final = 0xCE

FRAME_ERROR: Final = 501
SYNTAX_ERROR: Final = 502
CHANNEL_ERROR: Final = 504
UNEXPECTED_FRAME: Final = 505

GREETING: Final = b"AMQP\x00\x00\x09\x01"
"""What a client says first (4.2.2)."""
OVERHEAD: Final = 8
"""Bytes of a frame beside its payload."""
LONGEST_SHORT: Final = 255
"""Bytes of a short string: routing keys, names, most properties."""

_BASIC: Final = 60
_PUBLISH: Final = 40
_ACK: Final = 80
_MANDATORY_AND_END: Final = b"\x01\xce"

_HEAD = Struct(">BHI")
_BODY_HEAD = Struct(">BBHI")
"""With the octet that ends the frame before."""
_METHOD_HEAD = Struct(">BHIHHH")
_CONTENT_HEAD = Struct(">BHIHHQ")
_ACK_FRAME = Struct(">BHIHHQBB")
_HEARTBEAT_FRAME: Final = _HEAD.pack(HEARTBEAT, 0, 0) + b"\xce"


class WireError(BridgeError):
    """The peer broke the protocol: the connection cannot be used any further."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code = code
        """Reply code of the specification (1.1)."""


def encode_method(request: Frame, channel: int) -> bytes:
    """A frame of any method; raises ValueError for a value that AMQP cannot carry."""
    return pamqp_frame.marshal(request, channel)


def encode_heartbeat() -> bytes:
    """The frame that only says: I am here (4.2.7)."""
    return _HEARTBEAT_FRAME


def encode_ack(channel: int, tag: int) -> bytes:
    """basic.ack of this delivery and of all before it on the channel."""
    return _ACK_FRAME.pack(METHOD, channel, 13, _BASIC, _ACK, tag, 1, END)


def encode_publish(
    channel: int, exchange: str, routing_key: str, properties: bytes, body: bytes, frame_max: int
) -> bytes:
    """All frames of one mandatory message; a body over `frame_max` goes into several frames (4.2.6.2).

    `properties` come from `encode_properties`. Raises ValueError for what AMQP cannot carry.
    """
    names = encode_names(exchange, routing_key)
    size = len(body)
    if len(properties) + 12 + OVERHEAD > frame_max:
        raise ValueError("properties longer than a frame")
    head = (
        _METHOD_HEAD.pack(METHOD, channel, 7 + len(names), _BASIC, _PUBLISH, 0),
        names,
        _MANDATORY_AND_END,
        _CONTENT_HEAD.pack(HEADER, channel, 12 + len(properties), _BASIC, 0, size),
        properties,
    )
    longest = frame_max - OVERHEAD
    if 0 < size <= longest:
        return b"".join((*head, _BODY_HEAD.pack(END, BODY, channel, size), body, b"\xce"))
    parts = [*head, b"\xce"]
    for start in range(0, size, longest):
        piece = body[start : start + longest]
        parts += (_HEAD.pack(BODY, channel, len(piece)), piece, b"\xce")
    return b"".join(parts)


@lru_cache(maxsize=4096)
def encode_names(*texts: str) -> bytes:
    """Short strings that come again and again, such as an exchange with a routing key."""
    return b"".join([encode_short(text) for text in texts])


def encode_short(text: str) -> bytes:
    """A short string; ValueError when it is over 255 bytes."""
    value = text.encode()
    if len(value) > LONGEST_SHORT:
        raise ValueError(f"text of {len(value)} bytes where AMQP allows {LONGEST_SHORT}")
    return bytes((len(value),)) + value


def decode_short(raw: bytes, position: int, end: int) -> tuple[str, int]:
    """A short string and where it ends; what is not UTF-8 in it becomes U+FFFD."""
    start = position + 1
    if start > end or (stop := start + raw[position]) > end:
        raise WireError(SYNTAX_ERROR, "short string over the end of its frame")
    return raw[start:stop].decode("utf-8", "replace"), stop
