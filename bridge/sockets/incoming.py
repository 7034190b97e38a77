"""What comes in on a connection: Engine.IO packets, given to whoever takes its messages."""

import asyncio
from typing import TYPE_CHECKING, Protocol

import structlog

from bridge.sockets.endings import CloseReason, ProtocolError
from bridge.sockets.engine_packets import BINARY, CLOSE, MESSAGE, NOOP, PONG, parse_body

if TYPE_CHECKING:
    from bridge.sockets.connection import Connection

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Receiver(Protocol):
    """Who takes the messages of a connection."""

    def received_text(self, data: bytes) -> None:
        """A text message; raises ProtocolError."""

    def received_binary(self, data: bytes) -> None:
        """A binary message; raises ProtocolError."""

    def closed(self, reason: CloseReason) -> None:
        """The connection is over; called once."""


async def receive_body(connection: "Connection", body: bytes) -> bool:
    """Take the body of a POST, packet by packet; False when it broke the protocol."""
    try:
        packets = parse_body(body)
    except ProtocolError as error:
        connection.fail(error.word)
        return False
    for kind, data in packets:
        if not _receive(connection, kind, data):
            return False
        if connection.turns.take():
            await asyncio.sleep(connection.turns.pause())
    return True


def receive_text(connection: "Connection", data: bytes) -> None:
    """Take a text message of the websocket."""
    if not data or data[0] == BINARY:
        connection.fail("empty_packet" if not data else "unexpected_packet")
    else:
        _receive(connection, data[0], data[1:])


def receive_binary(connection: "Connection", data: bytes) -> None:
    """Take a binary message of the websocket."""
    _receive(connection, BINARY, data)


def _receive(connection: "Connection", kind: int, data: bytes) -> bool:
    if connection.closed:
        return True
    try:
        if kind == MESSAGE:
            connection.receiver.received_text(data)
        elif kind == BINARY:
            connection.receiver.received_binary(data)
        elif kind == PONG:
            connection.take_pong()
        elif kind == CLOSE:
            connection.close(CloseReason.TRANSPORT_CLOSE, last=None)
        elif kind != NOOP:
            raise ProtocolError("unexpected_packet")
    except ProtocolError as error:
        connection.fail(error.word)
        return False
    except Exception:
        _log.exception("connection.failed", address=connection.handshake.remote)
        connection.close(CloseReason.INTERNAL_ERROR)
        return False
    return True
