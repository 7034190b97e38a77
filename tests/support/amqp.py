"""Helpers of the tests of the RabbitMQ edge: a service that publishes, a handler that records."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from aiormq.abc import AbstractChannel
from pamqp.commands import Basic

from bridge.amqp.topology import Topology
from bridge.config.model import Amqp
from bridge.model import Delivery

EXCHANGE = "portal.events"
TOPOLOGY = Topology(exchanges=(EXCHANGE, "portal.commands"), bindings=((EXCHANGE, "project.*.*"),))


def make_config(url: str, **changes: object) -> Amqp:
    """The default configuration of a broker."""
    return Amqp(url=url, **changes)  # type: ignore[arg-type]


class Recorder:
    """A handler of events that keeps them, and lets a test wait for a number of them."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.batches: list[int] = []
        self.caught_up_after: int | None = None
        self._changed = asyncio.Condition()

    async def handle(self, batch: Sequence[Delivery]) -> None:
        self.batches.append(len(batch))
        self.deliveries.extend(batch)
        async with self._changed:
            self._changed.notify_all()

    def on_caught_up(self) -> None:
        assert self.caught_up_after is None, "caught up twice"
        self.caught_up_after = len(self.deliveries)

    async def wait_for(self, count: int, within: float = 30.0) -> None:
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(lambda: len(self.deliveries) >= count)

    @property
    def bodies(self) -> list[bytes]:
        return [delivery.body for delivery in self.deliveries]


async def until(condition: Callable[[], object], within: float = 30.0) -> None:
    """Wait for a condition that nothing announces."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110  that is what this is for
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(work: Awaitable[None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run something for ever beside the test, and end it with the test."""
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def send(channel: AbstractChannel, *bodies: bytes, key: str = "project.apollo.state_change") -> None:
    """Publish bodies in order and wait for all confirms."""
    await asyncio.gather(
        *(
            channel.basic_publish(
                body,
                exchange=EXCHANGE,
                routing_key=key,
                properties=Basic.Properties(delivery_mode=2, content_type="application/json"),
            )
            for body in bodies
        )
    )
