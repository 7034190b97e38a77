"""Frames are read the same however the bytes are cut, as pamqp reads them, and broken ones end cleanly."""

import struct
from contextlib import suppress
from itertools import pairwise

import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands
from pamqp.header import ContentHeader

from bridge.amqp.events import Confirmed, Content, Deliveries, Method, Returned
from bridge.amqp.frames import WireError, encode_heartbeat
from bridge.amqp.parser import Item, Parser
from tests.support.broker_bytes import delivery, method, returned

_KEYS = st.sampled_from(["a", "project.apollo.state_change", "ü.ß", "x" * 255])
_BODIES = st.one_of(st.binary(max_size=40), st.binary(min_size=290, max_size=310))
_PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "content_type": st.just("application/json"),
        "message_id": st.text("abc", min_size=1, max_size=9),
        "headers": st.just({"x-stream-offset": 7}),
    },
)


@st.composite
def frames_of_one_channel(draw: st.DrawFn, channel: int) -> list[bytes]:
    """Deliveries, returns, confirms and other methods, one after the other."""
    frames: list[bytes] = []
    for tag in range(1, draw(st.integers(0, 8)) + 1):
        kind = draw(st.sampled_from(["deliver", "deliver", "deliver", "return", "ack", "nack", "other"]))
        if kind == "deliver":
            pieces = draw(st.lists(st.integers(1, 100), max_size=3))
            body, key, properties = draw(_BODIES), draw(_KEYS), draw(_PROPERTIES)
            again = draw(st.booleans())
            frames += delivery(channel, tag, body, key, redelivered=again, pieces=pieces, **properties)
        elif kind == "return":
            frames += returned(channel, draw(_BODIES), draw(_KEYS), **draw(_PROPERTIES))
        elif kind == "ack":
            frames.append(method(commands.Basic.Ack(tag, draw(st.booleans())), channel))
        elif kind == "nack":
            frames.append(method(commands.Basic.Nack(tag, draw(st.booleans()), True), channel))
        else:
            frames.append(method(commands.Queue.BindOk(), channel))
    return frames


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """A valid stream: three channels and heartbeats, their frames mixed, the order of each kept."""
    sources = [draw(frames_of_one_channel(channel)) for channel in (1, 2, 7)]
    sources.append([encode_heartbeat()] * draw(st.integers(0, 2)))
    mixed: list[bytes] = []
    while sources := [source for source in sources if source]:
        mixed.append(draw(st.sampled_from(sources)).pop(0))
    return b"".join(mixed)


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """The stream in chunks."""
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[start:end] for start, end in pairwise(edges)]


def flatten(items: list[Item]) -> list[object]:
    """Items without how deliveries were grouped."""
    flat: list[object] = []
    for item in items:
        if isinstance(item, Deliveries):
            flat += [(item.channel, content) for content in item.contents]
        elif isinstance(item, Method):
            flat.append((item.channel, item.method.name))
        else:
            flat.append(item)
    return flat


def read(chunks: list[bytes], frame_max: int = 131_072) -> list[object]:
    parser = Parser(frame_max)
    items: list[Item] = []
    for chunk in chunks:
        items += parser.receive(chunk)
    return flatten(items)


def read_with_pamqp(stream: bytes) -> list[object]:
    """What pamqp reads, a frame at a time, put together naively."""
    flat: list[object] = []
    open_: dict[int, list[object]] = {}
    while stream:
        size, channel, frame = pamqp.frame.unmarshal(stream)
        match frame:
            case commands.Basic.Deliver() | commands.Basic.Return():
                open_[channel] = [frame, b"", 0, b""]
            case ContentHeader():
                open_[channel][1] = stream[19 : size - 1]
                open_[channel][2] = frame.body_size
            case pamqp.body.ContentBody():
                open_[channel][3] += frame.value  # type: ignore[operator]
            case commands.Basic.Ack():
                flat.append(Confirmed(channel, frame.delivery_tag, frame.multiple, True))
            case commands.Basic.Nack():
                flat.append(Confirmed(channel, frame.delivery_tag, frame.multiple, False))
            case pamqp.base.Frame():
                flat.append((channel, frame.name))
        message = open_.get(channel)
        if message and message[1] and len(message[3]) == message[2]:  # type: ignore[arg-type]
            head = open_.pop(channel)[0]
            tag = getattr(head, "delivery_tag", 0)
            again = getattr(head, "redelivered", False)
            whole = Content(tag, head.exchange, head.routing_key, message[1], message[3], again)  # type: ignore
            returned_ = isinstance(head, commands.Basic.Return)
            flat.append(Returned(channel, whole) if returned_ else (channel, whole))
        stream = stream[size:]
    return flat


@given(streams(), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_cut_gives_what_pamqp_reads(stream: bytes, places: list[int]) -> None:
    """However a valid stream is cut into chunks, the same messages, confirms and methods come out."""
    assert read(cut(stream, places)) == read_with_pamqp(stream)


@given(streams())
def test_byte_by_byte(stream: bytes) -> None:
    """The smallest chunks that there are."""
    assert read([bytes((byte,)) for byte in stream]) == read([stream])


@given(
    streams(),
    st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=0, max_size=4)), min_size=1, max_size=4),
    st.lists(st.integers(0, 10_000), max_size=4),
)
def test_mutated_streams_end_cleanly(
    stream: bytes, changes: list[tuple[int, bytes]], places: list[int]
) -> None:
    """Bytes changed, left out or put in: messages, or WireError; no other exception."""
    for place, replacement in changes:
        at = place % (len(stream) + 1)
        stream = stream[:at] + replacement + stream[at + 1 :]
    with suppress(WireError):
        read(cut(stream, places))


@given(st.binary(max_size=200))
def test_noise_ends_cleanly(noise: bytes) -> None:
    """Bytes that are no AMQP at all."""
    with suppress(WireError):
        read([noise])


def test_same_kind_of_deliveries_come_together() -> None:
    """All whole messages of one chunk are one batch."""
    stream = b"".join(b"".join(delivery(1, tag, b"%d" % tag)) for tag in range(1, 101))
    [batch] = Parser(131_072).receive(stream)
    assert isinstance(batch, Deliveries)
    assert [content.tag for content in batch.contents] == list(range(1, 101))


def _frame(kind: int, channel: int, payload: bytes, end: bytes = b"\xce") -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + end


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (_frame(8, 0, b"", end=b"\xcd"), "without its end"),
        (_frame(8, 1, b""), "odd heartbeat"),
        (_frame(4, 1, b"abc"), "unknown kind"),
        (_frame(1, 1, b"\0\x3c"), "without a name"),
        (struct.pack(">BHIB", 3, 1, 131_065, 0), "longer than agreed"),
        (_frame(3, 1, b"abc"), "out of turn"),
        (delivery(1, 1, b"x")[1], "out of turn"),
        (delivery(1, 1, b"x")[0] * 2, "middle of a message"),
        (
            delivery(1, 1, b"abcd")[0] + delivery(1, 1, b"a")[1] + _frame(3, 1, b"abcd"),
            "longer than announced",
        ),
        (delivery(1, 1, b"x")[0] + _frame(2, 1, struct.pack(">HHQH", 60, 0, 2**40, 0)), "body of"),
        (delivery(1, 1, b"x")[0] + _frame(2, 1, struct.pack(">HHQH", 10, 0, 1, 0)), "class 10"),
        (delivery(0, 1, b"x")[0], "channel 0"),
        (_frame(1, 1, struct.pack(">HHB", 60, 60, 200) + b"x" * 30), "over the end"),
    ],
)
def test_what_breaks_the_rules_is_named(stream: bytes, reason: str) -> None:
    """Each fault of the framing ends the connection with its reason."""
    with pytest.raises(WireError, match=reason):
        Parser(131_072).receive(stream)


def test_a_long_frame_that_trickles_in_is_read_in_linear_time() -> None:
    """A frame of 128 kB, a byte at a time, is put together once, not at every byte."""
    body = b"x" * 131_000
    stream = b"".join(delivery(1, 1, body))
    [(_, content)] = read([stream[at : at + 1] for at in range(len(stream))])  # type: ignore[misc]
    assert content.body == body  # type: ignore[has-type]


def test_keys_are_kept_within_a_bound() -> None:
    """Twenty thousand different keys do not stay in memory."""
    parser = Parser(131_072)
    for tag in range(20_000):
        parser.receive(b"".join(delivery(1, tag, b"", f"key.{tag}")))
    assert len(parser._addresses) <= 16_384
