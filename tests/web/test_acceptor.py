"""The acceptor: a few connections in each turn of the loop, and what becomes of those that are too many."""

import asyncio
import contextlib
import itertools
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bridge.config.model import Tls
from bridge.web.acceptor import Acceptor
from bridge.web.tls import make_tls_context
from tests.support.amqp import until
from tests.support.certificates import make_certificate


class Greeting(asyncio.Protocol):
    """Says hello, and hangs up."""

    made = 0
    """Since the test began."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        type(self).made += 1
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


@pytest.fixture
async def acceptor() -> AsyncIterator[Acceptor]:
    """One that listens on loopback."""
    Greeting.made = 0
    acceptor = Acceptor(Greeting, None)
    await acceptor.open("127.0.0.1", 0, is_shared=False)
    yield acceptor
    await acceptor.close()


@contextlib.contextmanager
def connected(number: int, count: int) -> Iterator[list[socket.socket]]:
    """So many connections, made by the kernel before anybody has accepted one."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection(("127.0.0.1", number), timeout=5))
            for _ in range(count)
        ]


async def test_all_are_accepted_a_few_in_each_turn(acceptor: Acceptor) -> None:
    """However many wait; others have their turn in between."""
    with connected(acceptor.number, 100) as clients:
        seen = []
        while Greeting.made < 100:
            seen.append(Greeting.made)
            await asyncio.sleep(0)
        assert max(after - before for before, after in itertools.pairwise(seen)) <= 8
        await asyncio.to_thread(lambda: [client.recv(10) for client in clients])


async def test_it_listens_on_all_addresses_of_a_host() -> None:
    """IPv6 among them, where there is any."""
    acceptor = Acceptor(Greeting, None)
    await acceptor.open("", 0, is_shared=True)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", acceptor.number)
        assert await reader.read() == b"hello"
        writer.close()
    finally:
        await acceptor.close()


async def test_after_its_end_nobody_gets_in(acceptor: Acceptor) -> None:
    """And nothing of it is left open."""
    number = acceptor.number
    await acceptor.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", number)


async def test_without_files_it_waits_for_some(acceptor: Acceptor) -> None:
    """The connection stays in the kernel until one is free; nobody spins, and operators are told."""
    with connected(acceptor.number, 1) as clients, capture_logs() as logs:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        try:
            await until(lambda: logs)
            assert Greeting.made == 0
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert await asyncio.to_thread(clients[0].recv, 10) == b"hello"
    assert [line["event"] for line in logs] == ["files.none_left"]


async def test_who_does_not_agree_on_the_encryption_gives_way(tmp_path: Path) -> None:
    """A stranger may open any number of connections and say nothing on them."""
    certificate, key = make_certificate(tmp_path)
    context = make_tls_context(Tls(certificate=str(certificate), key=str(key)), "bridge.yaml")
    acceptor = Acceptor(Greeting, context, most_under_way=5)
    await acceptor.open("127.0.0.1", 0, is_shared=False)
    try:
        with connected(acceptor.number, 12) as clients:
            await until(lambda: len(acceptor._under_way) == 5)
            assert await asyncio.to_thread(clients[0].recv, 10) == b""
    finally:
        await acceptor.close()
