"""The Socket.IO server: HTTP in front, connections behind; made once, attached to an aiohttp application."""

import asyncio
import random
from collections.abc import Mapping
from typing import Final

import msgspec
from aiohttp import web

from bridge.config.model import Http, Limits
from bridge.flow.ports import Client, Gateway, Head
from bridge.sockets.clients import ClientFactory
from bridge.sockets.connection import Connection, Handshake
from bridge.sockets.endings import CloseReason
from bridge.sockets.engine import Engine
from bridge.sockets.origins import Origins
from bridge.sockets.polling import answer_get, answer_post, send_body, text_response
from bridge.sockets.trusted_proxies import TrustedProxies
from bridge.sockets.websocket import serve_new, serve_upgrade
from bridge.sockets.websocket_handshake import find_accept
from bridge.state.memberships import Memberships
from bridge.telemetry.metrics import Metrics
from bridge.workload import Workload

_TRANSPORT_UNKNOWN: Final = (0, "Transport unknown")
_SESSION_UNKNOWN: Final = (1, "Session ID unknown")
_BAD_METHOD: Final = (2, "Bad handshake method")
_BAD_REQUEST: Final = (3, "Bad request")
_FORBIDDEN: Final = (4, "Forbidden")
_BAD_VERSION: Final = (5, "Unsupported protocol version")

_KEPT_HEADERS: Final = ("authorization",)
"""What a later namespace may ask of the handshake; a browser sends a kilobyte of others."""
_OWN_QUERY: Final = frozenset({"EIO", "transport", "t", "b64", "sid"})

_BATCHES: Final = 50
"""In which all connections are closed."""


class SocketServer:
    """Engine.IO 4 and Socket.IO 5 on aiohttp; what clients do goes to the `Gateway`.

    The members of `memberships` are the clients that the gateway was given; the gateway joins them to
    rooms and takes them out again, the server only reads. `disconnected` is called synchronously, also
    inside `Client.disconnect()`.
    """

    def __init__(
        self,
        gateway: Gateway,
        memberships: Memberships[Client],
        http: Http,
        limits: Limits,
        metrics: Metrics,
        head: Head,
        workload: Workload,
        sid_prefix: str = "",
    ) -> None:
        """What connections bring waits in the `workload`."""
        self._http = http
        self._limits = limits
        self._metrics = metrics
        self._origins = Origins(http.origins)
        self._proxies = TrustedProxies(http.trusted_proxies)
        self._factory = ClientFactory(gateway, limits, metrics, head)
        self._engine = Engine(http, limits, metrics, workload, self._factory.make, sid_prefix)
        self._draining = False

    def attach(self, app: web.Application) -> None:
        """Serve every path of `http.paths`, with and without a slash at its end."""
        for path in self._http.paths:
            bare = path.rstrip("/")
            for served in {bare or "/", f"{bare}/"}:
                app.router.add_route("*", served, self._answer)
        app.on_shutdown.append(self._cut_all)

    async def drain(self, *, spread: float = 5.0, patience: float = 5.0) -> None:
        """Refuse new connections (503), then close all over `spread` seconds, in jittered batches.

        The official client sees "transport close" and reconnects by itself, to another instance. Those
        that do not answer the close, or do not come to fetch it, are waited for `patience` seconds.
        """
        self._draining = self._factory.draining = True
        await self._close_all(CloseReason.SHUTDOWN, spread)
        await self._engine.wait_ended(patience)
        self._engine.stop()

    async def send_away(self, *, spread: float = 5.0) -> None:
        """Close all connections that are open now, over `spread` seconds, in jittered batches.

        Their clients may have missed something that nobody can give them. They come again, and learn of it.
        """
        await self._close_all(CloseReason.NEW_EPOCH, spread)

    async def _close_all(self, reason: CloseReason, spread: float) -> None:
        connections = self._engine.connections
        random.shuffle(connections)
        size = -(-len(connections) // _BATCHES)
        for start in range(0, len(connections), size or 1):
            if start:
                await asyncio.sleep(spread / _BATCHES * random.uniform(0.5, 1.5))  # noqa: S311  no secret
            for connection in connections[start : start + size]:
                connection.close(reason)

    async def _cut_all(self, _: web.Application) -> None:
        """Let nothing stay open that a drain would have closed."""
        for connection in self._engine.connections:
            connection.close(CloseReason.SHUTDOWN)
        self._engine.stop()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if not self._origins.allows(origin, request.headers.get("Host")):
            return self._refuse(403, _FORBIDDEN, "origin")
        if request.method == "OPTIONS":
            return web.Response(status=204, headers=self._origins.preflight_headers(origin))
        response = await self._dispatch(request)
        if not response.prepared:
            response.headers.update(self._headers(request))
        return response

    def _headers(self, request: web.Request) -> Mapping[str, str]:
        """Of every answer."""
        return {**self._origins.headers(request.headers.get("Origin")), "Cache-Control": "no-store"}

    async def _dispatch(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        if query.get("EIO") != "4":
            return self._refuse(400, _BAD_VERSION, "bad_request")
        transport = query.get("transport")
        if transport not in ("polling", "websocket"):
            return self._refuse(400, _TRANSPORT_UNKNOWN, "bad_request")
        accept = find_accept(request)
        # `j` asks for JSONP, which carries no Origin.
        if "j" in query or (accept is not None) != (transport == "websocket"):
            return self._refuse(400, _BAD_REQUEST, "bad_request")
        sid = query.get("sid")
        if sid is None:
            return self._open(request, accept)
        connection = self._engine.find(sid)
        if connection is None:
            return await self._answer_leaving(request, sid)
        if accept is not None:
            serve_upgrade(self._engine, connection, request, accept)
            return web.Response()
        return await self._answer_poll(request, connection)

    def _open(self, request: web.Request, accept: bytes | None) -> web.Response:
        if request.method != "GET":
            return self._refuse(400, _BAD_METHOD, "bad_request")
        if self._draining:
            return self._refuse(503, (3, "Shutting down"), "shutting_down")
        if not self._engine.make_room():
            return self._refuse(503, (3, "Too many connections"), "too_many_connections")
        connection = self._engine.open(_to_handshake(request, self._proxies))
        if accept is not None:
            serve_new(self._engine, connection, request, accept)
            return web.Response()
        return text_response(self._engine.encode_open(connection, upgrades=["websocket"]))

    async def _answer_poll(self, request: web.Request, connection: Connection) -> web.StreamResponse:
        if not connection.polling:
            return self._refuse(400, _BAD_REQUEST, "bad_request")
        if request.method == "GET":
            return await answer_get(connection, request, self._headers(request), self._limits.outbox_age)
        if request.method == "POST":
            return await answer_post(connection, request)
        return self._refuse(400, _BAD_METHOD, "bad_request")

    async def _answer_leaving(self, request: web.Request, sid: str) -> web.StreamResponse:
        """A drain closed the connection between two polls: this one fetches the news of it."""
        connection = self._engine.find_leaving(sid)
        if connection is None or connection.on_websocket or request.method != "GET":
            return self._refuse(400, _SESSION_UNKNOWN, "unknown_session")
        self._engine.ended(connection)
        body = connection.polls.take_body()
        return await send_body(connection, request, body, self._headers(request), self._limits.outbox_age)

    def _refuse(self, status: int, error: tuple[int, str], reason: str) -> web.Response:
        self._metrics.refused.labels(reason).inc()
        body: Mapping[str, object] = {"code": error[0], "message": error[1]}
        return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")


def _to_handshake(request: web.Request, proxies: TrustedProxies) -> Handshake:
    headers = request.headers
    return Handshake(
        headers={name: headers[name] for name in _KEPT_HEADERS if name in headers},
        query={name: value for name, value in request.query.items() if name not in _OWN_QUERY},
        remote=proxies.find_client(request.remote or "", headers.getall("X-Forwarded-For", ())),
    )
