"""One client in one namespace: what the flow sends it, with a cursor if it recovers."""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Protocol

from bridge.flow.ports import Admitted, Head
from bridge.model import Argument, Emission
from bridge.sockets.connection import Connection
from bridge.sockets.endings import CloseReason
from bridge.sockets.messages import Batch
from bridge.sockets.socket_packets import encode_ack, encode_connect, encode_disconnect, encode_event
from bridge.telemetry.metrics import Metrics


class Siblings(Protocol):
    """The clients of one connection, and what all clients share."""

    @property
    def head(self) -> Head:
        """The cursor of what is emitted to a client alone."""

    @property
    def metrics(self) -> Metrics:
        """Where events are counted."""

    def end(self, client: "SocketClient", reason: CloseReason) -> None:
        """The flow ends one of them."""


class SocketClient:
    """Implements `flow.ports.Client`; silent until the CONNECT packet has gone out, and from its end on."""

    __slots__ = (
        "__weakref__",
        "_cursor",
        "_siblings",
        "admission",
        "connection",
        "hears_cursors",
        "hears_plain",
        "is_gone",
        "is_open",
        "namespace",
        "recovers",
        "sid",
    )

    def __init__(self, siblings: Siblings, connection: Connection, namespace: str) -> None:
        self._siblings = siblings
        self.connection = connection
        self.namespace = namespace
        self.sid = secrets.token_urlsafe(15)
        self.admission: asyncio.Task[None] | None = None
        """The task in which the gateway decides; None once it has."""
        self.is_open = False
        """From the CONNECT packet to the end of the namespace."""
        self.is_gone = False
        """From the end of the namespace on; it may come before the gateway has decided."""
        self.recovers = False
        self._cursor: str | None = None
        """Of what is emitted while the client catches up; None when it does not."""
        self.hears_plain = False
        """Whether the fan-out gives it events as they are: the one question asked for each delivery."""
        self.hears_cursors = False
        """Whether the fan-out gives it events with cursors."""

    @property
    def connection_id(self) -> str:
        """The Engine.IO connection, which several namespaces share."""
        return self.connection.sid

    def open(self, admitted: Admitted, *, recovers: bool) -> None:
        """The gateway lets it in: send the CONNECT packet."""
        self.sid = admitted.sid or self.sid
        self.recovers = recovers or admitted.pid is not None
        self.is_open = True
        self._tune()
        self.connection.send(encode_connect(self.namespace, self.sid, admitted.pid, admitted.extra))

    def close(self) -> None:
        """The namespace is over: nothing more is sent."""
        self.is_open, self.is_gone = False, True
        self._tune()
        self.connection.drain()

    def emit(self, event: str, args: Sequence[Argument]) -> None:
        """Send an event to this client alone."""
        if self.is_open:
            cursor = None
            if self.recovers:
                cursor = self._siblings.head() if self._cursor is None else self._cursor
            self.connection.send(encode_event(self.namespace, event, args, cursor))

    def replay(self, emissions: Sequence[tuple[Emission, str]]) -> None:
        """Send what it missed, in one write."""
        if self.is_open and emissions:
            messages = [
                encode_event(self.namespace, emission.event, emission.args, cursor if self.recovers else None)
                for emission, cursor in emissions
            ]
            self.connection.deliver(Batch(messages))
            self._siblings.metrics.deliveries.inc(len(messages))

    def begin_catch_up(self, cursor: str) -> None:
        """Be passed over by the fan-out from here on; what is emitted meanwhile carries this cursor."""
        self._cursor = cursor
        self._tune()

    def end_catch_up(self) -> None:
        """Get events from the fan-out again."""
        self._cursor = None
        self._tune()

    async def drained(self) -> None:
        """Return when nearly all that it was given has left the process, or when it is gone."""
        while not self.is_gone and self.connection.is_behind:
            await self.connection.drained()

    def ack(self, ack_id: int, args: Sequence[Argument]) -> None:
        """Answer the client's event of that ack id."""
        if self.is_open:
            self.connection.send(encode_ack(self.namespace, ack_id, args))

    def disconnect(self) -> None:
        """End the namespace for the client; the gateway learns it before this returns. Idempotent."""
        if not self.is_gone:
            if self.is_open:
                self.connection.send(encode_disconnect(self.namespace))
            self._siblings.end(self, CloseReason.SERVER_DISCONNECT)

    def evict(self) -> None:
        """End the whole connection; the gateway learns it before this returns. Idempotent."""
        if not self.is_gone:
            self.connection.close(CloseReason.EVICTED)

    def _tune(self) -> None:
        hears = self.is_open and self._cursor is None
        self.hears_plain = hears and not self.recovers
        self.hears_cursors = hears and self.recovers
