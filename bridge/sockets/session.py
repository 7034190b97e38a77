"""The Socket.IO side of one connection: its namespaces, and the client's seat in each of them."""

import asyncio
import secrets
from collections import deque
from collections.abc import Sequence
from typing import Final, assert_never

import structlog

from bridge.config.model import Limits
from bridge.errors import Code
from bridge.flow.ports import ConnectRefused, ConnectRequest, Gateway
from bridge.model import Argument
from bridge.sockets.connection import Connection
from bridge.sockets.endings import CloseReason, ProtocolError
from bridge.sockets.engine import Engine
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
from bridge.telemetry.metrics import Metrics

_CONNECT_SECONDS: Final = 10.0
"""How long the gateway may take to admit a client."""
_MAX_REFUSALS: Final = 100
"""Refused namespaces of one connection; whoever goes on asking is disconnected."""

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Seat:
    """One client in one namespace; implements `flow.ports.Client`.

    It is silent until the CONNECT packet has gone out, and from `disconnect` on.
    """

    __slots__ = (
        "__weakref__",
        "_session",
        "admission",
        "connection",
        "is_gone",
        "is_open",
        "namespace",
        "sid",
    )

    def __init__(self, session: "Session", connection: Connection, namespace: str) -> None:
        self._session = session
        self.connection = connection
        self.namespace = namespace
        self.sid = secrets.token_urlsafe(15)
        self.admission: asyncio.Task[None] | None = None
        """The task in which the gateway decides; None once it has."""
        self.is_open = False
        """From the CONNECT packet to the end of the namespace."""
        self.is_gone = False
        """From the end of the namespace on; it may come before the gateway has decided."""

    @property
    def connection_id(self) -> str:
        """The Engine.IO connection, which several namespaces share."""
        return self.connection.sid

    def emit(self, event: str, args: Sequence[Argument]) -> None:
        """Send an event to this client alone."""
        if self.is_open:
            self.connection.send(encode_event(self.namespace, event, args))

    def ack(self, ack_id: int, args: Sequence[Argument]) -> None:
        """Answer the client's event of that ack id."""
        if self.is_open:
            self.connection.send(encode_ack(self.namespace, ack_id, args))

    def disconnect(self) -> None:
        """End the namespace for the client; the gateway learns it before this returns. Idempotent."""
        if not self.is_gone:
            self._session.end(self, CloseReason.SERVER_DISCONNECT)


class Sessions:
    """Makes the session of each connection; holds what they share."""

    def __init__(self, gateway: Gateway, limits: Limits, metrics: Metrics) -> None:
        self.gateway = gateway
        self.limits = limits
        self.draining = False
        """Whether further namespaces are refused."""
        self._metrics = metrics

    def make(self, engine: Engine, connection: Connection) -> "Session":
        """The session of a new connection."""
        return Session(self, engine, connection)

    def count_refused(self, reason: str) -> None:
        """A namespace was refused here; what the gateway refuses it counts itself."""
        self._metrics.refused.labels(reason).inc()


class Session:
    """Reads the packets of one connection and tells the gateway; implements `connection.Receiver`."""

    __slots__ = ("_connection", "_engine", "_left", "_reader", "_refusals", "_seats", "_shared")

    def __init__(self, shared: Sessions, engine: Engine, connection: Connection) -> None:
        self._shared = shared
        self._engine = engine
        self._connection = connection
        self._reader = PacketReader(shared.limits.attachments, shared.limits.payload)
        self._seats: dict[str, Seat] = {}
        self._left: deque[str] | None = None
        self._refusals = 0

    def received_text(self, data: bytes) -> None:
        """Take a text message; raises ProtocolError."""
        packet = self._reader.read_text(data)
        match packet:
            case Event():
                self._receive_event(packet)
            case Connect():
                self._connect(packet)
            case Disconnect():
                self._disconnect(packet)
            case None:
                pass
            case _:
                assert_never(packet)

    def received_binary(self, data: bytes) -> None:
        """Take an attachment; raises ProtocolError."""
        packet = self._reader.read_binary(data)
        if isinstance(packet, Event):
            self._receive_event(packet)

    def closed(self, reason: CloseReason) -> None:
        """The connection is over, and with it every namespace."""
        for seat in list(self._seats.values()):
            self._remove(seat, reason, transport_lost=True)

    def end(self, seat: Seat, reason: CloseReason) -> None:
        """The gateway ends one namespace."""
        if seat.is_open:
            self._connection.send(encode_disconnect(seat.namespace))
        self._leave(seat, reason)

    def _receive_event(self, event: Event) -> None:
        seat = self._seats.get(event.namespace)
        if seat is not None and seat.is_open:
            self._shared.gateway.received(seat, event.name, event.args, event.ack_id)
        elif self._left is None or event.namespace not in self._left:
            raise ProtocolError("not_connected")

    def _disconnect(self, packet: Disconnect) -> None:
        seat = self._seats.get(packet.namespace)
        if seat is not None:
            self._leave(seat, CloseReason.CLIENT_DISCONNECT)
        elif self._left is None or packet.namespace not in self._left:
            raise ProtocolError("not_connected")

    def _connect(self, packet: Connect) -> None:
        refused = self._check_connect(packet)
        if refused is not None:
            self._shared.count_refused(str(refused.code))
            self._refuse(packet.namespace, refused)
            return
        seat = Seat(self, self._connection, packet.namespace)
        self._seats[packet.namespace] = seat
        self._engine.set_vacant(self._connection, False)
        handshake = self._connection.handshake
        request = ConnectRequest(
            auth=packet.auth,
            headers={name.lower(): value for name, value in handshake.headers.items()},
            query=dict(handshake.query),
            remote=handshake.remote,
        )
        seat.admission = asyncio.create_task(self._admit(seat, request))

    def _check_connect(self, packet: Connect) -> ConnectRefused | None:
        if packet.namespace in self._seats:
            return ConnectRefused(code=Code.VALIDATION_FAILED, message="Already connected to this namespace")
        if len(self._seats) >= self._shared.limits.namespaces:
            return ConnectRefused(code=Code.TOO_MANY_CONNECTIONS, message="Too many namespaces")
        if self._shared.draining:
            return ConnectRefused(code=Code.SHUTTING_DOWN, message="The server is shutting down")
        return None

    async def _admit(self, seat: Seat, request: ConnectRequest) -> None:
        """Ask the gateway: the one task that a client ever costs, and only for so long."""
        refused: ConnectRefused | None = None
        admitted = True
        """Until the gateway has refused, it must be told of the client's end."""
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                refused = await self._shared.gateway.connect(seat, request)
            admitted = refused is None
        except TimeoutError:
            refused = ConnectRefused(code=Code.TIMEOUT, message="The server took too long")
        except asyncio.CancelledError:
            self._tell(seat, CloseReason.TRANSPORT_CLOSE, transport_lost=True)
            raise
        except Exception:
            _log.exception("connect.failed", address=request.remote)
            refused = ConnectRefused(code=Code.INTERNAL, message="Internal error")
        seat.admission = None
        if refused is None and not seat.is_gone:
            seat.is_open = True
            self._connection.send(encode_connect(seat.namespace, seat.sid))
            self._shared.gateway.connected(seat)
            if not seat.is_open:  # refused with an event
                self._count_refusal()
            return
        if admitted:
            self._tell(seat, CloseReason.SERVER_DISCONNECT, transport_lost=False)
        if refused is not None and not seat.is_gone:
            self._remove(seat, CloseReason.SERVER_DISCONNECT, transport_lost=False)
            self._refuse(seat.namespace, refused)

    def _refuse(self, namespace: str, refused: ConnectRefused) -> None:
        data: dict[str, object] | None = None
        if refused.code is not None:
            data = {"code": refused.code.value}
            if refused.retry_after is not None:
                data["retry_after"] = refused.retry_after
        self._connection.send(encode_connect_error(namespace, refused.message, data))
        self._count_refusal()

    def _count_refusal(self) -> None:
        """A connection that tries again and again, and is never let in, is closed."""
        self._refusals += 1
        if self._refusals >= _MAX_REFUSALS:
            self._connection.fail("too_many_refusals")

    def _leave(self, seat: Seat, reason: CloseReason) -> None:
        """One namespace ends; what the client sent to it before it knew is ignored."""
        if self._left is None:
            self._left = deque(maxlen=self._shared.limits.namespaces)
        if seat.namespace not in self._left:
            self._left.append(seat.namespace)
        self._remove(seat, reason, transport_lost=False)

    def _remove(self, seat: Seat, reason: CloseReason, *, transport_lost: bool) -> None:
        was_open = seat.is_open
        seat.is_open, seat.is_gone = False, True
        del self._seats[seat.namespace]
        if not self._seats:
            self._engine.set_vacant(self._connection, True)
        if was_open:
            self._tell(seat, reason, transport_lost=transport_lost)
        elif seat.admission is not None:
            seat.admission.cancel()

    def _tell(self, seat: Seat, reason: CloseReason, *, transport_lost: bool) -> None:
        self._shared.gateway.disconnected(seat, reason=reason.value, transport_lost=transport_lost)
