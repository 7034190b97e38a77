"""Frames of clients: the same messages however they arrive, and nothing that RFC 6455 forbids."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.sockets.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT, FrameError, FrameReader
from bridge.sockets.messages import encode_frame

_MASK = bytes((0x37, 0xFA, 0x21, 0x3D))


def frame(kind: int, payload: bytes, *, final: bool = True) -> bytes:
    """A frame as a client sends it."""
    plain = encode_frame(kind | (0x80 if final else 0), payload)
    head = len(plain) - len(payload)
    masked = bytes(byte ^ _MASK[at % 4] for at, byte in enumerate(payload))
    return bytes((plain[0], plain[1] | 0x80)) + plain[2:head] + _MASK + masked


def take_all(reader: FrameReader, max_bytes: int) -> list[tuple[int, bytes]]:
    """All messages that have wholly arrived, without the fragments before their last."""
    taken = []
    while (message := reader.take(max_bytes)) is not None:
        if message[0] != CONTINUATION:
            taken.append(message)
    return taken


def read(*frames: bytes, max_bytes: int = 1_000_000) -> list[tuple[int, bytes]]:
    """The messages of frames that arrive together."""
    reader = FrameReader()
    reader.feed(b"".join(frames))
    return take_all(reader, max_bytes)


def test_the_example_of_the_standard() -> None:
    """Section 5.7: a masked "Hello"."""
    assert read(b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58") == [(TEXT, b"Hello")]


_messages = st.lists(
    st.tuples(st.sampled_from([TEXT, BINARY, PING]), st.binary(max_size=125), st.integers(1, 4)), max_size=6
)


@given(messages=_messages, cuts=st.lists(st.integers(0, 2000)))
def test_any_split_gives_the_same_messages(messages: list[tuple[int, bytes, int]], cuts: list[int]) -> None:
    """Over frames, and over what arrives at once."""
    data = b""
    for kind, payload, fragments in messages:
        if kind == PING:
            data += frame(kind, payload)
            continue
        size = max(1, -(-len(payload) // fragments))
        parts = [payload[at : at + size] for at in range(0, len(payload), size)] or [b""]
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            data += frame(CONTINUATION if number else kind, part, final=last)
    reader, taken = FrameReader(), []
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for begin, end in itertools.pairwise(edges):
        reader.feed(data[begin:end])
        taken += take_all(reader, 1000)
    assert taken == [(kind, payload) for kind, payload, _ in messages]


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 200_000])
def test_every_form_of_a_length(size: int) -> None:
    """7 bits, 16 bits, 64 bits."""
    assert read(frame(BINARY, b"x" * size), frame(CLOSE, b"")) == [(BINARY, b"x" * size), (CLOSE, b"")]


def test_a_control_frame_may_come_between_fragments() -> None:
    """Section 5.4; the message goes on behind it."""
    parts = frame(TEXT, b"a", final=False), frame(PING, b"!"), frame(CONTINUATION, b"b")
    assert read(*parts) == [(PING, b"!"), (TEXT, b"ab")]


@pytest.mark.parametrize(
    "data",
    [
        encode_frame(0x81, b"not masked"),
        bytes((0xC1, 0x80)) + _MASK,  # compressed
        bytes((0x83, 0x80)) + _MASK,  # a kind that does not exist
        frame(CONTINUATION, b"of nothing"),
        frame(TEXT, b"a", final=False) + frame(TEXT, b"b"),
        frame(PING, b"", final=False),
        frame(PING, b"x" * 126),
    ],
    ids=["unmasked", "compressed", "unknown", "stray", "interleaved", "split ping", "long ping"],
)
def test_a_broken_frame_is_a_fault(data: bytes) -> None:
    """1002 says so to the client."""
    with pytest.raises(FrameError) as fault:
        read(data)
    assert fault.value.close_code == 1002


def test_a_large_message_is_a_fault_before_it_has_arrived() -> None:
    """One of the largest size passes; one byte more does not, in one frame or in many."""
    assert read(frame(TEXT, b"x" * 100), max_bytes=100) == [(TEXT, b"x" * 100)]
    for data in (
        frame(TEXT, b"x" * 101)[:8],
        frame(TEXT, b"x" * 60, final=False) + frame(CONTINUATION, b"x" * 41),
        bytes((0x82, 0xFF)) + b"\xff" * 8,
    ):
        with pytest.raises(FrameError) as fault:
            read(data, max_bytes=100)
        assert fault.value.close_code == 1009


@given(st.binary(max_size=300))
def test_no_bytes_do_worse_than_a_fault(data: bytes) -> None:
    """Whatever arrives."""
    try:
        read(data, max_bytes=100)
    except FrameError:
        return
