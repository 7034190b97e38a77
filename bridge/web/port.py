"""The port that clients connect to, and how much it takes from a stranger before anybody knows who it is."""

import asyncio
import os
import socket
import ssl
from math import inf
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from bridge.web.handover import Handover

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

    def __init__(self, application: web.Application, payload: int, handover: Handover | None = None) -> None:
        """`payload` is the largest body that a request may have, in bytes.

        With a `handover` the port is one that other processes listen on too.
        """
        application.middlewares.append(self._bound_request)
        self._payload = payload
        self._handover = handover
        self._runner = web.AppRunner(
            application,
            handler_cancellation=True,  # else only a ping notices that a poll was given up
            shutdown_timeout=1.0,
        )
        self._server: asyncio.Server | None = None

    async def open(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        """Listen; raises OSError when the address cannot be had."""
        await self._runner.setup()
        self._server = await asyncio.get_running_loop().create_server(
            self._make_intake,
            host,
            port,
            ssl=context,
            backlog=BACKLOG,
            reuse_port=self._handover is not None,
        )
        if self._handover is not None:
            await self._handover.open(self._adopt)

    async def close(self) -> None:
        """Stop listening, and end what is still being answered."""
        if self._server is not None:
            self._server.close()
        if self._handover is not None:
            await self._handover.close()
        await self._runner.cleanup()

    def _make_intake(self, heard: bytes = b"") -> "Intake":
        server = self._runner.server
        assert server is not None  # noqa: S101  since it is set up
        loop = asyncio.get_running_loop()
        return Intake(server, loop, self._payload, records=self._handover is not None, heard=heard)

    async def _adopt(self, connection: socket.socket, heard: bytes) -> None:
        """Serve a connection that another process accepted."""
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: self._make_intake(heard), connection)

    @web.middleware
    async def _bound_request(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let the next request come while this one is answered; refuse one with too many headers."""
        intake = request.protocol
        assert isinstance(intake, Intake)  # noqa: S101  all that is served here came in by one
        intake.allow(endless=request.headers.get("Upgrade", "").lower() == "websocket")
        if sum(len(name) + len(value) for name, value in request.raw_headers) > HEAD_BYTES:
            return _refuse(431)
        if self._handover is not None:
            heard = intake.end_record()
            owner = self._handover.find_owner(request)
            link = None if owner is None else self._handover.reach(owner)
            if link is not None:
                return self._give(self._handover, request, intake, link, heard)
        try:
            return await handler(request)
        finally:
            intake.await_next(records=self._handover is not None)

    @staticmethod
    def _give(
        handover: Handover, request: web.Request, intake: "Intake", link: socket.socket, heard: bytes
    ) -> web.Response:
        """Give the connection to another process; what is returned goes nowhere then."""
        start = f"{request.method} {request.raw_path} HTTP/".encode("utf-8", "surrogateescape")
        if not heard.lstrip(b"\r\n").startswith(start):
            # Sent ahead of the last answer: where it begins in what was heard is not known.
            link.close()
            return _refuse(400)
        connection = intake.let_go()
        if connection is None:
            link.close()
        else:
            handover.give(link, connection, heard)
        return web.Response()


class Intake(web.RequestHandler):
    """One TCP connection, which is cut when it sends far ahead of what it is answered.

    aiohttp reads 32 requests ahead while it answers one, each with a megabyte of headers: behind a poll that
    waits, a stranger could pile up 30 MB. No client of ours sends a request before the last one is answered.
    """

    __slots__ = ("_heard", "_left", "_payload", "_record")

    def __init__(
        self,
        server: web.Server,
        loop: asyncio.AbstractEventLoop,
        payload: int,
        *,
        records: bool = False,
        heard: bytes = b"",
    ) -> None:
        """`records` keeps what comes until its request is known; `heard` is what came before."""
        # An access log would show tokens of the query, and connection ids.
        super().__init__(server, loop=loop, access_log=None, keepalive_timeout=KEEPALIVE)  # type: ignore[arg-type]
        self._payload = payload
        self._left: float = 0
        self._heard = heard
        self._record: bytearray | None = bytearray() if records else None
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
        if self._heard:
            heard, self._heard = self._heard, b""
            self.data_received(heard)

    def data_received(self, data: bytes) -> None:
        """Take what has come, unless it is too much."""
        self._left -= len(data)
        if self._record is not None:
            self._record += data
        if self._left >= 0:
            super().data_received(data)
        elif self.transport is not None:
            self.transport.abort()

    def await_next(self, *, records: bool) -> None:
        """The answer is made: a client that waited for it begins its next request from now on."""
        self.allow(endless=False)
        self._record = bytearray() if records else None

    def end_record(self) -> bytes:
        """What has come of the request, and perhaps behind it; keep no more."""
        heard = bytes(self._record or b"")
        self._record = None
        return heard

    def let_go(self) -> socket.socket | None:
        """The connection, which this process reads and writes no more; None when it is lost."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return None
        transport.pause_reading()
        connection = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        self.transport = None  # else aiohttp would close it in good order
        transport.set_protocol(asyncio.Protocol())
        self.connection_lost(None)
        transport.abort()
        return connection


def _refuse(status: int) -> web.Response:
    refused = web.Response(status=status)
    refused.force_close()  # a connection that is kept keeps its last request as well
    return refused
