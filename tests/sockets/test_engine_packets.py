"""Engine.IO packets: HTTP bodies of clients, and the handshake."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config.model import Http, Limits
from bridge.config.units import Duration
from bridge.sockets.endings import ProtocolError
from bridge.sockets.engine_packets import BINARY, MAX_PACKETS, MESSAGE, PONG, encode_open, parse_body


def test_a_body_holds_text_and_binary_packets() -> None:
    """Packets are split at 0x1e; binary ones are base64."""
    assert parse_body("4hé\x1e3\x1ebAQIDBA==".encode()) == [
        (MESSAGE, "hé".encode()),
        (PONG, b""),
        (BINARY, b"\x01\x02\x03\x04"),
    ]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "empty_packet"),
        (b"4a\x1e", "empty_packet"),
        (b"4\xff", "bad_utf8"),
        (b"b!!!", "bad_base64"),
        (b"bAQI", "bad_base64"),
        (b"\x1e".join([b"3"] * (MAX_PACKETS + 1)), "too_many_packets"),
    ],
)
def test_a_broken_body_is_a_fault(body: bytes, word: str) -> None:
    """Each fault has a word of its own, which is all that the log says."""
    with pytest.raises(ProtocolError) as fault:
        parse_body(body)
    assert fault.value.word == word


@given(st.binary(max_size=200))
def test_no_body_raises_anything_else(body: bytes) -> None:
    """Whatever bytes arrive, they are packets or a ProtocolError."""
    try:
        packets = parse_body(body)
    except ProtocolError:
        return
    assert packets


def test_the_handshake_says_milliseconds() -> None:
    """A fraction of a second is not cut off."""
    http = Http(ping_interval=Duration("300ms"), ping_timeout=Duration("1.5s"))
    packet = encode_open("s", http, Limits(), upgrades=["websocket"])
    assert packet[:1] == b"0"
    assert msgspec.json.decode(packet[1:]) == {
        "sid": "s",
        "upgrades": ["websocket"],
        "pingInterval": 300,
        "pingTimeout": 1500,
        "maxPayload": 1_000_000,
    }
