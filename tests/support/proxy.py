"""A TCP proxy that breaks connections on purpose: delays, drops, holds, trickles, resets."""

import asyncio
import contextlib
import socket
import struct
from types import TracebackType
from typing import Literal, Self

from yarl import URL

from tests.support.fakes import settle

Direction = Literal["to_server", "to_client"]
_BOTH: tuple[Direction, Direction] = ("to_server", "to_client")


class Proxy:
    """Stands before one server on loopback; faults apply to open and to new connections alike."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = {direction: asyncio.Event() for direction in _BOTH}
        self._dropping: set[Direction] = set()
        self._refusing = False
        self._delay = 0.0
        self._chunk = 2**16
        self.port = 0
        self.accepted = 0
        """Connections so far."""
        self.pass_on()

    @classmethod
    def before(cls, url: str) -> Self:
        """A proxy before the server of this URL."""
        port = URL(url).port
        assert port is not None
        return cls(port)

    def url(self, url: str) -> str:
        """The same URL, through the proxy."""
        return str(URL(url).with_host("127.0.0.1").with_port(self.port))

    async def __aenter__(self) -> Self:
        self._refusing = False  # it may be entered again
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._refusing = True
        for listener in self._server.sockets:
            asyncio.get_running_loop().remove_reader(listener.fileno())
        # Whoever was being accepted comes a few turns of the loop later; asyncio's server, once it is closed,
        # would leave their sockets open.
        await settle()
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    def pass_on(self) -> None:
        """End all faults; bytes that were held go on."""
        self._delay, self._chunk = 0.0, 2**16
        self._dropping.clear()
        self._refusing = False
        for event in self._open.values():
            event.set()

    def lead_to(self, port: int) -> None:
        """Lead new connections to another server, as a balancer does; those that stand stay."""
        self._target = port

    def hold(self, *directions: Direction) -> None:
        """Keep what comes in these directions (both, if none is named) until `pass_on`."""
        for direction in directions or _BOTH:
            self._open[direction].clear()

    def drop(self, *directions: Direction) -> None:
        """Swallow what comes in these directions (both, if none is named): a half-open connection."""
        self._dropping.update(directions or _BOTH)

    def delay(self, seconds: float) -> None:
        """Let every chunk wait."""
        self._delay = seconds

    def trickle(self, size: int, seconds: float = 0.001) -> None:
        """Pass on a few bytes at a time."""
        self._chunk, self._delay = size, seconds

    def reset(self) -> None:
        """Reset (RST) all open connections."""
        for writer in self._writers:
            connection = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def refuse(self) -> None:
        """Reset all open connections, and new ones at once: the server is away."""
        self._refusing = True
        self.reset()

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Know of a connection at once: a task that is cancelled before it begins would leave it open."""
        self.accepted += 1
        if self._refusing:
            writer.transport.abort()
            return
        self._writers.add(writer)
        task = asyncio.create_task(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream: asyncio.StreamWriter | None = None
        try:
            server, upstream = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.add(upstream)
            pumps = [
                asyncio.create_task(self._pump(reader, upstream, "to_server")),
                asyncio.create_task(self._pump(server, writer, "to_client")),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in (writer, upstream):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(self._chunk):
                if self._delay:
                    await asyncio.sleep(self._delay)
                await self._open[direction].wait()
                if direction not in self._dropping:
                    writer.write(data)
                    await writer.drain()
