"""A service that publishes what no decent client library lets through: odd properties, odd keys."""

import socket
import struct
from urllib.parse import unquote, urlsplit

import pamqp.frame
from pamqp import commands
from pamqp.base import Frame
from pamqp.header import ProtocolHeader

_TIMESTAMP = 1 << 6
_MESSAGE_ID = 1 << 7
_HEADERS = 1 << 13


def publish_raw(
    url: str,
    exchange: str,
    key: bytes,
    body: bytes,
    *,
    headers: bytes | None = None,
    message_id: bytes | None = None,
    timestamp: int | None = None,
) -> None:
    """Publish one message whose parts are taken as they are; returns once the broker has confirmed it.

    `headers` are the bytes of a field table without its length.
    """
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 5672), timeout=10) as connection:
        stream = connection.makefile("rb")

        def call(request: Frame, channel: int) -> None:
            connection.sendall(pamqp.frame.marshal(request, channel))
            receive()

        def receive() -> None:
            head = stream.read(7)
            stream.read(struct.unpack(">I", head[3:])[0] + 1)

        connection.sendall(pamqp.frame.marshal(ProtocolHeader(), 0))
        receive()
        call(commands.Connection.StartOk({}, "PLAIN", "\0guest\0guest", "en_US"), 0)
        connection.sendall(pamqp.frame.marshal(commands.Connection.TuneOk(1, 131072, 0), 0))
        call(commands.Connection.Open(unquote(parts.path[1:]) or "/"), 0)
        call(commands.Channel.Open(), 1)
        call(commands.Confirm.Select(), 1)
        flags, properties = 0, b""
        if headers is not None:
            flags, properties = flags | _HEADERS, properties + struct.pack(">I", len(headers)) + headers
        if message_id is not None:
            flags, properties = flags | _MESSAGE_ID, properties + bytes([len(message_id)]) + message_id
        if timestamp is not None:
            flags, properties = flags | _TIMESTAMP, properties + struct.pack(">Q", timestamp)
        method = struct.pack(">HHH", 60, 40, 0) + _short(exchange.encode()) + _short(key) + b"\0"
        header = struct.pack(">HHQH", 60, 0, len(body), flags) + properties
        connection.sendall(_frame(1, method) + _frame(2, header) + _frame(3, body))
        receive()


def _short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def _frame(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, 1, len(payload)) + payload + b"\xce"
