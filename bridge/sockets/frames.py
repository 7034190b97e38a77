"""Websocket frames of clients to messages (RFC 6455), without any I/O."""

from typing import Final

from bridge.sockets.endings import ProtocolError

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10

_KNOWN: Final = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
_FINAL: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_LONGEST_CONTROL: Final = 125


class FrameError(ProtocolError):
    """A frame that breaks the protocol; `close_code` is what the client is told (section 7.4.1)."""

    def __init__(self, close_code: int) -> None:
        super().__init__("bad_frame")
        self.close_code = close_code


class FrameReader:
    """Cuts what has arrived into messages; holds at most one that is incomplete, and what was fed last."""

    __slots__ = ("_at", "_kind", "_message", "_waiting")

    def __init__(self) -> None:
        self._waiting: bytes | bytearray = b""
        self._at = 0
        """Where in `_waiting` the next frame begins."""
        self._kind = CONTINUATION
        """Of the message that is incomplete; CONTINUATION when none is."""
        self._message: bytearray | None = None

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        if not self._waiting:
            self._waiting = data
            return
        if isinstance(self._waiting, bytes):
            self._waiting = bytearray(self._waiting)  # grows in place, however small the pieces are
        self._waiting += data

    def take(self, max_bytes: int) -> tuple[int, bytes] | None:
        """Kind and payload of the next message, None until more has arrived; raises FrameError.

        `max_bytes` bounds a message, in one frame or in many. A fragment that does not complete its message
        is CONTINUATION, without payload: it costs a turn too.
        """
        frame = self._take_frame(max_bytes)
        if frame is None:
            return None
        first, payload = frame
        kind = first & 15
        if kind >= CLOSE:
            return kind, payload
        if (kind == CONTINUATION) != (self._message is not None):
            raise FrameError(1002)
        if self._message is None:
            if first & _FINAL:
                return kind, payload
            self._kind, self._message = kind, bytearray(payload)
            return CONTINUATION, b""
        self._message += payload
        if not first & _FINAL:
            return CONTINUATION, b""
        whole, self._message = bytes(self._message), None
        return self._kind, whole

    def _take_frame(self, max_bytes: int) -> tuple[int, bytes] | None:
        """First byte and payload of the next frame; None until it has wholly arrived."""
        waiting, at = self._waiting, self._at
        left = len(waiting) - at
        if left < 2:
            self._keep_rest()
            return None
        first, length = waiting[at], waiting[at + 1] & ~_MASKED
        if first & _RESERVED or first & 15 not in _KNOWN or not waiting[at + 1] & _MASKED:
            raise FrameError(1002)
        if first & 15 >= CLOSE and (length > _LONGEST_CONTROL or not first & _FINAL):
            raise FrameError(1002)
        begin = at + 2
        if length > _LONGEST_CONTROL:
            begin += 2 if length == 126 else 8
            if left < begin - at:
                self._keep_rest()
                return None
            length = int.from_bytes(waiting[at + 2 : begin], "big")
        if length + len(self._message or b"") > max_bytes and first & 15 < CLOSE:
            raise FrameError(1009)
        if left < begin - at + 4 + length:
            self._keep_rest()
            return None
        self._at = begin + 4 + length
        return first, _unmask(waiting[begin : begin + 4], waiting[begin + 4 : self._at])

    def _keep_rest(self) -> None:
        """Let go of what has been taken; more must arrive."""
        if self._at:
            self._waiting = bytes(self._waiting[self._at :])
            self._at = 0


def _unmask(mask: bytes | bytearray, data: bytes | bytearray) -> bytes:
    """The payload, of which the client has changed every byte by one of the mask's four (section 5.3)."""
    length = len(data)
    key = mask * (length + 3 >> 2)
    number = int.from_bytes(data, "little") ^ int.from_bytes(key[:length], "little")
    return number.to_bytes(length, "little")
