"""Accepts connections at an address, a few in each turn of the loop: thousands may come at once."""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable
from itertools import islice
from typing import Final

import structlog

from bridge.telemetry.sparing import Sparing

_BACKLOG: Final = 4096
"""Connections that wait in the kernel for their turn: thousands come back at once after a deploy."""
_AT_ONCE: Final = 8
"""In one turn of the loop, whose own server accepts all that wait."""
_HANDSHAKE_SECONDS: Final = 10.0
"""How long a client may take to agree on the encryption."""
_NO_FILES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE_SECONDS: Final = 0.1
"""When there are no files left: one may be, soon."""

log = structlog.get_logger(__name__)


class Acceptor:
    """Gives each connection a protocol of its own."""

    def __init__(
        self,
        make_protocol: Callable[[], asyncio.Protocol],
        context: ssl.SSLContext | None,
        *,
        most_under_way: int = 1000,
    ) -> None:
        """So many may be about to agree on the encryption: who is for longest gives way to another."""
        self._make_protocol = make_protocol
        self._most_under_way = most_under_way
        self._context = context
        self._listeners: list[socket.socket] = []
        self._under_way: dict[asyncio.Task[None], socket.socket | None] = {}
        """With what nobody but us has, until the loop's transport has it."""
        self._timers: dict[socket.socket, asyncio.TimerHandle] = {}
        self._sparing = Sparing()

    async def open(self, host: str, port: int, *, is_shared: bool) -> None:
        """Listen on all addresses of a host; OSError when one cannot be had.

        Other processes may listen there too when it `is_shared`.
        """
        loop = asyncio.get_running_loop()
        kind, flags = socket.SOCK_STREAM, socket.AI_PASSIVE
        found = await loop.getaddrinfo(host or None, port, type=kind, flags=flags)
        try:
            for family, _, _, _, address in dict.fromkeys(found):
                listener = socket.create_server(
                    address, family=family, backlog=_BACKLOG, reuse_port=is_shared
                )
                listener.setblocking(False)
                self._listeners.append(listener)
        except OSError:
            await self.close()
            raise
        for listener in self._listeners:
            loop.add_reader(listener, self._accept, listener)

    @property
    def number(self) -> int:
        """The TCP port that it listens on."""
        number: int = self._listeners[0].getsockname()[1]
        return number

    async def close(self) -> None:
        """Listen no more; what is not yet a connection will never be one."""
        loop = asyncio.get_running_loop()
        for timer in self._timers.values():
            timer.cancel()
        for listener in self._listeners:
            loop.remove_reader(listener)
            listener.close()
        self._listeners.clear()
        for task in list(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _accept(self, listener: socket.socket) -> None:
        try:
            for _ in range(_AT_ONCE):
                connection, _ = listener.accept()
                connection.setblocking(False)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                task = asyncio.get_running_loop().create_task(self._serve(connection))
                self._under_way[task] = connection
                task.add_done_callback(self._forget)
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            pass
        except OSError as error:
            if error.errno not in _NO_FILES:
                raise
            self._pause(listener)
        for task in list(islice(self._under_way, max(0, len(self._under_way) - self._most_under_way))):
            task.cancel()

    def _pause(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        if self._sparing.may_say("files", loop.time()):
            log.error("files.none_left", remedy="raise `ulimit -n` or LimitNOFILE")
        loop.remove_reader(listener)
        go_on = loop.call_later(_PAUSE_SECONDS, loop.add_reader, listener, self._accept, listener)
        self._timers[listener] = go_on

    def _forget(self, task: asyncio.Task[None]) -> None:
        connection = self._under_way.pop(task)
        if connection is not None:  # it ended before it began
            connection.close()

    async def _serve(self, connection: socket.socket) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  it runs in one
        self._under_way[task] = None
        # A client that goes away before it has agreed on the encryption is nobody's concern.
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().connect_accepted_socket(
                self._make_protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=_HANDSHAKE_SECONDS if self._context is not None else None,
            )
