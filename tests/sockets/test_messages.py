"""Messages: websocket frames and HTTP bodies of the same packet."""

import pytest

from bridge.sockets.messages import Batch, Message, encode_close, encode_frame


@pytest.mark.parametrize(
    ("length", "header"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65535, b"\x81\x7e\xff\xff"),
        (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_the_length_of_a_frame(length: int, header: bytes) -> None:
    """RFC 6455, section 5.2: 7, 16 or 64 bits, the shortest that fits; unmasked, in one fragment."""
    assert encode_frame(0x81, b"x" * length) == header + b"x" * length


def test_a_close_frame_has_its_code() -> None:
    """The code is two bytes in network order."""
    assert encode_close(1001) == b"\x88\x02\x03\xe9"


def test_attachments_follow_their_packet() -> None:
    """As binary frames on a websocket, as base64 in an HTTP body, right behind it."""
    message = Message(b"451-[]", (b"\x00\xff",))
    assert message.frames == b"\x81\x06451-[]" + b"\x82\x02\x00\xff"
    assert message.body == b"451-[]\x1ebAP8="


def test_a_batch_joins_its_frames() -> None:
    """In the order of its messages."""
    assert Batch([Message(b"4a"), Message(b"4b")]).frames == b"\x81\x024a\x81\x024b"
