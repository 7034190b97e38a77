"""Connections that reached another worker than their client's: the whole socket goes to the right one.

Behind one port the kernel spreads TCP connections over the workers, while the state of a client is in one
of them. A polling client comes with several connections, and with one more when it changes to a websocket.
The worker that finds another one's id in a request gives that the socket itself (`SCM_RIGHTS`), with what
it has read: it costs once, and nothing afterwards.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Final

from aiohttp import web

from bridge.telemetry.metrics import Metrics
from bridge.web.worker import Worker

Adopt = Callable[[socket.socket, bytes], Awaitable[object]]
"""Serves a connection from then on; the bytes are what its client has sent already."""

_WORD: Final = "handover"
_BACKLOG: Final = 4096
_SECONDS: Final = 5.0
"""How long a worker may take to send what it has read."""
_PIECE: Final = 65536
_PAUSE: Final = 0.1
"""Before connections are taken again, when the process has no files left."""


class Handover:
    """Gives connections to other workers, and takes those that are this one's."""

    def __init__(self, worker: Worker, metrics: Metrics) -> None:
        self._worker = worker
        self._given = metrics.handovers.labels("given")
        self._taken = metrics.handovers.labels("taken")
        self._lost = metrics.handovers.labels("lost")
        self._listener: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, adopt: Adopt) -> None:
        """Take connections of others from now on."""
        path = self._worker.socket_path(_WORD)
        with suppress(FileNotFoundError):
            os.unlink(path)  # of the process that had this number before
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        self._listener.bind(path)
        self._listener.listen(_BACKLOG)
        self._spawn(self._listen(self._listener, adopt))

    async def close(self) -> None:
        """Take no more of them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()

    def find_owner(self, request: web.Request) -> int | None:
        """The other worker whose connection the request names."""
        sid = request.query.get("sid")
        return None if sid is None else self._worker.find_owner(sid)

    def reach(self, owner: int) -> socket.socket | None:
        """A link to that worker; None when it does not run, and its connections are gone with it.

        HTTPServiceUnavailable when it runs and too many are on their way to it, or no file is left for one:
        its clients are not told that it does not know them.
        """
        try:
            link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError as error:
            raise self._lose() from error
        link.setblocking(False)
        try:
            link.connect(self._worker.socket_path(_WORD, owner))
        except BlockingIOError as error:
            link.close()
            raise self._lose() from error
        except OSError:
            link.close()
            return None
        return link

    def _lose(self) -> web.HTTPServiceUnavailable:
        """A connection that cannot be given now; the client comes again."""
        self._lost.inc()
        refused = web.HTTPServiceUnavailable()
        refused.force_close()
        return refused

    def give(self, link: socket.socket, connection: socket.socket, heard: bytes) -> None:
        """Give a connection away, with what its client has sent so far."""
        with connection:
            try:
                sent = socket.send_fds(link, [heard], [connection.fileno()])
            except OSError:  # too many sockets are on their way; the client connects again
                self._lost.inc()
                link.close()
                return
        self._given.inc()
        if sent == len(heard):
            link.close()
        else:
            self._spawn(self._send_rest(link, heard[sent:]))

    async def _send_rest(self, link: socket.socket, rest: bytes) -> None:
        with link, suppress(OSError, TimeoutError):
            async with asyncio.timeout(_SECONDS):
                await asyncio.get_running_loop().sock_sendall(link, rest)

    async def _listen(self, listener: socket.socket, adopt: Adopt) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                link, _ = await loop.sock_accept(listener)
            except OSError:
                await asyncio.sleep(_PAUSE)
            else:
                self._spawn(self._take(link, adopt))

    async def _take(self, link: socket.socket, adopt: Adopt) -> None:
        connection: socket.socket | None = None
        try:
            with link:
                async with asyncio.timeout(_SECONDS):
                    connection, heard = await _receive(link)
            await adopt(connection, heard)
        except (OSError, ValueError, TimeoutError):
            self._lost.inc()
            if connection is not None:
                connection.close()
        else:
            self._taken.inc()

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _receive(link: socket.socket) -> tuple[socket.socket, bytes]:
    """The connection that is given, and what its client has sent; raises OSError when none comes."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(link, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(link)
    data, files, _, _ = socket.recv_fds(link, _PIECE, 1)
    if not files:
        raise ConnectionError("no connection was given")
    connection = socket.socket(fileno=files[0])
    try:
        connection.setblocking(False)
        while piece := await loop.sock_recv(link, _PIECE):
            data += piece
    except BaseException:
        connection.close()
        raise
    return connection, data
