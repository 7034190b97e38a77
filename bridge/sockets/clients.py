"""The Socket.IO side of one connection: its namespaces, and the client in each of them."""

import asyncio
from collections import deque
from typing import Final, assert_never

import structlog

from bridge.config.model import Limits
from bridge.errors import Code
from bridge.flow.ports import Admitted, ConnectRefused, ConnectRequest, Gateway, Head
from bridge.sockets.client import SocketClient
from bridge.sockets.connection import Connection
from bridge.sockets.endings import CloseReason, ProtocolError
from bridge.sockets.engine import Engine
from bridge.sockets.socket_packets import (
    Connect,
    Disconnect,
    Event,
    PacketReader,
    encode_connect_error,
)
from bridge.telemetry.metrics import Metrics

_ADMISSION_SECONDS: Final = 0.001
"""What it takes of the loop to let a client in: token, rooms, and the first of what it missed."""
_CONNECT_SECONDS: Final = 10.0
"""How long the gateway may take to admit a client."""
_MAX_REFUSALS: Final = 100
"""Refused namespaces of one connection; whoever goes on asking is disconnected."""

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class ClientFactory:
    """Prepares each connection for its clients; holds what all connections share."""

    def __init__(self, gateway: Gateway, limits: Limits, metrics: Metrics, head: Head) -> None:
        self.gateway = gateway
        self.limits = limits
        self.metrics = metrics
        self.head = head
        self.draining = False
        """Whether further namespaces are refused."""

    def make(self, engine: Engine, connection: Connection) -> "ConnectionClients":
        """What takes the messages of a new connection."""
        return ConnectionClients(self, engine, connection)

    def count_refused(self, reason: str) -> None:
        """A namespace was refused here; what the gateway refuses it counts itself."""
        self.metrics.refused.labels(reason).inc()


class ConnectionClients:
    """Reads the packets of one connection and tells the gateway; implements `connection.Receiver`."""

    __slots__ = ("_clients", "_connection", "_engine", "_left", "_reader", "_refusals", "_shared")

    def __init__(self, shared: ClientFactory, engine: Engine, connection: Connection) -> None:
        self._shared = shared
        self._engine = engine
        self._connection = connection
        self._reader = PacketReader(shared.limits.attachments, shared.limits.payload)
        self._clients: dict[str, SocketClient] = {}
        self._left: deque[str] | None = None
        self._refusals = 0

    @property
    def head(self) -> Head:
        """The cursor of what is emitted to one client."""
        return self._shared.head

    @property
    def metrics(self) -> Metrics:
        """Where events are counted."""
        return self._shared.metrics

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
        for client in list(self._clients.values()):
            self._remove(client, reason, transport_lost=True)

    def end(self, client: SocketClient, reason: CloseReason) -> None:
        """One namespace ends; what the client sent to it before it knew is ignored."""
        if self._left is None:
            self._left = deque(maxlen=self._shared.limits.namespaces)
        if client.namespace not in self._left:
            self._left.append(client.namespace)
        self._remove(client, reason, transport_lost=False)

    def _receive_event(self, event: Event) -> None:
        client = self._clients.get(event.namespace)
        if client is not None and client.is_open:
            self._shared.gateway.received(client, event.name, event.args, event.ack_id)
        elif self._left is None or event.namespace not in self._left:
            raise ProtocolError("not_connected")

    def _disconnect(self, packet: Disconnect) -> None:
        client = self._clients.get(packet.namespace)
        if client is not None:
            self.end(client, CloseReason.CLIENT_DISCONNECT)
        elif self._left is None or packet.namespace not in self._left:
            raise ProtocolError("not_connected")

    def _connect(self, packet: Connect) -> None:
        refused = self._check_connect(packet)
        if refused is not None:
            self._shared.count_refused(str(refused.code))
            self._refuse(packet.namespace, refused)
            return
        client = SocketClient(self, self._connection, packet.namespace)
        self._clients[packet.namespace] = client
        self._engine.set_vacant(self._connection, False)
        handshake = self._connection.handshake
        request = ConnectRequest(
            auth=packet.auth,
            headers=handshake.headers,
            query=handshake.query,
            remote=handshake.remote,
        )
        client.admission = asyncio.create_task(self._admit(client, request))

    def _check_connect(self, packet: Connect) -> ConnectRefused | None:
        if packet.namespace in self._clients:
            return ConnectRefused(code=Code.VALIDATION_FAILED, message="Already connected to this namespace")
        if len(self._clients) >= self._shared.limits.namespaces:
            return ConnectRefused(code=Code.TOO_MANY_CONNECTIONS, message="Too many namespaces")
        if self._shared.draining:
            return ConnectRefused(code=Code.SHUTTING_DOWN, message="The server is shutting down")
        return None

    async def _admit(self, client: SocketClient, request: ConnectRequest) -> None:
        """Ask the gateway: the one task that a client ever costs, and only for so long."""
        answer: Admitted | ConnectRefused
        known = True
        """Until the gateway has refused the client, it must be told of its end."""
        await self._engine.workload.wait(_ADMISSION_SECONDS)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                answer = await self._shared.gateway.connect(client, request)
            known = isinstance(answer, Admitted)
        except TimeoutError:
            answer = ConnectRefused(code=Code.TIMEOUT, message="The server took too long")
        except asyncio.CancelledError:
            self._tell(client, CloseReason.TRANSPORT_CLOSE, transport_lost=True)
            raise
        except Exception:
            _log.exception("connect.failed", address=request.remote)
            answer = ConnectRefused(code=Code.INTERNAL, message="Internal error")
        client.admission = None
        if isinstance(answer, Admitted) and not client.is_gone:
            self._connection.max_bytes = self._shared.limits.payload
            client.open(answer, recovers=request.recovers)
            self._welcome(client)
            return
        if known:
            self._tell(client, CloseReason.SERVER_DISCONNECT, transport_lost=False)
        if isinstance(answer, ConnectRefused) and not client.is_gone:
            self._remove(client, CloseReason.SERVER_DISCONNECT, transport_lost=False)
            self._refuse(client.namespace, answer)

    def _welcome(self, client: SocketClient) -> None:
        """Tell the gateway that the client is in; a client of which it knows half must not stay."""
        try:
            self._shared.gateway.connected(client)
        except Exception:
            _log.exception("connect.failed", address=self._connection.handshake.remote)
            self._connection.close(CloseReason.INTERNAL_ERROR)
            return
        if not client.is_open:  # refused with an event
            self._count_refusal()

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

    def _remove(self, client: SocketClient, reason: CloseReason, *, transport_lost: bool) -> None:
        was_open = client.is_open
        client.close()
        del self._clients[client.namespace]
        if not self._clients:
            self._connection.max_bytes = self._engine.stranger_bytes
            self._engine.set_vacant(self._connection, True)
        if was_open:
            self._tell(client, reason, transport_lost=transport_lost)
        elif client.admission is not None:
            client.admission.cancel()

    def _tell(self, client: SocketClient, reason: CloseReason, *, transport_lost: bool) -> None:
        self._shared.gateway.disconnected(client, reason=reason.value, transport_lost=transport_lost)
