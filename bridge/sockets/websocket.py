"""The websocket transport: a connection that begins on one, and the change of one that polls."""

import asyncio
from enum import Enum, auto
from typing import Final

from aiohttp import web

from bridge.intake import Heir, take_over
from bridge.sockets.connection import FREELY, Connection
from bridge.sockets.endings import CloseReason
from bridge.sockets.engine import Engine
from bridge.sockets.engine_packets import PROBE, PROBE_ANSWER, UPGRADE
from bridge.sockets.frames import CLOSE, CONTINUATION, PING, PONG, TEXT, FrameError, FrameReader
from bridge.sockets.incoming import receive_binary, receive_text
from bridge.sockets.messages import Message, encode_close, encode_pong

_NORMAL: Final = 1000
"""Close code of a websocket that has served its purpose (RFC 6455, section 7.4.1)."""
_PROBE_SECONDS: Final = 10.0
"""How long a client may take over each step of its change to a websocket."""
_BROKEN_SECONDS: Final = 1.0
"""How long a client that sent a broken frame may take to read why, while what it sends is thrown away."""


class _Step(Enum):
    """How far a websocket has come."""

    PROBED = auto()
    """Its connection polls; `2probe` must come next ..."""
    UPGRADING = auto()
    """... and then `5`."""
    OPEN = auto()
    """It is its connection's transport."""
    OVER = auto()
    """Nothing that comes in means anything any more, or ever did."""


def serve_new(engine: Engine, connection: Connection, request: web.Request, accept: bytes) -> None:
    """Serve a connection that begins on a websocket; returns at once."""
    websocket = Websocket(engine, connection)
    taken = take_over(request, websocket)
    if taken is None:
        connection.close(CloseReason.TRANSPORT_CLOSE)
        return
    transport, early = taken
    transport.write(accept)
    websocket.open(transport)
    connection.send(Message(engine.encode_open(connection, upgrades=[])))
    websocket.data_received(early)


def serve_upgrade(engine: Engine, connection: Connection, request: web.Request, accept: bytes) -> None:
    """Change a polling connection to a websocket; returns at once.

    If the client gives the websocket up before it has changed, polling goes on. A websocket for a connection
    that has changed already, or is about to, is closed without a word.
    """
    websocket = Websocket(engine, connection)
    taken = take_over(request, websocket)
    if taken is None:
        return
    transport, early = taken
    transport.write(accept)
    websocket.probe(transport)
    websocket.data_received(early)


class Websocket(Heir):
    """Reads the frames of one client, and hands its messages to the connection."""

    __slots__ = (
        "_connection",
        "_engine",
        "_reader",
        "_resting",
        "_serves",
        "_step",
        "_timer",
        "_transport",
        "_waits",
    )

    def __init__(self, engine: Engine, connection: Connection) -> None:
        self._engine = engine
        self._connection = connection
        self._reader = FrameReader()
        self._step = _Step.OVER
        self._transport: asyncio.Transport | None = None
        self._serves = False
        """It became its connection's transport; a second websocket for the same connection never does."""
        self._resting = False
        """Others have their turn; what has come in waits."""
        self._waits = False
        """It waits for its own turn in the workload of all."""
        self._timer: asyncio.TimerHandle | None = None
        """Of a step of the change, or of the end after a broken frame."""

    def open(self, transport: asyncio.Transport) -> None:
        """Be the connection's transport from now on."""
        self._transport = transport
        transport.set_write_buffer_limits(high=FREELY)
        self._step = _Step.OPEN
        self._serves = True
        self._connection.attach(transport)

    def probe(self, transport: asyncio.Transport) -> None:
        """Begin the change of a connection that polls."""
        self._transport = transport
        if not self._connection.begin_probe(transport):
            transport.write(encode_close(_NORMAL))
            transport.close()
            return
        self._step = _Step.PROBED
        self._limit_step()

    # What asyncio tells

    def data_received(self, data: bytes) -> None:
        """Take what has come in."""
        if self._step is not _Step.OVER:
            self._reader.feed(data)
            if not self._resting and not self._waits:
                self._waits = True
                if not self._engine.workload.do(self._take_turn) and self._transport is not None:
                    self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Most of what was too much for the network has left."""
        self._connection.drain()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone; what it sent before is read before anybody learns of it."""
        super().connection_lost(exc)
        self._transport = None
        self._stop_timer()
        self._engine.workload.do(self._leave)

    def _leave(self) -> None:
        step, self._step = self._step, _Step.OVER
        if step in (_Step.PROBED, _Step.UPGRADING):
            self._connection.end_probe()
        elif self._serves:
            self._connection.close(CloseReason.TRANSPORT_CLOSE)
            self._engine.ended(self._connection)

    # What comes in

    def _take_turn(self) -> None:
        self._waits = False
        if self._transport is not None and not self._transport.is_reading():
            self._transport.resume_reading()
        self._read()

    def _read(self) -> None:
        connection = self._connection
        try:
            while (
                self._step is not _Step.OVER
                and (message := self._reader.take(connection.max_bytes)) is not None
            ):
                self._receive(*message)
                if connection.turns.take():
                    self._rest(connection.turns.pause())
                    return
        except FrameError as error:
            self._break(error)

    def _rest(self, seconds: float) -> None:
        """Let the others go on; meanwhile the network holds back what the client sends."""
        if self._transport is not None and not self._transport.is_closing():
            self._resting = True
            self._transport.pause_reading()
            asyncio.get_running_loop().call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._resting = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
            self._read()

    def _receive(self, kind: int, payload: bytes) -> None:
        if kind in (CONTINUATION, PONG):
            return
        if kind == PING:
            transport = self._transport
            # Whoever does not read its pongs gets no more of them.
            if transport is not None and transport.get_write_buffer_size() <= FREELY:
                transport.write(encode_pong(payload))
        elif kind == CLOSE:
            self._end()
        elif self._step is not _Step.OPEN:
            self._take_step(payload if kind == TEXT else b"")
        elif kind == TEXT:
            receive_text(self._connection, payload)
        else:
            receive_binary(self._connection, payload)

    # The change of a connection that polls

    def _take_step(self, data: bytes) -> None:
        self._stop_timer()
        transport = self._transport
        if transport is None or self._connection.closed:
            self._end()
        elif self._step is _Step.PROBED and data == PROBE:
            self._step = _Step.UPGRADING
            self._limit_step()
            transport.write(Message(PROBE_ANSWER).frames)
            self._connection.probed()
        elif self._step is _Step.UPGRADING and data == UPGRADE:
            self.open(transport)
        else:
            self._end()

    def _limit_step(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_PROBE_SECONDS, self._end)

    # The end

    def _end(self) -> None:
        """The client closed it, or did not take the steps of its change."""
        step, self._step = self._step, _Step.OVER
        transport = self._transport
        if transport is not None and not self._connection.closed:
            transport.write(encode_close(_NORMAL))
        if transport is not None:
            transport.close()
        if step is _Step.OPEN:
            self._connection.close(CloseReason.TRANSPORT_CLOSE)
            self._engine.await_end(self._connection)  # else a client that takes nothing would stay
        else:
            self._stop_timer()
            self._connection.end_probe()

    def _break(self, error: FrameError) -> None:
        """A broken frame: whatever follows it cannot be read."""
        step, self._step = self._step, _Step.OVER
        if step is _Step.OPEN:
            self._connection.fail(error.word, error.close_code)
        else:
            self._stop_timer()
            self._connection.end_probe()
            if self._transport is not None:
                self._transport.write(encode_close(error.close_code))
        if self._transport is not None:
            # Not at once: a client that is still sending would get a reset, and not the close frame.
            self._timer = asyncio.get_running_loop().call_later(_BROKEN_SECONDS, self._transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
