"""Too many connections: those without a request give way, and some files are never taken."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web

from bridge.intake import Heir, take_over
from bridge.web.crowd import OTHER_FILES, find_most_connections
from bridge.web.port import Port
from bridge.workload import Workload
from tests.support.amqp import until

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
WAIT = b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"
TAKE = b"GET /take HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
MOST = 10


class Owner(Heir):
    """Takes a connection over."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None

    async def take(self, request: web.Request) -> web.Response:
        """As a websocket does."""
        taken = take_over(request, self)
        assert taken is not None
        self.transport = taken[0]
        self.transport.write(b"mine")
        return web.Response()


class Site:
    """A port with few connections, and what became of its requests."""

    def __init__(self) -> None:
        self.waiting = self.given_up = 0
        app = web.Application()
        self.owners: list[Owner] = []
        app.add_routes(
            [web.get("/", self._answer), web.get("/wait", self._wait), web.get("/take", self._take)]
        )
        self.port = Port(app, 1000, Workload(), most_connections=MOST)

    @asynccontextmanager
    async def visit(self, request: bytes = b"") -> AsyncIterator[asyncio.StreamReader]:
        """Connect, and send that."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port.number)
        try:
            writer.write(request)
            yield reader
        finally:
            writer.transport.abort()

    async def _answer(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _wait(self, _request: web.Request) -> web.Response:
        self.waiting += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.given_up += 1
        return web.Response()

    async def _take(self, request: web.Request) -> web.Response:
        self.owners.append(Owner())
        return await self.owners[-1].take(request)


@asynccontextmanager
async def opened() -> AsyncIterator[Site]:
    """A site that serves."""
    site = Site()
    await site.port.open("127.0.0.1", 0, None)
    try:
        yield site
    finally:
        await site.port.close()


def is_closed(reader: asyncio.StreamReader) -> bool:
    """Whether the connection has ended, with or without a word."""
    return reader.at_eof() or reader.exception() is not None


async def test_who_asks_for_nothing_gives_way() -> None:
    """The one that has for longest, whether it sent nothing or half a request, or has its answer."""
    async with opened() as site, AsyncExitStack() as visits:
        early = [await visits.enter_async_context(site.visit(sent)) for sent in (b"", ASK[:10], ASK)]
        await early[-1].readuntil(b"ok")
        late = [await visits.enter_async_context(site.visit()) for _ in range(MOST)]
        await until(lambda: all(map(is_closed, early)))
        async with site.visit(ASK) as reader:
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        assert [is_closed(reader) for reader in late] == [True] + [False] * (MOST - 1)


async def test_who_waits_for_an_answer_stays() -> None:
    """However many come; when all that are there wait, it is the newcomer that is turned away."""
    async with opened() as site, AsyncExitStack() as visits:
        readers = [await visits.enter_async_context(site.visit(WAIT)) for _ in range(2 * MOST)]
        await until(lambda: sum(map(is_closed, readers)) == MOST)
        await until(lambda: site.waiting == MOST)
        assert site.given_up == 0


async def test_who_was_taken_over_counts_until_it_ends() -> None:
    """A websocket needs its file, asks for nothing here, and never gives way."""
    async with opened() as site, AsyncExitStack() as visits:
        taken = [await visits.enter_async_context(site.visit(TAKE)) for _ in range(MOST)]
        for reader in taken:
            await reader.readexactly(4)
        turned_away = await visits.enter_async_context(site.visit(ASK))
        await until(lambda: is_closed(turned_away))
        for owner in site.owners:
            assert owner.transport is not None
            owner.transport.close()
        await until(lambda: all(map(is_closed, taken)))
        for _ in range(3):
            async with site.visit(ASK) as reader:
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        again = [await visits.enter_async_context(site.visit(WAIT)) for _ in range(MOST + 1)]
        await until(lambda: site.waiting == MOST)
        await until(lambda: sum(map(is_closed, again)) == 1)


async def test_who_was_accepted_just_when_the_port_closed_is_cut() -> None:
    """Nobody would ever end it."""
    async with opened() as site:
        site.port._crowd.close()
        async with site.visit(ASK) as reader:
            await until(lambda: is_closed(reader))


def test_some_files_are_kept_for_the_broker() -> None:
    """There are no more connections than this process may open files, but for these."""
    most, soft = find_most_connections(), resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert most == (None if soft == resource.RLIM_INFINITY else max(soft - OTHER_FILES, soft // 2))
