"""One connection to RabbitMQ that is kept up: connect, watch for silence, back off, connect again.

This stands on aiormq, the layer under aio-pika: only there can the transport be chosen, and only the
transport sees every byte. aiormq's own check for a dead peer takes three heartbeats and more, and an
answer to a request is no proof of life either: during a memory alarm the broker reads nothing from a
publisher, yet goes on sending heartbeats.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Literal, SupportsIndex, cast

import aiormq
import structlog
from aiormq import Channel
from aiormq.abc import AbstractConnection
from aiormq.connection import TransportFactory
from aiormq.exceptions import AMQPError, ChannelInvalidStateError
from yarl import URL

from bridge.amqp.decoding import tolerate_odd_properties
from bridge.config.model import Amqp
from bridge.errors import BridgeError
from bridge.telemetry.metrics import Metrics

_FIRST_DELAY: Final = 0.1
_LONGEST_DELAY: Final = 2.0
_CLOSE_TIMEOUT: Final = 3.0
_READ_BUFFER: Final = 2**18
_EXPECTED: Final = (AMQPError, OSError, TimeoutError, ChannelInvalidStateError, BridgeError)

log = structlog.get_logger(__name__)


class LinkLostError(BridgeError):
    """The connection is gone, or what it was needed for; another one will be made."""


class HandlerFailedError(BridgeError):
    """The code that was given events raised: a broken promise, so reading ends with it."""


class Link:
    """One established connection, from its handshake to its loss."""

    def __init__(
        self, connection: AbstractConnection, transport: "_WatchedTransport", silence: float
    ) -> None:
        self._connection = connection
        self._transport = transport
        self._silence = silence
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self.lost: asyncio.Future[Any] = connection.closing
        """Done when the connection is gone; wait for it with `asyncio.wait`, it may hold any exception."""
        self._check()

    async def channel(self, *, confirms: bool = False) -> Channel:
        """Open a channel; with `confirms`, its `basic_publish` returns when the broker has the message."""
        return cast(Channel, await self._connection.channel(publisher_confirms=confirms))

    async def unblocked(self) -> None:
        """Return once the broker takes messages: at once, except during a memory or disk alarm."""
        await self._connection.ready()

    async def until_lost(self) -> None:
        """Wait for the end of the connection."""
        await asyncio.wait([self.lost])

    async def close(self) -> None:
        """Say goodbye and close; whatever hangs is cut after three seconds."""
        if self._timer is not None:
            self._timer.cancel()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await self._connection.close()
        self._transport.abort()

    def _check(self) -> None:
        quiet = self._transport.quiet_for()
        if quiet > self._silence:
            log.warning("broker.silent", seconds=round(quiet, 1))
            self._transport.abort()
            return
        self._timer = self._loop.call_later(min(1.0, self._silence / 4), self._check)


class BrokerConnection:
    """Keeps one connection up for ever and hands each new one to whoever needs it."""

    def __init__(
        self, config: Amqp, name: Literal["read", "publish"], metrics: Metrics, instance_id: str = ""
    ) -> None:
        self._config = config
        self._name = name
        self._gauge = metrics.broker_up.labels(name)
        self._gauge.set(0)
        self._last_warning: tuple[str, str] | None = None
        self._title = f"bridged {instance_id} {name}".replace("  ", " ")
        self._url = _parse_url(config.url)
        tolerate_odd_properties()
        self.generation = 0
        """How many times the connection was established."""
        self.up_since: float | None = None
        """`time.monotonic()` since which it works; None while it does not."""
        self.down_since: float | None = time.monotonic()
        """`time.monotonic()` since which it does not work; None while it does."""

    async def run(self, serve: Callable[[Link], Awaitable[None]]) -> None:
        """Connect, let `serve` use the link until it is lost, back off, connect again; until cancelled.

        `serve` calls `mark_up` once it has what it needs: a connection without its consumer is down.
        It is not cancelled when the link is lost, so that what it has begun it can finish: it has to
        watch `link.lost`. Only `HandlerFailedError` ends the loop.
        """
        failures = 0
        while True:
            try:
                await self._serve_once(serve)
                reason: BaseException | None = None
            except HandlerFailedError:
                raise
            except asyncio.CancelledError as error:
                # aiormq also cancels what waits on a connection that breaks: that is not ours.
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise
                reason = error
            except Exception as error:
                reason = error
            failures = 1 if self.up_since is not None else failures + 1
            self._mark_down(reason)
            await asyncio.sleep(_delay(failures))

    def mark_up(self) -> None:
        """The current link does all that it is for."""
        if self.up_since is None:
            self.up_since, self.down_since = time.monotonic(), None
            self._gauge.set(1)
            self._last_warning = None
            log.info("broker.up", connection=self._name, generation=self.generation)

    def _mark_down(self, reason: BaseException | None) -> None:
        event = "broker.unavailable" if self.up_since is None else "broker.lost"
        self.up_since = None
        if self.down_since is None:
            self.down_since = time.monotonic()
        self._gauge.set(0)
        text = "connection closed" if reason is None else f"{type(reason).__name__}: {reason}"
        # An outage is one warning, not one for every attempt.
        write = log.debug if (event, text) == self._last_warning else log.warning
        self._last_warning = (event, text)
        surprise = reason if isinstance(reason, Exception) and _is_surprise(reason) else None
        write(event, connection=self._name, reason=text, exc_info=surprise)

    async def _serve_once(self, serve: Callable[[Link], Awaitable[None]]) -> None:
        link = await self.connect()
        self.generation += 1
        try:
            await serve(link)
        finally:
            await asyncio.shield(link.close())

    async def connect(self) -> Link:
        """Make one connection, which the caller closes: `run` makes those that are kept up."""
        transport = _WatchedTransport()
        heartbeat = max(1, round(self._config.heartbeat))
        try:
            async with asyncio.timeout(self._config.connect_timeout):
                connection = await aiormq.connect(
                    self._url.update_query(heartbeat=str(heartbeat)),
                    client_properties={"connection_name": self._title},
                    transport_factory=transport,
                )
        except BaseException:
            transport.abort()
            raise
        return Link(connection, transport, silence=2.0 * heartbeat)


class _WatchedReader(asyncio.StreamReader):
    """A stream that knows when the last byte came."""

    last_byte = 0.0

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        self.last_byte = time.monotonic()
        super().feed_data(data)


class _WatchedTransport(TransportFactory):
    """Opens the TCP or TLS connection and keeps hold of it, to see its silence and to cut it."""

    def __init__(self) -> None:
        self._reader: _WatchedReader | None = None
        self._transport: asyncio.WriteTransport | None = None

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        tls = await kwargs["ssl_context_provider"].get_context() if url.scheme == "amqps" else None
        reader = _WatchedReader(limit=_READ_BUFFER, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.create_connection(lambda: protocol, url.host or "", url.port or 0, ssl=tls)
        reader.last_byte = time.monotonic()
        self._reader, self._transport = reader, transport
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    def quiet_for(self) -> float:
        """Seconds since the last byte from the broker."""
        return 0.0 if self._reader is None else time.monotonic() - self._reader.last_byte

    def abort(self) -> None:
        """Cut the connection without a goodbye; idempotent."""
        if self._transport is not None:
            self._transport.abort()


def _delay(failures: int) -> float:
    """Seconds before the next attempt: growing, and jittered so that instances do not come in step."""
    longest = min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(failures - 1, 10))
    return random.uniform(longest / 2, longest)  # noqa: S311  no secret


def _is_surprise(reason: Exception) -> bool:
    # aiormq rejects what waits on a lost connection with a bare Exception.
    return type(reason) is not Exception and not isinstance(reason, _EXPECTED)


def _parse_url(text: str) -> URL:
    """The AMQP URL; the error names no part of it, since it holds a password."""
    try:
        url = URL(text)
        valid = url.scheme in ("amqp", "amqps") and bool(url.host)
    except ValueError:
        valid = False
    if not valid:
        raise BridgeError("amqp.url is no AMQP URL (write amqp://user:password@host:port/vhost)")
    return url
