"""The port that clients connect to, and how much it takes from a stranger before anybody knows who it is."""

import asyncio
import socket
import ssl
from math import inf
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

BACKLOG: Final = 4096
"""Connections that the kernel holds while the loop is busy: thousands come back at once after a deploy."""
KEEPALIVE: Final = 60.0
"""Seconds for which a connection without a whole request is kept; longer than the ping interval of polling
clients."""
HEAD_BYTES: Final = 16_384
"""Headers of a request: a token of 8 kB, and cookies."""
_UNREAD_SECONDS: Final = 60
"""How long a client may take nothing of an answer."""


class Port:
    """Serves an application."""

    def __init__(self, application: web.Application, payload: int) -> None:
        """`payload` is the largest body that a request may have, in bytes."""
        application.middlewares.append(_bound_request)
        self._payload = payload
        self._runner = web.AppRunner(
            application,
            handler_cancellation=True,  # else only a ping notices that a poll was given up
            shutdown_timeout=1.0,
        )
        self._server: asyncio.Server | None = None

    async def open(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        """Listen; raises OSError when the address cannot be had."""
        await self._runner.setup()
        server = self._runner.server
        assert server is not None  # noqa: S101  since it is set up
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Intake(server, loop, self._payload), host, port, ssl=context, backlog=BACKLOG
        )

    async def close(self) -> None:
        """Stop listening, and end what is still being answered."""
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()


class Intake(web.RequestHandler):
    """One TCP connection, which is cut when it sends far ahead of what it is answered.

    aiohttp reads 32 requests ahead while it answers one, each with a megabyte of headers: behind a poll that
    waits, a stranger could pile up 30 MB. No client of ours sends a request before the last one is answered.
    """

    __slots__ = ("_left", "_payload")

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop, payload: int) -> None:
        # An access log would show tokens of the query, and connection ids.
        super().__init__(server, loop=loop, access_log=None, keepalive_timeout=KEEPALIVE)  # type: ignore[arg-type]
        self._payload = payload
        self._left: float = 0
        self.allow(endless=False)

    def allow(self, *, endless: bool) -> None:
        """Let one more body and head come; of a websocket whatever comes, since it bounds its messages."""
        self._left = inf if endless else self._payload + 2 * HEAD_BYTES

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have the kernel cut a client that reads nothing of what it asked for: nobody else would notice."""
        super().connection_made(transport)
        option = getattr(socket, "TCP_USER_TIMEOUT", None)  # on Linux alone
        if option is not None:
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, option, _UNREAD_SECONDS * 1000)

    def data_received(self, data: bytes) -> None:
        """Take what has come, unless it is too much."""
        self._left -= len(data)
        if self._left >= 0:
            super().data_received(data)
        elif self.transport is not None:
            self.transport.abort()


@web.middleware
async def _bound_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let the next request come while this one is answered; refuse one with too many headers."""
    if isinstance(request.protocol, Intake):
        request.protocol.allow(endless=request.headers.get("Upgrade", "").lower() == "websocket")
    if sum(len(name) + len(value) for name, value in request.raw_headers) > HEAD_BYTES:
        refused = web.Response(status=431)
        refused.force_close()  # a connection that is kept keeps its last request as well
        return refused
    return await handler(request)
