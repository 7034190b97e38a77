"""Socket.IO packets: what clients send, and what they get."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from bridge.model import RESERVED_EVENTS
from bridge.sockets.endings import ProtocolError
from bridge.sockets.socket_packets import (
    Connect,
    Disconnect,
    Event,
    PacketReader,
    encode_ack,
    encode_connect,
    encode_connect_error,
    encode_disconnect,
    encode_event,
)


def read(text: bytes, *attachments: bytes) -> object:
    """Read one packet with its attachments; events as plain values."""
    reader = PacketReader(max_attachments=10, max_bytes=1000)
    packet: object = reader.read_text(text)
    for attachment in attachments:
        assert packet is None
        packet = reader.read_binary(attachment)
    if isinstance(packet, Event):
        args = [msgspec.json.decode(arg) if isinstance(arg, Raw) else arg for arg in packet.args]
        return packet.namespace, packet.name, args, packet.ack_id
    return packet


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        (b"0", Connect("/", None)),
        (b'0{"a":1}', Connect("/", {"a": 1})),
        (b"0/a", Connect("/a", None)),
        ('0/ä,{"a":1}'.encode(), Connect("/ä", {"a": 1})),
        (b"1", Disconnect("/")),
        (b"1/a,", Disconnect("/a")),
        (b"1/a", Disconnect("/a")),
        (b'2["e"]', ("/", "e", [], None)),
        (b'2["e",null,{"b":[1]}]', ("/", "e", [None, {"b": [1]}], None)),
        (b'2/a,12["e",1]', ("/a", "e", [1], 12)),
        (b'20["e"]', ("/", "e", [], 0)),
    ],
)
def test_what_clients_send(text: bytes, packet: object) -> None:
    """Namespace, ack id and payload are told apart."""
    assert read(text) == packet


def test_attachments_take_their_places() -> None:
    """By number, not by the order of the arguments."""
    text = b'52-/a,7["e",{"_placeholder":true,"num":1},"x",{"_placeholder":true,"num":0}]'
    assert read(text, b"first", b"second") == ("/a", "e", [b"second", "x", b"first"], 7)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (b"", "bad_packet"),
        (b"abc", "bad_packet"),
        (b"7", "bad_packet"),
        (b"9", "bad_packet"),
        (b"1[]", "bad_packet"),
        (b"0[]", "bad_connect"),
        (b"0null", "bad_connect"),
        (b"0{", "bad_connect"),
        (b"01", "bad_packet"),
        (b"2", "bad_event"),
        (b"2{}", "bad_event"),
        (b"2[]", "bad_event"),
        (b"2[1]", "bad_event"),
        (b'2["e"', "bad_event"),
        (b'2["e"]]', "bad_event"),
        (b'2["e",nul]', "bad_event"),
        (b'2["e","\\ud800"]', "bad_event"),
        (b'2["\\ud800"]', "bad_event"),
        (b'2abc["e"]', "bad_event"),
        (b'2-1["e"]', "bad_event"),
        (b'2["e","\xff"]', "bad_utf8"),
        (b'21234567890123456["e"]', "bad_event"),
        (b'21-["e"]', "bad_packet"),
        (b'5["e"]', "bad_packet"),
        (b'5-["e"]', "bad_packet"),
        (b'599999999-["e"]', "bad_packet"),
        (b'511-["e"]', "too_many_attachments"),
        (b'51-["e"]', "bad_placeholder"),
        (b'51-["e",{"_placeholder":true,"num":1}]', "bad_placeholder"),
        (b'51-["e",{"_placeholder":true,"num":-1}]', "bad_placeholder"),
        (b'52-["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]', "bad_placeholder"),
        (b'51-["e",{"_placeholder":true,"num":"x"}]', "nested_attachment"),
        (b'51-["e",{"a":{"_placeholder":true,"num":0}}]', "nested_attachment"),
        (b'51-["e",[{"_placeholder":true,"num":0}]]', "nested_attachment"),
        (b"31[]", "bad_packet"),
        (b'4{"message":"x"}', "bad_packet"),
        (b"61-1[]", "bad_packet"),
        (b"2/" + b"a" * 600 + b',["e"]', "bad_event"),
        (b'2["e",' + b"[" * 100_000 + b"]" * 100_000 + b"]", "bad_event"),
        (b"0" + b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "bad_connect"),
    ],
)
def test_a_broken_packet_is_a_fault(text: bytes, word: str) -> None:
    """Never another exception, and never a reader that waits for ever."""
    with pytest.raises(ProtocolError) as fault:
        read(text)
    assert fault.value.word == word


@pytest.mark.parametrize("name", sorted(RESERVED_EVENTS))
def test_reserved_events_are_no_events(name: str) -> None:
    """A client that sends `connect` or `disconnect` as an event is not believed."""
    with pytest.raises(ProtocolError, match="reserved_event"):
        read(b'2["%b"]' % name.encode())


def test_attachments_are_bounded_and_expected() -> None:
    """Too many bytes, a text in between, and one that nobody announced are faults."""
    text = b'52-["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
    with pytest.raises(ProtocolError, match="attachments_too_large"):
        read(text, b"x" * 600, b"x" * 600)
    reader = PacketReader(max_attachments=10, max_bytes=1000)
    reader.read_text(text)
    with pytest.raises(ProtocolError, match="attachment_missing"):
        reader.read_text(b'2["e"]')
    with pytest.raises(ProtocolError, match="stray_attachment"):
        PacketReader(max_attachments=10, max_bytes=1000).read_binary(b"x")


@given(st.one_of(st.binary(max_size=100), st.from_regex(rb"[0-6]([0-9]{0,2}-)?(/a,)?[0-9]{0,2}(\[.*|\{.*)?")))
def test_nothing_raises_anything_else(text: bytes) -> None:
    """Whatever bytes arrive, they are a packet or a ProtocolError."""
    try:
        PacketReader(max_attachments=10, max_bytes=1000).read_text(text)
    except ProtocolError:
        return


def test_what_clients_get() -> None:
    """Every packet that the server sends, as text of the protocol's document."""
    assert encode_connect("/", "s", None, {}).packet == b'40{"sid":"s"}'
    known = encode_connect("/a", "s", "p", {"recovered": True, "offset": "7-0000000a"})
    assert known.packet == b'40/a,{"sid":"s","pid":"p","recovered":true,"offset":"7-0000000a"}'

    assert encode_connect_error("/a", "No", None).packet == b'44/a,{"message":"No"}'
    assert encode_connect_error("/", "No", {"code": "X"}).packet == b'44{"message":"No","data":{"code":"X"}}'
    assert encode_disconnect("/").packet == b"41"
    assert encode_disconnect("/a").packet == b"41/a,"
    assert encode_event("/", 'e"\n', [Raw(b'{"b":1}'), Raw(b"2")]).packet == b'42["e\\"\\n",{"b":1},2]'
    assert encode_ack("/a", 12, [Raw(b'"x"')]).packet == b'43/a,12["x"]'
    binary = encode_event("/a", "e", [b"\x01", Raw(b"1"), b"\x02"])
    assert binary.packet == b'452-/a,["e",{"_placeholder":true,"num":0},1,{"_placeholder":true,"num":1}]'
    assert binary.attachments == (b"\x01", b"\x02")
    assert encode_ack("/", 3, [b"\x01"]).packet == b'461-3[{"_placeholder":true,"num":0}]'
