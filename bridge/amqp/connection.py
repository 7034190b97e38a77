"""One connection to RabbitMQ that is kept up: connect, hand it out, back off, connect again."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal

import structlog

from bridge.amqp.address import parse_address
from bridge.amqp.link import Link
from bridge.config.model import Amqp
from bridge.errors import BridgeError
from bridge.telemetry.metrics import Metrics

SETUP_SECONDS: Final = 30.0
"""How long a new connection may take until it has all that it is for."""
_FIRST_DELAY: Final = 0.1
_LONGEST_DELAY: Final = 1.0
"""Seconds; after a broker's return clients are to get events again within 3."""
_EXPECTED: Final = (OSError, TimeoutError, BridgeError)

log = structlog.get_logger(__name__)


class HandlerFailedError(BridgeError):
    """The code that was given events raised: a broken promise, so reading ends with it."""


class BrokerConnection:
    """Keeps one connection up for ever and hands each new one to whoever needs it."""

    def __init__(
        self, config: Amqp, name: Literal["read", "publish", "live"], metrics: Metrics, instance_id: str = ""
    ) -> None:
        self._config = config
        self._name = name
        self._gauge = metrics.broker_up.labels(name)
        self._gauge.set(0)
        self._last_warning: tuple[str, str] | None = None
        self._title = f"bridged {instance_id} {name}".replace("  ", " ")
        self._address = parse_address(config.url)
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
                reason: Exception | None = None
            except HandlerFailedError:
                raise
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

    def _mark_down(self, reason: Exception | None) -> None:
        event = "broker.unavailable" if self.up_since is None else "broker.lost"
        self.up_since = None
        if self.down_since is None:
            self.down_since = time.monotonic()
        self._gauge.set(0)
        text = "connection closed" if reason is None else f"{type(reason).__name__}: {reason}"
        # An outage is one warning, not one for every attempt.
        write = log.debug if (event, text) == self._last_warning else log.warning
        self._last_warning = (event, text)
        surprise = None if isinstance(reason, _EXPECTED) else reason
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
        heartbeat = max(1, round(self._config.heartbeat))
        async with asyncio.timeout(self._config.connect_timeout):
            return await Link.connect(self._address, self._title, heartbeat)


def _delay(failures: int) -> float:
    """Seconds before the next attempt: growing, and jittered so that instances do not come in step."""
    longest = min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(failures - 1, 10))
    return random.uniform(longest / 2, longest)  # noqa: S311  no secret
