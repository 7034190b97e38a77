"""The Socket.IO server: HTTP in front, connections behind; made once, attached to an aiohttp application."""

from aiohttp import web

from bridge.config.model import Http, Limits
from bridge.flow.ports import Client, Gateway
from bridge.sockets.fanout import Fanout
from bridge.state.memberships import Memberships
from bridge.telemetry.metrics import Metrics


class SocketServer:
    """Engine.IO 4 and Socket.IO 5 on aiohttp; what clients do goes to the `Gateway`.

    The members of `memberships` are the clients that the gateway was given; the gateway joins them to
    rooms and takes them out again, the server only reads. `disconnected` is called synchronously, also
    inside `Client.disconnect()`.
    """

    def __init__(
        self, gateway: Gateway, memberships: Memberships[Client], http: Http, limits: Limits, metrics: Metrics
    ) -> None:
        self.fanout = Fanout(memberships, metrics)

    def attach(self, app: web.Application) -> None:
        """Serve every path of `http.paths`, with and without a slash at its end."""
        raise NotImplementedError

    async def drain(self, *, spread: float = 5.0) -> None:
        """Refuse new connections (503), then close all over `spread` seconds, in jittered batches.

        The official client sees "transport close" and reconnects by itself, to another instance.
        """
        raise NotImplementedError
