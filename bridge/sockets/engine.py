"""All Engine.IO connections of the server: by sid, with their heartbeats and their other deadlines."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Final

from bridge.config.model import Http, Limits
from bridge.sockets import messages
from bridge.sockets.backlog import Backlog
from bridge.sockets.connection import Connection, Handshake
from bridge.sockets.deadlines import Deadlines
from bridge.sockets.endings import CloseReason
from bridge.sockets.engine_packets import encode_open
from bridge.sockets.incoming import Receiver
from bridge.telemetry.metrics import Metrics
from bridge.workload import Workload

_CLOSE_SECONDS: Final = 5.0
"""How long a client may take to answer a close frame."""
_STRANGER_BYTES: Final = 65_536
"""A message, or the body of a POST, from a client that is in no namespace ..."""
_CONNECT_BYTES: Final = 9_216
"""... or so much for each that it may enter: a body holds all of its CONNECT packets, each with a token."""
_PATIENCE: Final = 1.0
"""How long a client has to connect to a namespace in any case, also when all connections are taken."""

MakeReceiver = Callable[["Engine", Connection], Receiver]


class Engine:
    """Opens and forgets connections; pings them, and closes those that do not answer.

    A client is pinged `ping_interval` after its connection began or its last pong came, and is gone
    when no pong came within `ping_timeout`: one timer for all, see `Deadlines`.
    """

    def __init__(
        self,
        http: Http,
        limits: Limits,
        metrics: Metrics,
        workload: Workload,
        make_receiver: MakeReceiver,
        sid_prefix: str = "",
    ) -> None:
        """`sid_prefix` says to other processes on this port whose a connection is."""
        self.http = http
        self.limits = limits
        self.stranger_bytes = min(limits.payload, max(_STRANGER_BYTES, limits.namespaces * _CONNECT_BYTES))
        """What a client may send at once before it is in a namespace: nobody knows who it is."""
        self.backlog = Backlog(
            limits.outbox_bytes, limits.outbox_age, metrics.queue_length.labels("outbox_bytes").set
        )
        self.workload = workload
        """What comes in from all of them."""
        self._metrics = metrics
        self._make_receiver = make_receiver
        self._sid_prefix = sid_prefix
        self._connections: dict[str, Connection] = {}
        self._pings = Deadlines[Connection](http.ping_interval, self._ping)
        self._pongs = Deadlines[Connection](http.ping_timeout, self._time_out)
        self._vacant = Deadlines[Connection](http.connect_timeout, self._end_vacant)
        self._closing = Deadlines[Connection](_CLOSE_SECONDS, self._give_up)
        self._leaving: dict[str, Connection] = {}
        self._all_ended: asyncio.Event | None = None

    @property
    def connections(self) -> list[Connection]:
        """All that are open."""
        return list(self._connections.values())

    def make_room(self) -> bool:
        """Whether a further connection may be opened.

        When all places are taken, the connection that has been without a namespace for longest gives way:
        else whoever opens ten thousand of them and does nothing more shuts everybody out.
        """
        if len(self._connections) < self.limits.connections:
            return True
        idle = self._vacant.longest(_PATIENCE)
        if idle is not None:
            idle.close(CloseReason.CONNECT_TIMEOUT)
        return idle is not None

    def open(self, handshake: Handshake) -> Connection:
        """A new connection, which counts from now on."""
        connection = Connection(self, self._sid_prefix + secrets.token_urlsafe(15), handshake)
        connection.receiver = self._make_receiver(self, connection)
        self._connections[connection.sid] = connection
        self._metrics.connections.inc()
        self._pings.start(connection)
        self._vacant.start(connection)
        return connection

    def find(self, sid: str) -> Connection | None:
        """The open connection of that id."""
        return self._connections.get(sid)

    def encode_open(self, connection: Connection, *, upgrades: list[str]) -> bytes:
        """The first packet that the connection's client gets."""
        return encode_open(connection.sid, self.http, self.limits, upgrades=upgrades)

    def forget(self, connection: Connection, reason: CloseReason) -> None:
        """The connection is closed."""
        del self._connections[connection.sid]
        self._pings.cancel(connection)
        self._pongs.cancel(connection)
        self._vacant.cancel(connection)
        self.backlog.settle(connection)
        self._metrics.connections.dec()
        self._metrics.closed.labels(reason.value).inc()

    def take_pong(self, connection: Connection) -> None:
        """The client answered the ping; a pong that nobody asked for means nothing."""
        if self._pongs.cancel(connection):
            self._pings.start(connection)

    def set_vacant(self, connection: Connection, vacant: bool) -> None:
        """Whether no namespace is connected: then the connection has `connect_timeout` to get one."""
        if not vacant:
            self._vacant.cancel(connection)
        elif not connection.closed:
            self._vacant.start(connection)

    def await_end(self, connection: Connection) -> None:
        """The client is still to be seen: to answer a close frame, or to fetch the close packet."""
        self._closing.start(connection)
        self._leaving[connection.sid] = connection

    def find_leaving(self, sid: str) -> Connection | None:
        """The connection of that id which is closed and still to be seen."""
        return self._leaving.get(sid)

    def ended(self, connection: Connection) -> None:
        """The client has been seen, or its transport is gone."""
        self._closing.cancel(connection)
        self._leaving.pop(connection.sid, None)
        if not self._leaving and self._all_ended is not None:
            self._all_ended.set()

    async def wait_ended(self, seconds: float) -> None:
        """Wait until all that are closed have been seen, so long at most."""
        self._all_ended = asyncio.Event()
        if self._leaving:
            try:
                async with asyncio.timeout(seconds):
                    await self._all_ended.wait()
            except TimeoutError:
                return

    def stop(self) -> None:
        """Cut what is left of closed connections, and cancel all timers."""
        for connection in list(self._leaving.values()):
            self._give_up(connection)
        for deadlines in (self._pings, self._pongs, self._vacant, self._closing):
            deadlines.clear()
        self.backlog.clear()

    def _ping(self, connection: Connection) -> None:
        self._pongs.start(connection)
        connection.send(messages.PING)

    def _time_out(self, connection: Connection) -> None:
        connection.close(CloseReason.PING_TIMEOUT)

    def _give_up(self, connection: Connection) -> None:
        connection.abort()
        self.ended(connection)

    def _end_vacant(self, connection: Connection) -> None:
        connection.close(CloseReason.CONNECT_TIMEOUT)
