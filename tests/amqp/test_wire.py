"""The states of a connection: handshake, channels, closing; whatever comes out of turn ends it cleanly."""

from contextlib import suppress

import pamqp.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands
from pamqp.base import Frame

from bridge.amqp.address import Login
from bridge.amqp.events import (
    Blocked,
    ChannelClosed,
    Closed,
    Confirmed,
    ConsumerCancelled,
    Deliveries,
    Method,
    Opened,
)
from bridge.amqp.frames import GREETING, WireError
from bridge.amqp.wire import Wire
from tests.support.broker_bytes import LOGIN, delivery, handshake, method, open_wire


def sent(wire: Wire) -> list[tuple[int, Frame]]:
    """The methods that the connection wants to send."""
    output, frames = wire.take_output(), []
    while output:
        size, channel, frame = pamqp.frame.unmarshal(output)
        frames.append((channel, frame))
        output = output[size:]
    return frames  # type: ignore[return-value]


def names(wire: Wire) -> list[str]:
    return [frame.name for _, frame in sent(wire)]


def test_handshake() -> None:
    """Greeting, login, tuning, virtual host; then the connection is open."""
    wire = Wire(LOGIN, "bridged one read", 10)
    assert wire.take_output() == GREETING
    assert wire.receive(method(commands.Connection.Start(mechanisms="AMQPLAIN PLAIN"))) == []
    [(_, start)] = sent(wire)
    assert isinstance(start, commands.Connection.StartOk)
    assert (start.mechanism, start.response) == ("PLAIN", "\0guest\0guest")
    assert start.client_properties["connection_name"] == "bridged one read"  # type: ignore[index]
    assert wire.receive(method(commands.Connection.Tune(100, 8192, 60))) == []
    (_, tune), (_, opening) = sent(wire)
    assert isinstance(tune, commands.Connection.TuneOk)
    assert (tune.channel_max, tune.frame_max, tune.heartbeat) == (100, 8192, 10)
    assert isinstance(opening, commands.Connection.Open)
    assert opening.virtual_host == "/"
    assert wire.receive(method(commands.Connection.OpenOk())) == [Opened(10)]
    assert wire.frame_max == 8192


def test_external_shows_no_password() -> None:
    """EXTERNAL sends an empty response: the certificate says who it is."""
    wire = Wire(Login(mechanism="EXTERNAL", response="", vhost="v"), "test", 10)
    wire.take_output()
    wire.receive(method(commands.Connection.Start(mechanisms="PLAIN EXTERNAL")))
    [(_, start)] = sent(wire)
    assert isinstance(start, commands.Connection.StartOk)
    assert (start.mechanism, start.response) == ("EXTERNAL", "")


def test_mechanism_that_is_not_offered() -> None:
    """The error names what the broker offers."""
    wire = Wire(Login(mechanism="EXTERNAL", response="", vhost="v"), "test", 10)
    with pytest.raises(WireError, match=r"no EXTERNAL, but \['PLAIN'\]"):
        wire.receive(method(commands.Connection.Start(mechanisms="PLAIN")))


@pytest.mark.parametrize(("theirs", "agreed"), [(0, 10), (60, 10), (5, 5)])
def test_the_shorter_heartbeat_is_agreed_upon(theirs: int, agreed: int) -> None:
    """A broker without heartbeats gets ours all the same."""
    assert Wire(LOGIN, "test", 10).receive(handshake(heartbeat=theirs)) == [Opened(agreed)]


@pytest.mark.parametrize(("theirs", "agreed"), [(0, 131_072), (1_000_000, 131_072), (4096, 4096)])
def test_the_smaller_frame_is_agreed_upon(theirs: int, agreed: int) -> None:
    """0 is any size."""
    wire = Wire(LOGIN, "test", 10)
    wire.receive(handshake(frame_max=theirs))
    assert wire.frame_max == agreed


def test_frames_below_the_minimum_are_refused() -> None:
    """Less than 4096 bytes is no AMQP (4.2.3)."""
    with pytest.raises(WireError, match="frame_max 1000"):
        Wire(LOGIN, "test", 10).receive(handshake(frame_max=1000))


def test_refused_login() -> None:
    """The broker says why before it closes."""
    wire = Wire(LOGIN, "test", 10)
    wire.receive(method(commands.Connection.Start()))
    wire.take_output()
    refusal = method(commands.Connection.Close(403, "ACCESS_REFUSED - no", 0, 0))
    assert wire.receive(refusal) == [Closed(403, "ACCESS_REFUSED - no")]
    assert names(wire) == ["Connection.CloseOk"]


def test_channel_from_opening_to_closing() -> None:
    """Its number is free again afterwards; what comes while it closes is dropped."""
    wire = open_wire()
    number = wire.open_channel()
    assert names(wire) == ["Channel.Open"]
    [event] = wire.receive(method(commands.Channel.OpenOk(), number))
    assert isinstance(event, Method)
    wire.close_channel(number)
    wire.close_channel(number)
    assert names(wire) == ["Channel.Close"]
    late = b"".join(delivery(number, 1, b"late")) + method(commands.Queue.BindOk(), number)
    closed = method(commands.Channel.CloseOk(), number)
    assert wire.receive(late + closed) == [ChannelClosed(number, 200, "closed")]
    with pytest.raises(WireError, match="not open"):
        wire.receive(b"".join(delivery(number, 1, b"too late")))


def test_channel_that_closes_in_the_middle_of_a_message() -> None:
    """The rest of the message still comes, and is dropped."""
    wire = open_wire(1)
    head, header, body = delivery(1, 1, b"x")
    wire.receive(head)
    wire.close_channel(1)
    assert wire.receive(header + body) == []
    assert wire.receive(method(commands.Channel.CloseOk(), 1)) == [ChannelClosed(1, 200, "closed")]


def test_both_close_a_channel_at_once() -> None:
    """Both ends answer; the channel is gone once."""
    wire = open_wire(1)
    wire.close_channel(1)
    theirs = method(commands.Channel.Close(404, "NOT_FOUND", 0, 0), 1)
    assert wire.receive(theirs) == []
    assert names(wire) == ["Channel.Close", "Channel.CloseOk"]
    assert wire.receive(method(commands.Channel.CloseOk(), 1)) == [ChannelClosed(1, 200, "closed")]


def test_broker_closes_a_channel_in_the_middle_of_a_message() -> None:
    """The half message is forgotten, the others go on."""
    wire = open_wire(2)
    head, *_ = delivery(1, 1, b"never")
    wire.receive(b"".join(delivery(2, 1, b"x")[:2]))
    with pytest.raises(WireError, match="middle of a message"):
        open_wire(1).receive(head + method(commands.Channel.Close(406, "PRECONDITION_FAILED", 0, 0), 1))
    closed = method(commands.Channel.Close(406, "PRECONDITION_FAILED", 0, 0), 1)
    [gone, batch] = wire.receive(closed + delivery(2, 1, b"x")[2])
    assert gone == ChannelClosed(1, 406, "PRECONDITION_FAILED")
    assert isinstance(batch, Deliveries)
    assert batch.contents[0].body == b"x"
    assert names(wire) == ["Channel.CloseOk"]


def test_what_a_channel_says() -> None:
    """Confirms, the end of its consumer, flow."""
    wire = open_wire(1)
    assert wire.receive(method(commands.Basic.Ack(5, True), 1)) == [Confirmed(1, 5, True, True)]
    assert wire.receive(method(commands.Basic.Nack(6), 1)) == [Confirmed(1, 6, False, False)]
    assert wire.receive(method(commands.Basic.Cancel("tag", True), 1)) == [ConsumerCancelled(1)]
    assert names(wire) == []
    wire.receive(method(commands.Basic.Cancel("tag", False), 1) + method(commands.Channel.Flow(False), 1))
    assert names(wire) == ["Basic.CancelOk", "Channel.FlowOk"]


def test_alarm() -> None:
    """connection.blocked and connection.unblocked."""
    wire = open_wire()
    alarm = method(commands.Connection.Blocked("low on memory")) + method(commands.Connection.Unblocked())
    assert wire.receive(alarm) == [Blocked(True, "low on memory"), Blocked(False)]


def test_goodbye() -> None:
    """Nothing that comes behind the broker's agreement counts."""
    wire = open_wire(1)
    wire.close()
    assert names(wire) == ["Connection.Close"]
    last = b"".join(delivery(1, 1, b"x")) + method(commands.Connection.CloseOk())
    [_, closed] = wire.receive(last + method(commands.Connection.CloseOk()))
    assert closed == Closed(200, "closed")


def test_channels_are_numbered_within_what_was_agreed_upon() -> None:
    """More than that are refused here, not by the broker."""
    wire = Wire(LOGIN, "test", 10)
    wire.receive(
        method(commands.Connection.Start())
        + method(commands.Connection.Tune(2, 4096, 10))
        + method(commands.Connection.OpenOk())
    )
    assert {wire.open_channel(), wire.open_channel()} == {1, 2}
    with pytest.raises(ValueError, match="no channel"):
        wire.open_channel()


@pytest.mark.parametrize(
    "stray",
    [
        method(commands.Connection.Tune()),
        method(commands.Connection.CloseOk()),
        method(commands.Channel.OpenOk(), 5),
        method(commands.Channel.CloseOk(), 1),
        method(commands.Basic.Ack(1), 3),
    ],
)
def test_out_of_turn(stray: bytes) -> None:
    """What nobody asked for breaks the protocol."""
    with pytest.raises(WireError):
        open_wire(1).receive(stray)


@given(
    st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=4)), min_size=1, max_size=4),
    st.integers(1, 400),
)
def test_mutated_conversations_end_cleanly(changes: list[tuple[int, bytes]], size: int) -> None:
    """A whole conversation with bytes changed: events, or WireError; never another exception."""
    stream = handshake() + method(commands.Connection.Blocked("memory"))
    stream += method(commands.Connection.Unblocked()) + method(commands.Connection.Close(320, "bye", 0, 0))
    for place, change in changes:
        at = place % (len(stream) + 1)
        stream = stream[:at] + change + stream[at + 1 :]
    wire = Wire(LOGIN, "test", 10)
    with suppress(WireError):
        for start in range(0, len(stream), size):
            wire.receive(stream[start : start + size])
            wire.take_output()
