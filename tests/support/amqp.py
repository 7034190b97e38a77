"""Helpers of the tests of the RabbitMQ edge: a service that publishes, a handler that records."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from aiormq.abc import AbstractChannel
from pamqp.commands import Basic

from bridge.amqp.topology import Topology
from bridge.config.model import Amqp
from bridge.flow.ports import Publisher
from bridge.model import LOG_EXCHANGE, Delivery, PublishMessage, PublishOutcome

EXCHANGE = "portal.events"
TOPOLOGY = Topology(exchanges=(EXCHANGE, "portal.commands"), bindings=((EXCHANGE, "project.*.*"),))


def make_config(url: str, **changes: object) -> Amqp:
    """The default configuration of a broker."""
    return Amqp(url=url, **changes)  # type: ignore[arg-type]


class Recorder:
    """A handler of deliveries that keeps the events, and lets a test wait for a number of them."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.batches: list[int] = []
        self.caught_up_after: int | None = None
        self.epochs_after: list[int] = []

    def handle(self, batch: Sequence[Delivery]) -> None:
        events = [delivery for delivery in batch if delivery.exchange != LOG_EXCHANGE]
        if not events:
            return
        self.batches.append(len(events))
        self.deliveries.extend(events)

    def on_caught_up(self) -> None:
        assert self.caught_up_after is None, "caught up twice"
        self.caught_up_after = len(self.deliveries)

    def on_new_epoch(self) -> None:
        self.epochs_after.append(len(self.deliveries))

    async def wait_for(self, count: int, within: float = 30.0) -> None:
        await until(lambda: len(self.deliveries) >= count, within)

    @property
    def bodies(self) -> list[bytes]:
        return [delivery.body for delivery in self.deliveries]


async def until(condition: Callable[[], object], within: float = 30.0) -> None:
    """Wait for a condition that nothing announces."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110  that is what this is for
            await asyncio.sleep(0.01)


def without_debug() -> None:
    """For tests under load: asyncio's debug mode notes a traceback per task, 20 times as slow."""
    asyncio.get_running_loop().set_debug(False)


@asynccontextmanager
async def running(work: Awaitable[None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run something for ever beside the test, and end it with the test."""
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def send(
    channel: AbstractChannel,
    *bodies: bytes,
    key: str = "project.apollo.state_change",
    message_id: str | None = None,
) -> None:
    """Publish bodies in order and wait for all confirms; each has an id of its own, unless all have one."""
    await asyncio.gather(
        *(
            channel.basic_publish(
                body,
                exchange=EXCHANGE,
                routing_key=key,
                properties=Basic.Properties(
                    delivery_mode=2, content_type="application/json", message_id=message_id
                ),
            )
            for body in bodies
        )
    )


class Load:
    """A service that publishes numbered events with confirms until it is stopped, and keeps the outcomes."""

    def __init__(self, publisher: Publisher, pace: int = 20) -> None:
        self._publisher = publisher
        self._pace = pace
        self._number = 0
        self._stopping = False
        self._stopped = asyncio.Event()
        self.confirmed: set[bytes] = set()
        self.uncertain: set[bytes] = set()

    def next_message(self, key: str = "project.apollo.state_change") -> PublishMessage:
        self._number += 1
        return PublishMessage(
            exchange=EXCHANGE,
            routing_key=key,
            body=b"%d" % self._number,
            message_id=f"load-{self._number}",
            type="test",
            timestamp=float(self._number),
        )

    async def run(self) -> None:
        """Publish in bursts; while the broker is away, keep trying with further events."""
        while not self._stopping:
            messages = [self.next_message() for _ in range(self._pace)]
            outcomes = await asyncio.gather(*map(self._publisher.publish, messages))
            for message, outcome in zip(messages, outcomes, strict=True):
                if outcome is PublishOutcome.CONFIRMED:
                    self.confirmed.add(message.body)
                elif outcome is PublishOutcome.UNKNOWN_OUTCOME:
                    self.uncertain.add(message.body)
            await asyncio.sleep(0.01)
        self._stopped.set()

    async def stop(self) -> None:
        """Stop and wait for the last confirms."""
        self._stopping = True
        async with asyncio.timeout(30):
            await self._stopped.wait()

    def check(self, received: Sequence[bytes]) -> None:
        """Every confirmed event exactly once, an uncertain one at most once, nothing else, all in order."""
        assert len(received) == len(set(received)), "some event came twice"
        assert self.confirmed <= set(received), "some confirmed event was lost"
        assert set(received) <= self.confirmed | self.uncertain, "some event was said not to be sent"
        numbers = [int(body) for body in received]
        assert numbers == sorted(numbers)
