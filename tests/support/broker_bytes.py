"""What a broker would say, as bytes: handshake, deliveries, confirms; written with pamqp, the reference."""

from collections.abc import Iterable
from typing import Any

import pamqp.frame
from pamqp import commands
from pamqp.base import Frame
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from bridge.amqp.address import Login
from bridge.amqp.wire import Wire

LOGIN = Login(mechanism="PLAIN", response="\0guest\0guest", vhost="/")


def method(frame: Frame, channel: int = 0) -> bytes:
    """Any method."""
    return pamqp.frame.marshal(frame, channel)


def handshake(*, frame_max: int = 131_072, heartbeat: int = 60, mechanisms: str = "PLAIN AMQPLAIN") -> bytes:
    """All that a broker says until the connection is open."""
    return b"".join(
        (
            method(commands.Connection.Start(mechanisms=mechanisms)),
            method(commands.Connection.Tune(2047, frame_max, heartbeat)),
            method(commands.Connection.OpenOk()),
        )
    )


def content(
    channel: int, body: bytes, properties: commands.Basic.Properties, pieces: Iterable[int] = ()
) -> list[bytes]:
    """Header and body frames; `pieces` are sizes of body frames, the rest goes into the last one."""
    frames = [pamqp.frame.marshal(ContentHeader(0, len(body), properties), channel)]
    for size in pieces:
        if 0 < size < len(body):
            frames.append(pamqp.frame.marshal(ContentBody(body[:size]), channel))
            body = body[size:]
    if body:
        frames.append(pamqp.frame.marshal(ContentBody(body), channel))
    return frames


def delivery(
    channel: int,
    tag: int,
    body: bytes,
    key: str = "a.b",
    *,
    redelivered: bool = False,
    pieces: Iterable[int] = (),
    **properties: Any,
) -> list[bytes]:
    """The frames of basic.deliver."""
    head = method(commands.Basic.Deliver("tag", tag, redelivered, "portal.events", key), channel)
    return [head, *content(channel, body, commands.Basic.Properties(**properties), pieces)]


def returned(channel: int, body: bytes, key: str = "a.b", **properties: Any) -> list[bytes]:
    """The frames of basic.return."""
    head = method(commands.Basic.Return(312, "NO_ROUTE", "portal.events", key), channel)
    return [head, *content(channel, body, commands.Basic.Properties(**properties))]


def open_wire(channels: int = 0, *, login: Login = LOGIN) -> Wire:
    """A connection that is open, with this many open channels."""
    wire = Wire(login, "test", 10)
    wire.receive(handshake())
    for _ in range(channels):
        wire.receive(method(commands.Channel.OpenOk(), wire.open_channel()))
    wire.take_output()
    return wire
