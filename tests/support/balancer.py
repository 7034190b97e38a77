"""A TCP balancer before several daemons: round robin, and the next one where nobody listens."""

import asyncio
from collections.abc import Sequence
from itertools import count
from types import TracebackType
from typing import Self, cast

from tests.support.beside import Beside


class Balancer:
    """`with Balancer(ports) as balancer`: what clients connect to is `balancer.url`.

    It looks at nothing but whether a connection can be made, as the simplest of its kind do: a daemon that
    drains is still asked, and refuses by itself.
    """

    def __init__(self, targets: Sequence[int]) -> None:
        self._targets = list(targets)
        self._turns = count()
        self._beside = Beside()
        self.ends: set[_End] = set()
        """All open connections, towards clients and daemons."""
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Where clients connect to."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._beside.__enter__()
        self._beside.run(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._beside.run(self._close())
        self._beside.__exit__(kind, error, trace)

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Inward(self), "127.0.0.1", 0, backlog=4096)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        for end in tuple(self.ends):
            end.abort()
        await asyncio.sleep(0)  # the transports close in the next turn

    async def connect(self, inward: "_Inward") -> None:
        """Find a daemon for a client that has connected; without any it is sent away."""
        loop = asyncio.get_running_loop()
        turn = next(self._turns)
        for step in range(len(self._targets)):
            port = self._targets[(turn + step) % len(self._targets)]
            try:
                await loop.create_connection(lambda: _Outward(self, inward), "127.0.0.1", port)
            except OSError:
                continue
            return
        inward.abort()


class _End(asyncio.Protocol):
    """One end of a connection: what comes in goes out at the other end."""

    def __init__(self, balancer: Balancer) -> None:
        self.balancer = balancer
        self.transport: asyncio.Transport | None = None
        self.other: _End | None = None
        self.early = b""
        """What came before there was another end."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass
        self.balancer.ends.add(self)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.early += data
        elif self.other.transport is not None:
            self.other.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.balancer.ends.discard(self)
        self.transport = None
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def abort(self) -> None:
        """Reset the connection."""
        if self.transport is not None:
            self.transport.abort()


class _Inward(_End):
    """The end towards a client."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._finding = asyncio.get_running_loop().create_task(self.balancer.connect(self))


class _Outward(_End):
    """The end towards a daemon."""

    def __init__(self, balancer: Balancer, inward: _Inward) -> None:
        super().__init__(balancer)
        self.other = inward

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.other is not None
        assert self.transport is not None
        if self.other.transport is None:
            self.transport.close()  # the client has gone meanwhile
            return
        self.other.other = self
        self.transport.write(self.other.early)
        self.other.early = b""
