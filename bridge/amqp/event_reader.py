"""Reads events in order, from the shared stream or from a queue of this instance's own.

What RabbitMQ 3.10 does with the place that a consumer of a stream asks for:

- an offset below the floor, since the stream was trimmed: it silently starts at the floor;
- the offset after the last: it starts with the next event;
- an offset further beyond the end: nothing arrives, and every event below that offset is skipped for
  ever; this is also what an old offset does on a stream that was deleted and declared anew;
- `last`: it starts with the last chunk, which may hold many events;
- the stream is deleted: the broker cancels the consumer (Basic.Cancel) and keeps the channel.

What was confirmed to a publisher outlives a SIGKILL of the broker, at the same offset.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from msgspec import Struct

from bridge.amqp.channel import ChannelClosedError
from bridge.amqp.connection import BrokerConnection, HandlerFailedError
from bridge.amqp.deliveries import checksum_of, to_delivery
from bridge.amqp.link import Link
from bridge.amqp.markers import publish_marker
from bridge.amqp.subscription import Subscription
from bridge.amqp.topology import (
    MARKER_KEY,
    PRECONDITION_FAILED,
    Topology,
    TopologyError,
    declare_log,
    declare_queue,
)
from bridge.config.model import Amqp
from bridge.flow.ports import HandleBatch
from bridge.model import LOG_EXCHANGE, Delivery
from bridge.telemetry.metrics import Metrics

_SETUP_TIMEOUT: Final = 30.0

log = structlog.get_logger(__name__)


class _Position(Struct, frozen=True):
    """The last event that was handled, and how to know it again."""

    offset: int
    checksum: int


class StreamReader:
    """Reads the stream from its beginning, for ever: every event once to the handler, in log order.

    After a loss it resumes AT the last event that it handled. That very event must arrive first: else
    the log was trimmed past it or replaced, and reading begins anew with the first event that there is
    (a new epoch). Implements `flow.ports.EventReader`.
    """

    def __init__(
        self,
        config: Amqp,
        topology: Topology,
        instance_id: str,
        metrics: Metrics,
        on_caught_up: Callable[[], None],
        read_before: Callable[[Link, BrokerConnection], Awaitable[None]] | None = None,
    ) -> None:
        """`on_caught_up` is called once: when all that was in the log at the start has been handled.

        `read_before` is awaited before the first event of an epoch: it reads what has outlived the log.
        """
        self.connection = BrokerConnection(config, "read", metrics, instance_id)
        """Its `up_since` and `down_since` say how reading fares; without a consumer it is down."""
        self._config = config
        self._topology = topology
        self._instance_id = instance_id
        self._restarts = metrics.reader_restarts
        self._on_caught_up: Callable[[], None] | None = on_caught_up
        self._read_before = read_before
        self._position: _Position | None = None

    async def run(self, handle: HandleBatch) -> None:
        """Read until cancelled. An exception of `handle` ends it, as HandlerFailedError."""
        await self.connection.run(lambda link: self._read(link, handle))

    async def _read(self, link: Link, handle: HandleBatch) -> None:
        async with asyncio.timeout(_SETUP_TIMEOUT):
            await declare_log(link, self._config, self._topology)
            end = await self._find_end(link)
            subscription = await self._resume(link, end)
        if subscription is None:
            if self._read_before is not None:
                await self._read_before(link, self.connection)
            async with asyncio.timeout(_SETUP_TIMEOUT):
                subscription = await self._open(link, "first")
        self.connection.mark_up()
        await _pump(subscription, self._config, lambda deliveries: self._hand_over(deliveries, end, handle))

    async def _find_end(self, link: Link) -> int:
        """The offset of a marker that is published now: the log reaches at least that far."""
        probe = await self._open(link, "next")
        marker = await publish_marker(self.connection, self._instance_id, LOG_EXCHANGE, MARKER_KEY)
        while True:
            contents = await probe.take(self._config.prefetch)
            for delivery in map(to_delivery, contents):
                if delivery.message_id == marker:
                    await probe.close()
                    return self._offset(delivery)
            probe.acknowledge(contents[-1])

    async def _resume(self, link: Link, end: int) -> Subscription | None:
        """Consume from the last position; None without one, or when it no longer means the same event."""
        position = self._position
        if position is None:
            return None
        found: _Position | None = None
        if position.offset < end:  # beyond the end nothing would ever arrive
            subscription = await self._open(link, position.offset)
            found = self._position_of(to_delivery((await subscription.take(1))[0]))
            if found == position:
                self._restarts.labels("resumed").inc()
                return subscription
            await subscription.close()
        self._restarts.labels("new_epoch").inc()
        log.warning(
            "log.new_epoch",
            stream=self._config.stream.name,
            handled=position.offset,
            found=None if found is None else found.offset,
            end=end,
            meaning="the stream was trimmed past the last event or replaced; it is read from its first event",
        )
        self._position = None
        return None

    async def _open(self, link: Link, offset: int | str) -> Subscription:
        try:
            return await Subscription.open(
                link,
                self._config.stream.name,
                prefetch=self._config.prefetch,
                arguments={"x-stream-offset": offset},
            )
        except ChannelClosedError as error:
            if error.code != PRECONDITION_FAILED:
                raise
            raise self._no_stream() from error  # invalid arg 'x-stream-offset' for queue ...

    async def _hand_over(self, deliveries: list[Delivery], end: int, handle: HandleBatch) -> None:
        """Handle deliveries in order; the end of the catching up falls between two of them."""
        if self._on_caught_up is not None and self._offset(deliveries[-1]) >= end:
            cut = sum(self._offset(delivery) <= end for delivery in deliveries)
            await self._handle(deliveries[:cut], handle)
            self._on_caught_up()
            self._on_caught_up = None
            deliveries = deliveries[cut:]
        await self._handle(deliveries, handle)

    async def _handle(self, deliveries: list[Delivery], handle: HandleBatch) -> None:
        if deliveries:
            await _handle_events(deliveries, handle)
            self._position = self._position_of(deliveries[-1])

    def _position_of(self, delivery: Delivery) -> _Position:
        return _Position(delivery.offset or 0, checksum_of(delivery))

    def _offset(self, delivery: Delivery) -> int:
        if delivery.offset is None:
            raise self._no_stream()
        return delivery.offset

    def _no_stream(self) -> TopologyError:
        name = self._config.stream.name
        return TopologyError(f'"{name}" is no stream: delete it, or set another amqp.stream.name')


class QueueReader:
    """Reads a queue of this instance's own: for brokers without streams (`source: queue`).

    The queue holds what came while the instance was away. What was handled and not yet acknowledged
    when a connection broke arrives again: the flow knows it by its message id. Implements
    `flow.ports.EventReader`.
    """

    def __init__(
        self,
        config: Amqp,
        topology: Topology,
        instance_id: str,
        metrics: Metrics,
        on_caught_up: Callable[[], None],
    ) -> None:
        """`on_caught_up` is called once: when all that was in the queue at the start has been handled."""
        self.connection = BrokerConnection(config, "read", metrics, instance_id)
        """Its `up_since` and `down_since` say how reading fares; without a consumer it is down."""
        self._config = config
        self._topology = topology
        self._instance_id = instance_id
        self._on_caught_up: Callable[[], None] | None = on_caught_up
        self._marker: str | None = None
        self._restarts = metrics.reader_restarts

    async def run(self, handle: HandleBatch) -> None:
        """Read until cancelled. An exception of `handle` ends it, as HandlerFailedError."""
        await self.connection.run(lambda link: self._read(link, handle))

    async def _read(self, link: Link, handle: HandleBatch) -> None:
        name = f"{self._config.queue.prefix}{self._instance_id}"
        async with asyncio.timeout(_SETUP_TIMEOUT):
            await declare_queue(link, self._config, self._topology, name)
            subscription = await Subscription.open(link, name, prefetch=self._config.prefetch)
            if self._on_caught_up is not None:
                self._marker = await publish_marker(
                    self.connection, self._instance_id, LOG_EXCHANGE, MARKER_KEY
                )
        if self.connection.generation > 1:
            self._restarts.labels("resumed").inc()
        self.connection.mark_up()
        await _pump(subscription, self._config, lambda deliveries: self._hand_over(deliveries, handle))

    async def _hand_over(self, deliveries: list[Delivery], handle: HandleBatch) -> None:
        if self._on_caught_up is not None:
            ids = [delivery.message_id for delivery in deliveries]
            if self._marker in ids:
                cut = ids.index(self._marker) + 1
                await _handle_events(deliveries[:cut], handle)
                self._on_caught_up()
                self._on_caught_up = None
                deliveries = deliveries[cut:]
        await _handle_events(deliveries, handle)


async def _pump(
    subscription: Subscription, config: Amqp, hand_over: Callable[[list[Delivery]], Awaitable[None]]
) -> None:
    """Hand over what comes, in batches, and acknowledge it, until the consumer ends."""
    # A quarter of what the broker sends ahead, so that acknowledgements keep it sending.
    batch = max(1, config.prefetch // 4)
    try:
        while True:
            contents = await subscription.take(batch)
            await hand_over([to_delivery(content) for content in contents])
            subscription.acknowledge(contents[-1])
    finally:
        subscription.flush()


async def _handle_events(deliveries: list[Delivery], handle: HandleBatch) -> None:
    if not deliveries:
        return
    try:
        await handle(deliveries)
    except Exception as error:
        raise HandlerFailedError(f"handling events failed: {type(error).__name__}") from error
