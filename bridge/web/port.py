"""The port that clients connect to, and how much it takes from a stranger before anybody knows who it is."""

import asyncio
import socket
import ssl
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from bridge.intake import HEAD_BYTES, Intake
from bridge.web.acceptor import Acceptor
from bridge.web.crowd import Crowd, find_most_connections
from bridge.web.handover import Handover
from bridge.workload import Workload

_REQUEST_SECONDS: Final = 0.0002
"""What most requests take of the loop."""


class Port:
    """Serves an application."""

    def __init__(
        self,
        application: web.Application,
        payload: int,
        workload: Workload,
        handover: Handover | None = None,
        *,
        most_connections: int | None = None,
    ) -> None:
        """`payload` is the largest body that a request may have, in bytes; requests wait in the `workload`.

        With a `handover` the port is one that other processes listen on too. A connection without a request
        gives way to a further one when there are `most_connections`; unless given, as many as files allow.
        """
        application.middlewares.append(self._bound_request)
        self._payload = payload
        self._workload = workload
        self._handover = handover
        self._crowd = Crowd(find_most_connections() if most_connections is None else most_connections)
        self._runner = web.AppRunner(
            application,
            handler_cancellation=True,  # else only a ping notices that a poll was given up
            shutdown_timeout=1.0,
        )
        self._acceptor: Acceptor | None = None

    async def open(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        """Listen; raises OSError when the address cannot be had."""
        await self._runner.setup()
        self._acceptor = Acceptor(self._make_intake, context)
        await self._acceptor.open(host, port, is_shared=self._handover is not None)
        if self._handover is not None:
            await self._handover.open(self._adopt)

    async def close(self) -> None:
        """Stop listening, and end what is still being answered."""
        if self._acceptor is not None:
            await self._acceptor.close()
        self._crowd.close()
        if self._handover is not None:
            await self._handover.close()
        await self._runner.cleanup()

    @property
    def number(self) -> int:
        """The TCP port that it listens on."""
        assert self._acceptor is not None  # noqa: S101  it is open
        return self._acceptor.number

    def _make_intake(self, heard: bytes = b"") -> Intake:
        server = self._runner.server
        assert server is not None  # noqa: S101  since it is set up
        loop = asyncio.get_running_loop()
        records = self._handover is not None
        return Intake(server, loop, self._crowd, self._payload, records=records, heard=heard)

    async def _adopt(self, connection: socket.socket, heard: bytes) -> None:
        """Serve a connection that another process accepted."""
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: self._make_intake(heard), connection)

    @web.middleware
    async def _bound_request(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let the next request come while this one is answered; refuse one with too many headers."""
        intake = request.protocol
        assert isinstance(intake, Intake)  # noqa: S101  all that is served here came in by one
        intake.allow()
        self._crowd.occupy(intake)
        await self._workload.wait(_REQUEST_SECONDS)
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
            self._crowd.rest(intake)

    @staticmethod
    def _give(
        handover: Handover, request: web.Request, intake: Intake, link: socket.socket, heard: bytes
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


def _refuse(status: int) -> web.Response:
    refused = web.Response(status=status)
    refused.force_close()  # a connection that is kept keeps its last request as well
    return refused
