"""Connections in the hands of aiohttp, and out of them: all that it, and uvloop, are trusted with in silence.

Everywhere else their documented names do. Here what comes is counted before aiohttp gets it, aiohttp is told
that a connection is lost when it is not, and what waits inside of uvloop's TLS is kept visible. Nobody has
promised any of that: so the versions are exactly those of pyproject.toml, `check_versions` refuses others,
and tests/test_intake.py holds each expectation (docs/decisions/0014).
"""

import asyncio
import os
import socket
from collections.abc import Mapping
from importlib import metadata
from typing import Final, Protocol

from aiohttp import web

from bridge.errors import BridgeError

VERSIONS: Final[Mapping[str, str]] = {"aiohttp": "3.14.5", "uvloop": "0.23.0"}
"""What is expected here was found in these."""
KEEPALIVE: Final = 60.0
"""Seconds for which a connection without a whole request is kept; longer than the ping interval of polling
clients."""
HEAD_BYTES: Final = 16_384
"""Headers of a request: a token of 8 kB, and cookies."""
PIECE: Final = 65_536
"""Bytes that are written at once, of what must be seen to leave: to TLS, and as the answer to a poll."""
_UNREAD_SECONDS: Final = 60
"""How long a client may take nothing of an answer."""


class VersionError(BridgeError):
    """A library is installed in another version than the bridge was made for."""


def check_versions(installed: Mapping[str, str] | None = None) -> None:
    """Make sure that the libraries are those that are expected here; VersionError names all that are not."""
    if installed is None:
        installed = {name: metadata.version(name) for name in VERSIONS}
    wrong = [
        f"{name} {installed[name]} is installed, and {version} is expected"
        for name, version in VERSIONS.items()
        if installed[name] != version
    ]
    if wrong:
        raise VersionError("; ".join(wrong))


class Crowd(Protocol):
    """Who is told which connections there are."""

    def enter(self, intake: "Intake") -> None:
        """One was accepted."""

    def occupy(self, intake: "Intake") -> None:
        """It must not be asked to give way any more."""

    def leave(self) -> None:
        """One has ended."""


class Intake(web.RequestHandler):
    """One TCP connection, which is cut when it sends far ahead of what it is answered.

    aiohttp reads 32 requests ahead while it answers one, each with a megabyte of headers: behind a poll that
    waits, a stranger could pile up 30 MB. No client of ours sends a request before the last one is answered.
    What comes to a websocket does not come this way: its connection has been taken over by then.
    """

    __slots__ = ("_counts", "_crowd", "_heard", "_left", "_payload", "_record")

    def __init__(
        self,
        server: web.Server,
        loop: asyncio.AbstractEventLoop,
        crowd: Crowd,
        payload: int,
        *,
        records: bool = False,
        heard: bytes = b"",
    ) -> None:
        """`records` keeps what comes until its request is known; `heard` is what came before."""
        # An access log would show tokens of the query, and connection ids.
        super().__init__(server, loop=loop, access_log=None, keepalive_timeout=KEEPALIVE)  # type: ignore[arg-type]
        self._crowd = crowd
        self._counts = False
        """It is one of the crowd's; whoever takes it over may be that instead."""
        self._payload = payload
        self._left = 0
        self._heard = heard
        self._record: bytearray | None = bytearray() if records else None
        self.allow()

    def allow(self) -> None:
        """Let one more body and head come."""
        self._left = self._payload + 2 * HEAD_BYTES

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Have the kernel cut a client that reads nothing of what it asked for: nobody else would notice."""
        super().connection_made(transport)
        option = getattr(socket, "TCP_USER_TIMEOUT", None)  # on Linux alone
        if option is not None:
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, option, _UNREAD_SECONDS * 1000)
        self._counts = True
        self._crowd.enter(self)
        if self._heard:
            heard, self._heard = self._heard, b""
            self.data_received(heard)

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is gone, or given away."""
        self._stop_counting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come, unless it is too much."""
        self._left -= len(data)
        if self._record is not None:
            self._record += data
        if self._left >= 0:
            super().data_received(data)
        else:
            self.cut()

    def cut(self) -> None:
        """End it at once."""
        if self.transport is not None:
            self.transport.abort()
            self._stop_counting()  # aiohttp is told a turn of the loop later

    def _stop_counting(self) -> None:
        self._crowd.occupy(self)
        if self._counts:
            self._counts = False
            self._crowd.leave()

    def await_next(self, *, records: bool) -> None:
        """The answer is made: a client that waited for it begins its next request from now on."""
        self.allow()
        self._record = bytearray() if records else None

    def end_record(self) -> bytes:
        """What has come of the request, and perhaps behind it; keep no more."""
        heard = bytes(self._record or b"")
        self._record = None
        return heard

    def let_go(self) -> socket.socket | None:
        """The connection, which this process reads and writes no more; None when it is lost."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return None
        transport.pause_reading()
        connection = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        self._part(transport, asyncio.Protocol())
        transport.abort()
        return connection

    def _part(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        """Make aiohttp forget the connection: its parser, the request with its headers, and its task."""
        self.transport = None  # else aiohttp would close it in good order
        transport.set_protocol(protocol)
        self.connection_lost(None)


class Heir(asyncio.Protocol):
    """Whoever takes a connection over: one of the crowd for as long as that lives."""

    __slots__ = ("_crowd",)

    _crowd: Crowd

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._crowd.leave()


class _Early:
    """Takes what came in behind the request; a client should wait for its answer, and some do not."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take it as aiohttp's parsers do: not the end, nothing left."""
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        """Nothing more comes this way."""


def take_over(request: web.Request, heir: Heir) -> tuple[asyncio.Transport, bytes] | None:
    """Give the request's connection to the heir; returns it, and what came in behind the request.

    None when it is lost. What the handler returns afterwards goes nowhere. aiohttp would keep its parser, the
    request and its headers, three coroutines and a task for as long as a websocket lives, 9 kB, and wake a
    task up for each message.
    """
    intake, transport = request.protocol, request.transport
    assert isinstance(intake, Intake)  # noqa: S101  all that is served came in by one
    if transport is None or transport.is_closing():
        return None
    early = _Early()
    intake.set_parser(early)  # type: ignore[arg-type]  # it wants aiohttp's own, of which it calls only these
    heir._crowd, intake._counts = intake._crowd, False
    intake._part(transport, heir)
    if not transport.is_reading():  # aiohttp pauses when much has come early
        transport.resume_reading()
    if transport.get_extra_info("sslcontext") is not None:
        return PiecewiseTransport(transport), early.data
    return transport, early.data


class PiecewiseTransport(asyncio.Transport):
    """A TLS connection that tells of what waits in it.

    uvloop hands all that is written at once to the socket underneath, and counts only what comes when that
    has more than 64 kB: a megabyte in one write would wait unseen, and a client that reads nothing would not
    count as slow. In pieces no more than two of them are unseen, or what waited when the client read on.
    """

    __slots__ = ("_inner",)

    def __init__(self, inner: asyncio.Transport) -> None:
        self._inner = inner

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write a piece after the other."""
        if len(data) <= PIECE:
            self._inner.write(data)
            return
        view = memoryview(data)
        for at in range(0, len(view), PIECE):
            self._inner.write(view[at : at + PIECE])

    def get_write_buffer_size(self) -> int:
        """Bytes that wait, as far as uvloop tells."""
        return self._inner.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When the protocol is told that writing is to pause, and to go on."""
        self._inner.set_write_buffer_limits(high, low)

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._inner.is_closing()

    def is_reading(self) -> bool:
        """Whether what comes is taken."""
        return self._inner.is_reading()

    def pause_reading(self) -> None:
        """Let what comes wait in the network."""
        self._inner.pause_reading()

    def resume_reading(self) -> None:
        """Take it again."""
        self._inner.resume_reading()

    def close(self) -> None:
        """End it when all has been written."""
        self._inner.close()

    def abort(self) -> None:
        """End it at once."""
        self._inner.abort()
