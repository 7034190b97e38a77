"""A second implementation of the Gateway port, far smaller than the flow: it echoes, and knows rooms."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Raw, Struct

from bridge.config.model import Http, Limits
from bridge.errors import Code
from bridge.flow.ports import Admitted, Client, ConnectRefused, ConnectRequest
from bridge.model import EVERYONE, Argument, Emission, Place
from bridge.sockets.fanout import Fanout
from bridge.sockets.server import SocketServer
from bridge.state.memberships import Memberships
from bridge.telemetry.metrics import Metrics
from bridge.web.port import Port
from bridge.workload import Workload

NAMESPACES = ("/", "/custom", "/other")


class EchoGateway:
    """Admits everyone to a few namespaces, unless `auth` asks for something else; remembers what it saw.

    `auth.refuse`: refused with that message. `auth.wait`: admitted once `let_in` is set. `auth.dismiss`:
    admitted, and told that event and disconnected at once. `auth.early`: in everybody's room before it is
    admitted, where no gateway should put it. `auth.fail`, `auth.stumble`: a fault of the
    gateway's own before it is admitted, and after.
    """

    def __init__(self, memberships: Memberships[Client]) -> None:
        self.memberships = memberships
        self.clients: dict[str, Client] = {}
        self.requests: list[ConnectRequest] = []
        self.received_events: list[tuple[str, list[object]]] = []
        self.ended: list[tuple[str, bool]] = []
        """Reason and `transport_lost` of every client that went."""
        self.let_in = asyncio.Event()
        self.changed = asyncio.Event()
        self.admits: dict[str, Admitted] = {}
        """What `connect` answers to whoever is let in, by namespace."""
        self.find_missed: Callable[[object], list[tuple[Emission, str]]] = lambda auth: []
        """What whoever connects with this `auth` has missed."""
        self.greets = False
        """Emit `auth` with the client's own auth, as the official protocol suite wants it."""

    async def connect(self, client: Client, request: ConnectRequest) -> Admitted | ConnectRefused:
        self.requests.append(request)
        self.changed.set()
        auth = request.auth if isinstance(request.auth, dict) else {}
        if client.namespace not in NAMESPACES:
            return ConnectRefused(code=None, message="Invalid namespace")
        if "refuse" in auth:
            return ConnectRefused(code=Code.FORBIDDEN, message=str(auth["refuse"]), retry_after=1.5)
        if "fail" in auth:
            raise ValueError("a fault of the gateway's own")
        if "early" in auth:
            self.memberships.join(client.namespace, EVERYONE, client)
        if "wait" in auth:
            await self.let_in.wait()
        return self.admits.get(client.namespace, Admitted())

    def connected(self, client: Client) -> None:
        auth = self.requests[-1].auth
        if isinstance(auth, dict) and "dismiss" in auth:
            client.emit(str(auth["dismiss"]), [])
            client.disconnect()
            return
        if isinstance(auth, dict) and "stumble" in auth:
            raise ValueError("a fault of the gateway's own")
        self.clients[client.sid] = client
        client.replay(self.find_missed(self.requests[-1].auth))
        self.memberships.join(client.namespace, EVERYONE, client)
        if self.greets:
            client.emit("auth", [raw(self.requests[-1].auth or {})])
        self.changed.set()

    def received(self, client: Client, event: str, args: Sequence[Argument], ack_id: int | None) -> None:
        self.received_events.append((event, [plain(arg) for arg in args]))
        self.changed.set()
        match event:
            case "message":
                client.emit("message-back", args)
            case "join":
                self.memberships.join(client.namespace, str(plain(args[0])), client)
            case "leave_me":
                client.disconnect()
                return
            case "fail":
                raise ValueError("a fault of the gateway's own")
        if ack_id is not None:
            client.ack(ack_id, args)

    def disconnected(self, client: Client, *, reason: str, transport_lost: bool) -> None:
        self.clients.pop(client.sid, None)
        self.memberships.leave_all(client)
        self.ended.append((reason, transport_lost))
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that the gateway sees makes the condition true."""
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


class Running(Struct):
    """A server of the tests, and what it is made of."""

    url: str
    port: int
    server: SocketServer
    gateway: EchoGateway
    memberships: Memberships[Client]
    metrics: Metrics
    fanout: Fanout
    head: Place
    """Of the last delivery, as the flow would tell it; a test may change it."""

    def send(self, event: str, *args: object, room: str = EVERYONE, namespace: str = "/") -> None:
        """Send one event to a room."""
        self.fanout.send([emission(event, *args, room=room, namespace=namespace)])

    def count(self, name: str, **labels: str) -> float:
        """The value of a metric."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def serve(
    http: Http | None = None,
    limits: Limits | None = None,
    port: int = 0,
    context: ssl.SSLContext | None = None,
) -> AsyncIterator[Running]:
    """Run a server with an EchoGateway on loopback, behind the daemon's own port; with a context over TLS."""
    limits = limits or Limits()
    memberships = Memberships[Client]()
    gateway = EchoGateway(memberships)
    metrics = Metrics()
    running: Running

    def head() -> str:
        return running.head.cursor

    workload = Workload()
    server = SocketServer(gateway, memberships, http or Http(), limits, metrics, head, workload)
    app = web.Application()
    server.attach(app)
    opened = Port(app, limits.payload, workload)
    await opened.open("127.0.0.1", port, context)
    port = opened.number
    running = Running(
        url=f"{'http' if context is None else 'https'}://127.0.0.1:{port}",
        port=port,
        server=server,
        gateway=gateway,
        memberships=memberships,
        metrics=metrics,
        fanout=Fanout(memberships, metrics, head),
        head=Place(0, 0),
    )
    try:
        yield running
    finally:
        await server.drain(spread=0, patience=0.2)
        await opened.close()


def emission(
    event: str,
    *args: object,
    room: str = EVERYONE,
    namespace: str = "/",
    skip_sid: str | None = None,
    place: Place | None = None,
) -> Emission:
    """An event for one room; bytes become attachments."""
    return Emission(
        route="test",
        namespace=namespace,
        event=event,
        args=tuple(arg if isinstance(arg, bytes) else raw(arg) for arg in args),
        rooms=(room,),
        skip_sid=skip_sid,
        place=place,
    )


def raw(value: object) -> Raw:
    """A value as JSON text."""
    return Raw(msgspec.json.encode(value))


def plain(arg: Argument) -> Any:
    """An argument as a value."""
    return msgspec.json.decode(arg) if isinstance(arg, Raw) else arg
