"""Messages to clients, encoded once: as websocket frames for those on one, as HTTP body for the others."""

import binascii
from collections.abc import Sequence
from struct import Struct
from typing import Final

from bridge.sockets.engine_packets import SEPARATOR

_MIDDLE_HEAD: Final = Struct(">BBH").pack
_LARGE_HEAD: Final = Struct(">BBQ").pack
TEXT: Final = 0x81
_BINARY: Final = 0x82
_CLOSE: Final = 0x88
_PONG: Final = 0x8A


def encode_frame(first: int, payload: bytes) -> bytes:
    """One whole, unmasked, uncompressed websocket frame (RFC 6455, section 5.2)."""
    length = len(payload)
    if 125 < length < 65536:  # as most are
        return _MIDDLE_HEAD(first, 126, length) + payload
    if length < 126:
        return bytes((first, length)) + payload
    return _LARGE_HEAD(first, 127, length) + payload


def encode_close(code: int) -> bytes:
    """The websocket close frame."""
    return encode_frame(_CLOSE, code.to_bytes(2, "big"))


def encode_pong(payload: bytes) -> bytes:
    """The websocket's answer to a ping frame."""
    return encode_frame(_PONG, payload)


class Message:
    """One Engine.IO packet with the binary packets that belong right behind it; shared by all who get it."""

    __slots__ = ("_body", "attachments", "frames", "packet")

    def __init__(self, packet: bytes, attachments: tuple[bytes, ...] = ()) -> None:
        self.packet = packet
        self.attachments = attachments
        self.frames = encode_frame(TEXT, packet)
        """The websocket frames, joined."""
        if attachments:
            self.frames += b"".join([encode_frame(_BINARY, data) for data in attachments])
        self._body: bytes | None = None

    @property
    def body(self) -> bytes:
        """The packets as they stand in an HTTP body; made for the first client that polls."""
        if self._body is None:
            binaries = [b"b" + binascii.b2a_base64(data, newline=False) for data in self.attachments]
            self._body = SEPARATOR.join([self.packet, *binaries])
        return self._body


PING: Final = Message(b"2")
CLOSE: Final = Message(b"1")
NOOP: Final = Message(b"6")


class Batch:
    """Messages that go to the same clients, in order; their frames are joined once, for one write each."""

    __slots__ = ("_frames", "messages")

    def __init__(self, messages: Sequence[Message]) -> None:
        self.messages = messages
        self._frames: bytes | None = messages[0].frames if len(messages) == 1 else None

    @property
    def frames(self) -> bytes:
        """The websocket frames of all messages."""
        if self._frames is None:
            self._frames = b"".join([message.frames for message in self.messages])
        return self._frames
