"""Connections that reach another worker than their client's: two ports in one process, each a worker."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from bridge.telemetry.metrics import Metrics
from bridge.web.handover import Handover
from bridge.web.port import Port
from bridge.web.worker import Worker
from bridge.workload import Workload
from tests.support.daemon import free_port

PAYLOAD = 1_000_000


class Member:
    """One worker: it answers with its number, and says what became of those that wait."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number = number
        self.port_number = free_port()
        self.waiting = asyncio.Event()
        self.gone = asyncio.Event()
        self.taken = asyncio.Event()
        """It has read the head of a POST."""
        self.metrics = Metrics()
        worker = Worker(number=number, count=3, folder=folder)
        app = web.Application()
        app.add_routes([web.get("/", self._get), web.post("/", self._post), web.get("/wait", self._wait)])
        self.port = Port(app, PAYLOAD, Workload(), Handover(worker, self.metrics))

    def count(self, outcome: str) -> float:
        """Of the metric."""
        return self.metrics.registry.get_sample_value("bridged_handovers_total", {"outcome": outcome}) or 0

    async def _get(self, request: web.Request) -> web.Response:
        return web.Response(text=f"{self.number} {request.remote}")

    async def _post(self, request: web.Request) -> web.Response:
        self.taken.set()
        return web.Response(text=f"{self.number} {len(await request.read())}")

    async def _wait(self, _request: web.Request) -> web.Response:
        self.waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.gone.set()
        return web.Response()


@asynccontextmanager
async def start(number: int, folder: Path) -> AsyncIterator[Member]:
    """Open a worker's port, which is its own here."""
    member = Member(number, folder)
    await member.port.open("127.0.0.1", member.port_number, None)
    try:
        yield member
    finally:
        await member.port.close()


async def ask(session: aiohttp.ClientSession, member: Member) -> str:
    """What is answered to a request that reaches one worker and is for the second."""
    async with session.get(f"http://127.0.0.1:{member.port_number}/", params={"sid": "2.x"}) as answer:
        return await answer.text()


@pytest.fixture
async def members(tmp_path: Path) -> AsyncIterator[tuple[Member, Member]]:
    """Workers 1 and 2 of three; the third does not run."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(start(1, tmp_path))
        yield first, await stack.enter_async_context(start(2, tmp_path))


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client with one connection to each port, which it keeps."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit_per_host=1)) as session:
        yield session


async def test_a_request_is_answered_by_the_worker_that_its_id_names(
    members: tuple[Member, Member], session: aiohttp.ClientSession
) -> None:
    """By its own as always; the connection then stays with whoever got it, until an id names another."""
    first, second = members
    url = f"http://127.0.0.1:{first.port_number}/"
    for sid, number in [("1.a", 1), ("2.b", 2), (None, 2), ("2.c", 2), ("1.d", 1), (None, 1)]:
        async with session.get(url, params={"sid": sid} if sid else {}) as answer:
            assert await answer.text() == f"{number} 127.0.0.1"
    assert (first.count("given"), first.count("taken")) == (1, 1)
    assert (second.count("given"), second.count("taken")) == (1, 1)


UNKNOWN = ["3.dead", "4.none", "0.x", "01.x", "999.x", "1000.x", "x", "", "2", "-2.x", "\uff12.x"]


@pytest.mark.parametrize("sid", UNKNOWN)
async def test_who_names_no_running_worker_stays(
    members: tuple[Member, Member], session: aiohttp.ClientSession, sid: str
) -> None:
    """And is told there that nobody knows the id."""
    url = f"http://127.0.0.1:{members[0].port_number}/"
    async with session.get(url, params={"sid": sid}) as answer:
        assert await answer.text() == "1 127.0.0.1"


@pytest.mark.parametrize("size", [0, 1, 60_000, PAYLOAD])
async def test_a_body_goes_along(
    members: tuple[Member, Member], session: aiohttp.ClientSession, size: int
) -> None:
    """Whole, however much of it has been read when the id was found."""
    url = f"http://127.0.0.1:{members[0].port_number}/?sid=2.x"
    for _ in range(3):
        async with session.post(url, data=bytes(size)) as answer:
            assert await answer.text() == f"2 {size}"


async def test_a_request_in_pieces_is_given_when_its_head_is_whole(members: tuple[Member, Member]) -> None:
    """And the rest of its body is read by whoever got it."""
    first, second = members
    reader, writer = await asyncio.open_connection("127.0.0.1", first.port_number)
    for piece in (b"\r\nPOST /?sid=2.x HTTP/1.1\r\nHos", b"t: x\r\nContent-Length: 8\r\n\r\n123"):
        writer.write(piece)
        await writer.drain()
    async with asyncio.timeout(5):
        await second.taken.wait()
    writer.write(b"45678")
    async with asyncio.timeout(5):
        assert (await reader.readuntil(b"2 8")).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_requests_sent_ahead_go_along(members: tuple[Member, Member]) -> None:
    """All that came behind the first one is for whoever got that."""
    reader, writer = await asyncio.open_connection("127.0.0.1", members[0].port_number)
    writer.write(b"GET /?sid=2.x HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        for _ in range(2):
            assert b"200" in await reader.readuntil(b"2 127.0.0.1")
    writer.close()


async def test_a_request_that_was_sent_ahead_is_not_given(members: tuple[Member, Member]) -> None:
    """What was heard begins somewhere in it: it is refused, and the connection closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", members[0].port_number)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /?sid=2.x HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        answers = await reader.read()
    assert answers.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 400" in answers
    writer.close()


async def test_who_hangs_up_while_another_worker_lets_it_wait_is_noticed(
    members: tuple[Member, Member],
) -> None:
    """As if that worker had accepted the connection."""
    first, second = members
    _, writer = await asyncio.open_connection("127.0.0.1", first.port_number)
    writer.write(b"GET /wait?sid=2.x HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        await second.waiting.wait()
        assert not second.gone.is_set()
        writer.close()
        await second.gone.wait()


async def test_the_answer_ends_with_the_worker(members: tuple[Member, Member], tmp_path: Path) -> None:
    """A connection that was given away is closed by nobody else, and its files neither."""
    first, second = members
    reader, writer = await asyncio.open_connection("127.0.0.1", first.port_number)
    writer.write(b"GET /wait?sid=2.x HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        await second.waiting.wait()
        await second.port.close()
        assert await reader.read() == b""
    writer.close()


async def test_a_worker_that_is_started_again_takes_connections(tmp_path: Path) -> None:
    """At the place of the one before, whose socket lies there still."""
    async with start(1, tmp_path) as first, aiohttp.ClientSession() as session:
        for _ in range(2):
            async with start(2, tmp_path):
                assert (await ask(session, first)).startswith("2 ")
            assert (await ask(session, first)).startswith("1 ")


async def test_a_worker_to_which_too_many_are_on_their_way_is_not_said_to_be_gone(tmp_path: Path) -> None:
    """It knows the id, and has no time at the moment: 503, and the next request stands on its own."""
    async with start(1, tmp_path) as first, aiohttp.ClientSession() as session:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as busy, contextlib.ExitStack() as waiting:
            busy.bind(str(tmp_path / "2.handover"))
            busy.listen(0)
            with contextlib.suppress(BlockingIOError):
                while True:
                    link = waiting.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                    link.setblocking(False)
                    link.connect(str(tmp_path / "2.handover"))
            url = f"http://127.0.0.1:{first.port_number}/"
            async with session.get(url, params={"sid": "2.x"}) as answer:
                assert (answer.status, answer.headers["connection"]) == (503, "close")
            async with session.get(url, params={"sid": "1.x"}) as answer:
                assert answer.status == 200
    assert first.count("lost") == 1


async def test_a_link_that_gives_nothing_is_dropped(members: tuple[Member, Member], tmp_path: Path) -> None:
    """Its worker has died; the one that waited goes on."""
    first, second = members
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.connect(str(tmp_path / "2.handover"))
        link.sendall(b"nothing")
    async with aiohttp.ClientSession() as session:
        assert (await ask(session, first)).startswith("2 ")
    assert second.count("lost") == 1
