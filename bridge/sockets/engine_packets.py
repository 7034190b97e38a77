"""Engine.IO 4 packets: text to value and back, without any I/O.

A packet is its type, one ASCII digit, followed by data. On a websocket it is a text message, and a
binary message is data alone. In an HTTP body packets are joined by 0x1e, and binary is `b` and base64.
"""

import binascii
from typing import Final

import msgspec

from bridge.config.model import Http, Limits
from bridge.sockets.endings import ProtocolError

CLOSE: Final = ord("1")
PONG: Final = ord("3")
MESSAGE: Final = ord("4")
NOOP: Final = ord("6")
BINARY: Final = ord("b")
"""Only in HTTP bodies."""

PROBE: Final = b"2probe"
PROBE_ANSWER: Final = b"3probe"
UPGRADE: Final = b"5"

SEPARATOR: Final = b"\x1e"
MAX_PACKETS: Final = 1000
"""Packets of one HTTP body: the official client flushes its whole buffer into one, so 16 would cut it off."""


def encode_open(sid: str, http: Http, limits: Limits, *, upgrades: list[str]) -> bytes:
    """The first packet of a connection; times are milliseconds."""
    handshake = {
        "sid": sid,
        "upgrades": upgrades,
        "pingInterval": round(http.ping_interval * 1000),
        "pingTimeout": round(http.ping_timeout * 1000),
        "maxPayload": int(limits.payload),
    }
    return b"0" + msgspec.json.encode(handshake)


def parse_body(body: bytes) -> list[tuple[int, bytes]]:
    """The packets of a client's HTTP body, as type and data; raises ProtocolError."""
    check_text(body)
    packets = body.split(SEPARATOR, MAX_PACKETS)
    if len(packets) > MAX_PACKETS:
        raise ProtocolError("too_many_packets")
    return [parse_packet(packet) for packet in packets]


def parse_packet(packet: bytes) -> tuple[int, bytes]:
    """Type and data of one packet of an HTTP body; raises ProtocolError."""
    if not packet:
        raise ProtocolError("empty_packet")
    if packet[0] != BINARY:
        return packet[0], packet[1:]
    try:
        return BINARY, binascii.a2b_base64(packet[1:], strict_mode=True)
    except binascii.Error:
        raise ProtocolError("bad_base64") from None


def check_text(data: bytes) -> None:
    """Make sure that text is UTF-8, which no parser behind this looks at again; raises ProtocolError."""
    if data.isascii():
        return
    try:
        data.decode()
    except UnicodeDecodeError:
        raise ProtocolError("bad_utf8") from None
