"""A server that says to AMQP clients what a test tells it to, and keeps what they say."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from bridge.amqp.address import Address
from tests.support.broker_bytes import LOGIN


class FakeBroker:
    """Says its bytes to each client at once, then listens."""

    def __init__(self, says: bytes) -> None:
        self._says = says
        self.heard = b""
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with suppress(OSError):
            writer.write(self._says)
            while data := await reader.read(2**16):
                self.heard += data
        writer.close()


@asynccontextmanager
async def fake_broker(says: bytes) -> AsyncIterator[tuple[FakeBroker, Address]]:
    """A server on loopback, and where it is."""
    broker = FakeBroker(says)
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield broker, Address(host="127.0.0.1", port=port, login=LOGIN, tls=None)
    finally:
        server.close()
        for writer in broker.writers:
            writer.transport.abort()
        await server.wait_closed()


class FakeCarrier:
    """A connection without a socket that keeps what is written; implements `bridge.amqp.channel.Carrier`."""

    frame_max = 131_072

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.pauses = 0
        self.closed: list[int] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close_channel(self, number: int) -> None:
        self.closed.append(number)

    @property
    def paused(self) -> bool:
        return self.pauses > 0

    def pause(self) -> None:
        self.pauses += 1

    def resume(self) -> None:
        self.pauses -= 1
