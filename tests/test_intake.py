"""What aiohttp and uvloop are trusted with: a version in which one of these fails is not for the bridge."""

import asyncio
import gc
import re
import ssl
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from packaging.requirements import Requirement

from bridge.cli.exits import Exit
from bridge.intake import PIECE, VERSIONS, Heir, VersionError, check_versions, take_over
from bridge.web.port import Port
from bridge.workload import Workload
from tests.support.amqp import until
from tests.support.certificates import make_certificate
from tests.support.command import run_bridged
from tests.support.hostile import read_nothing
from tests.support.loops import on_uvloop

ROOT = Path(__file__).parent.parent
UPGRADE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class Taker(Heir):
    """Takes the connection of a request over, at once or when it is let, and keeps what comes."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.got = b""
        self.ends = 0
        self.changed = asyncio.Event()
        self.may = asyncio.Event()
        self.may.set()

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a request, though not as aiohttp would."""
        transport = request.transport
        assert transport is not None
        await self.may.wait()
        taken = take_over(request, self)
        assert taken is not None
        self.transport, early = taken
        self.transport.set_write_buffer_limits(high=PIECE)
        self.data_received(early)
        return web.Response(text="for nobody")

    def data_received(self, data: bytes) -> None:
        self.got += data
        self.changed.set()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.ends += 1
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something that it is told makes the condition true."""
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def opened(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]], context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """The number of a port behind which everything is handled so."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    port = Port(app, 1_000_000, Workload())
    await port.open("127.0.0.1", 0, context)
    try:
        yield port.number
    finally:
        await port.close()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client's connection; uvloop waits in vain for one that a test which fails leaves open."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("size", [0, 1, 1000, 500_000])
def test_what_comes_early_is_handed_on(size: int) -> None:
    """Whatever a client sends behind its handshake, before it is answered and after, and in this order."""
    early, late = bytes(range(256)) * (size // 256) + bytes(size % 256), b"late"

    async def go() -> None:
        taker = Taker()
        async with opened(taker.handle) as port, connected(port) as (_, writer):
            writer.write(UPGRADE + early)
            await writer.drain()
            await taker.until(lambda: taker.got == early and taker.transport is not None)
            writer.write(late)
            await taker.until(lambda: taker.got == early + late)
            writer.close()
            await taker.until(lambda: taker.ends == 1)

    on_uvloop(go)()


@on_uvloop
async def test_a_connection_that_aiohttp_has_paused_is_read_on() -> None:
    """It pauses when much waits behind a handshake; nothing of that may be lost or stay in the network."""
    taker, paused = Taker(), asyncio.Event()
    taker.may.clear()

    async def handle(request: web.Request) -> web.Response:
        transport = request.transport
        assert transport is not None
        await until(lambda: not transport.is_reading())
        paused.set()
        return await taker.handle(request)

    async with opened(handle) as port, connected(port) as (_, writer):
        writer.write(UPGRADE + b"e" * 500_000)
        async with asyncio.timeout(10):
            await paused.wait()
        taker.may.set()
        await taker.until(lambda: len(taker.got) == 500_000)
        writer.write(b"late")
        await taker.until(lambda: taker.got.endswith(b"late"))
        writer.close()
        await taker.until(lambda: taker.ends == 1)


@on_uvloop
async def test_what_the_handler_returns_goes_nowhere() -> None:
    """All that the client reads from then on is what its new owner writes."""
    taker = Taker()
    async with opened(taker.handle) as port, connected(port) as (reader, writer):
        writer.write(UPGRADE)
        await taker.until(lambda: taker.transport is not None)
        assert taker.transport is not None
        taker.transport.write(b"mine")
        taker.transport.close()
        async with asyncio.timeout(10):
            assert await reader.read() == b"mine"
        await taker.until(lambda: taker.ends == 1)


@on_uvloop
async def test_aiohttp_keeps_nothing() -> None:
    """Neither its protocol nor the request nor a task: that is what makes ten thousand of them cheap."""
    taker = Taker()
    async with opened(taker.handle) as port, connected(port) as (_, writer):
        writer.write(UPGRADE)
        await taker.until(lambda: taker.transport is not None)
        await until(lambda: not kept_of_aiohttp())  # once the handler has returned


def kept_of_aiohttp() -> bool:
    """Whether anything is there that aiohttp has for a connection or a request."""
    gc.collect()
    return any(isinstance(thing, web.Request | web.RequestHandler) for thing in gc.get_objects()) or any(
        "RequestHandler" in repr(task) for task in asyncio.all_tasks()
    )


@on_uvloop
async def test_a_closed_port_leaves_what_was_taken_over() -> None:
    """Whoever took it ends it."""
    taker = Taker()
    async with AsyncExitStack() as stack:
        async with opened(taker.handle) as port:
            _, writer = await stack.enter_async_context(connected(port))
            writer.write(UPGRADE)
            await taker.until(lambda: taker.transport is not None)
        assert taker.transport is not None
        assert not taker.transport.is_closing()
        writer.write(b"still")
        await taker.until(lambda: taker.got == b"still")
        taker.transport.abort()
        await taker.until(lambda: taker.ends == 1)


@pytest.mark.parametrize("size", [PIECE, 20_000_000])
def test_what_waits_behind_tls_is_told(tmp_path: Path, size: int) -> None:
    """All but two pieces, and what the kernel holds; in one write uvloop would tell of nothing."""
    certificate, key = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def go() -> None:
        taker = Taker()
        async with (
            opened(taker.handle, context) as port,
            read_nothing(port, ssl.create_default_context(cafile=str(certificate))) as writer,
        ):
            writer.write(UPGRADE)
            await taker.until(lambda: taker.transport is not None)
            transport = taker.transport
            assert transport is not None
            for _ in range(20_000_000 // size):
                transport.write(bytes(size))
            assert transport.get_write_buffer_size() > 19_000_000 - kernel_holds() - 3 * PIECE
            transport.abort()
            await taker.until(lambda: taker.ends == 1)

    on_uvloop(go)()


def kernel_holds() -> int:
    """The most that the kernel keeps of what was sent to a client with a small buffer."""
    return int(Path("/proc/sys/net/ipv4/tcp_wmem").read_text(encoding="ascii").split()[2]) + 2 * PIECE


def test_other_versions_are_named() -> None:
    """Each with what was found and what is expected; those that are expected pass."""
    check_versions(VERSIONS)
    with pytest.raises(VersionError) as caught:
        check_versions({"aiohttp": "4.0.0", "uvloop": "0.1"})
    assert str(caught.value) == (
        f"aiohttp 4.0.0 is installed, and {VERSIONS['aiohttp']} is expected; "
        f"uvloop 0.1 is installed, and {VERSIONS['uvloop']} is expected"
    )


def test_the_daemon_does_not_start_with_another_version(tmp_path: Path) -> None:
    """It says so in one line, with the remedy."""
    (tmp_path / "aiohttp-3.99.0.dist-info").mkdir()
    (tmp_path / "aiohttp-3.99.0.dist-info" / "METADATA").write_text("Name: aiohttp\nVersion: 3.99.0\n")
    done = run_bridged("run", environ={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == Exit.FAULTS
    assert done.stderr.splitlines() == [
        f"bridged: aiohttp 3.99.0 is installed, and {VERSIONS['aiohttp']} is expected",
        "hint: install what bridged is locked to: `make setup`, or `pip install -r requirements.txt`",
    ]


def test_these_versions_are_what_is_installed() -> None:
    """The one that is expected is the one that pyproject.toml asks for, exactly."""
    check_versions()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {wanted.name: str(wanted.specifier) for wanted in map(Requirement, project["dependencies"])}
    assert {name: asked[name] for name in VERSIONS} == {name: f"=={VERSIONS[name]}" for name in VERSIONS}


def test_nobody_else_reaches_into_aiohttp() -> None:
    """What is expected of it stands in one module."""
    inside = re.compile(r"RequestHandler|set_parser|connection_lost\(None\)|\.transport = None|sslcontext")
    found = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "bridge").rglob("*.py")
        if inside.search(file.read_text(encoding="utf-8"))
    }
    assert found == {"bridge/intake.py"}
