"""Publishes events over one plain AMQP connection, many in one write, paced or as fast as they are taken."""

import re
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TypeVar
from urllib.parse import unquote, urlsplit

from pamqp import commands, constants, frame, header

BODY_BYTES: Final = 299

_SEQ_BASE: Final = 1_000_000_000
_AT_BASE: Final = 1_000_000_000_000_000
_CHUNK: Final = 100
"""Events of one write, when they are not paced."""
_CHANNEL: Final = 1
_AHEAD: Final = 65_535
"""Events that a consumer may be sent without an acknowledgement."""
_TIME: Final = re.compile(rb'"at":(\d+),')
_ID: Final = b"0" * 16
_REST: Final = (
    b',"project_name":"apollo","task_id":"task-0042","status":"running","progress":41.5,'
    b'"agents":["coder","reviewer","tester"],"message":"'
)
_TAIL: Final = b'","retries":1}'

_F = TypeVar("_F", bound=frame.FrameTypes)


def begin_body(seq: int, at: int) -> bytes:
    """What differs from body to body: the event's number in its room, and its time.

    In microseconds of CLOCK_MONOTONIC, which the load client's clock is too.
    """
    return b'{"seq":%d,"at":%d' % (_SEQ_BASE + seq, _AT_BASE + at)


REST_OF_BODY: Final = _REST + b"x" * (BODY_BYTES - len(begin_body(0, 0) + _REST + _TAIL)) + _TAIL


class Publisher:
    """Publishes events whose sequence numbers go on, room by room, for as long as it lives."""

    def __init__(self, url: str, rooms: int) -> None:
        """`rooms` are served in turn."""
        self._socket = _sign_in(url)
        self._rooms = rooms
        self._sent = 0
        self._keys = [_encode_publish(f"bench.r{room}.tick") for room in range(rooms)]
        self._before_id, self._after_id = _encode_header()
        self._rest = REST_OF_BODY + constants.FRAME_END_CHAR

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def send_paced(self, count: int, rate: float) -> None:
        """Publish so many events, each at its time."""
        begin = time.monotonic()
        for number in range(count):
            pause = begin + number / rate - time.monotonic()
            if pause > 0:
                time.sleep(pause)
            self._socket.sendall(self._encode(1))

    def send_ahead(self, seconds: float, window: int, taken: Callable[[], int]) -> int:
        """Publish as fast as possible, at most `window` events ahead of `taken()`; returns how many."""
        sent, chunk = 0, max(1, min(_CHUNK, window // 4))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if sent + chunk - taken() > window:
                time.sleep(0.0005)
                continue
            self._socket.sendall(self._encode(chunk))
            sent += chunk
        return sent

    def send_all(self, count: int) -> None:
        """Publish so many events as fast as the broker takes them."""
        for begin in range(0, count, _CHUNK):
            self._socket.sendall(self._encode(min(_CHUNK, count - begin)))

    def skip(self, count: int) -> None:
        """Leave sequence numbers out, as if events had been lost."""
        self._sent += count

    def settle(self) -> None:
        """Return when the broker has taken all that was sent."""
        ask = commands.Exchange.Declare(exchange="bench.events", passive=True)
        _send(self._socket, ask, _CHANNEL)
        _await(self._socket, commands.Exchange.DeclareOk)

    def _encode(self, count: int) -> bytes:
        parts: list[bytes] = []
        for number in range(self._sent, self._sent + count):
            seq, room = divmod(number, self._rooms)
            parts += (
                self._keys[room],
                self._before_id,
                b"%016d" % number,
                self._after_id,
                begin_body(seq, time.monotonic_ns() // 1000),
                self._rest,
            )
        self._sent += count
        return b"".join(parts)


def _encode_publish(key: str) -> bytes:
    return frame.marshal(commands.Basic.Publish(exchange="bench.events", routing_key=key), _CHANNEL)


def _encode_header() -> tuple[bytes, bytes]:
    """The frames between the method and the body, before and after the message id."""
    properties = commands.Basic.Properties(
        content_type="application/json",
        delivery_mode=2,
        message_id=_ID.decode(),
        timestamp=datetime.now(UTC),
        app_id="benchmark",
    )
    encoded = frame.marshal(header.ContentHeader(0, BODY_BYTES, properties), _CHANNEL)
    before, after = encoded.split(_ID)
    start_of_body = b"\x03" + _CHANNEL.to_bytes(2, "big") + BODY_BYTES.to_bytes(4, "big")
    return before, after + start_of_body


def count_messages(url: str, queue: str) -> int:
    """How many messages wait in a queue."""
    connection = _sign_in(url)
    try:
        _send(connection, commands.Queue.Declare(queue=queue, passive=True), _CHANNEL)
        return _await(connection, commands.Queue.DeclareOk).message_count or 0
    finally:
        connection.close()


def declare_exchanges(url: str, queue: str) -> None:
    """Declare both exchanges, and a transient queue that takes the commands of clients."""
    connection = _sign_in(url)
    try:
        for exchange in ("bench.events", "bench.commands"):
            declare = commands.Exchange.Declare(exchange=exchange, exchange_type="topic", durable=True)
            _send(connection, declare, _CHANNEL)
            _await(connection, commands.Exchange.DeclareOk)
        _send(connection, commands.Queue.Declare(queue=queue), _CHANNEL)
        _await(connection, commands.Queue.DeclareOk)
        bind = commands.Queue.Bind(queue=queue, exchange="bench.commands", routing_key="#")
        _send(connection, bind, _CHANNEL)
        _await(connection, commands.Queue.BindOk)
    finally:
        connection.close()


def consume(url: str, queue: str, kind: str) -> socket.socket:
    """Let the broker send all events of a new queue, or stream, from now on; nothing is acknowledged."""
    connection = _sign_in(url)
    declare = commands.Queue.Declare(queue=queue, durable=True, arguments={"x-queue-type": kind})
    _send(connection, declare, _CHANNEL)
    _await(connection, commands.Queue.DeclareOk)
    _send(connection, commands.Queue.Bind(queue=queue, exchange="bench.events", routing_key="#"), _CHANNEL)
    _await(connection, commands.Queue.BindOk)
    _send(connection, commands.Basic.Qos(prefetch_count=_AHEAD), _CHANNEL)
    _await(connection, commands.Basic.QosOk)
    _send(connection, commands.Basic.Consume(queue=queue), _CHANNEL)
    _await(connection, commands.Basic.ConsumeOk)
    return connection


def take_times(received: bytes) -> tuple[list[int], bytes]:
    """The times of all bodies in what was received, as `begin_body` took them; what is left behind them."""
    found = list(_TIME.finditer(received))
    return [int(one[1]) - _AT_BASE for one in found], received[found[-1].end() :] if found else received


def _sign_in(url: str) -> socket.socket:
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 5672), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(header.ProtocolHeader().marshal())
    _await(connection, commands.Connection.Start)
    secret = f"\0{unquote(parts.username or 'guest')}\0{unquote(parts.password or 'guest')}"
    _send(connection, commands.Connection.StartOk(mechanism="PLAIN", response=secret, locale="en_US"), 0)
    _await(connection, commands.Connection.Tune)
    # Without heartbeats: nobody reads while events are being published.
    _send(connection, commands.Connection.TuneOk(channel_max=8, frame_max=131_072, heartbeat=0), 0)
    _send(connection, commands.Connection.Open(virtual_host=unquote(parts.path[1:]) or "/"), 0)
    _await(connection, commands.Connection.OpenOk)
    _send(connection, commands.Channel.Open(), _CHANNEL)
    _await(connection, commands.Channel.OpenOk)
    return connection


def _send(connection: socket.socket, method: frame.FrameTypes, channel: int) -> None:
    connection.sendall(frame.marshal(method, channel))


def _await(connection: socket.socket, wanted: type[_F]) -> _F:
    """The next frame, which must be the one that is wanted: nothing is asked for in between."""
    received = b""
    while True:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("the broker hung up")
        received += piece
        size = int.from_bytes(received[3:7], "big") + 8
        if len(received) >= size:
            break
    _, _, found = frame.unmarshal(received)
    if not isinstance(found, wanted):
        raise ConnectionError(f"the broker answered {found!r}")
    return found
