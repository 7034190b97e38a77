"""Reads events in order from the stream that all instances share.

What RabbitMQ 3.10 does with the place that a consumer of a stream asks for:

- an offset below the floor, since the stream was trimmed: it silently starts at the floor;
- the offset after the last: it starts with the next event;
- an offset further beyond the end: nothing arrives, and every event below that offset is skipped for
  ever; this is also what an old offset does on a stream that was deleted and declared anew;
- `last`: it starts with the last chunk, which may hold many events;
- the stream is trimmed past a consumer that lags: it silently goes on at the floor;
- it is trimmed just then, at the end of what a lagging consumer has read: that consumer may get nothing
  more, whatever is published (stalls.py);
- the stream is deleted: the broker cancels the consumer (Basic.Cancel) and keeps the channel.

Offsets have holes: the broker takes one for itself at the beginning of a segment, and sometimes elsewhere.

What was confirmed to a publisher outlives a SIGKILL of the broker, at the same offset.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Final

import structlog

from bridge.amqp.batches import handle_events
from bridge.amqp.channel import LinkLostError
from bridge.amqp.connection import SETUP_SECONDS, BrokerConnection
from bridge.amqp.deliveries import to_stream_delivery
from bridge.amqp.events import Content
from bridge.amqp.link import Link
from bridge.amqp.markers import publish_marker
from bridge.amqp.stalls import watch_for_stall
from bridge.amqp.streams import consume_stream, no_stream
from bridge.amqp.subscription import Subscription
from bridge.amqp.topology import MARKER_KEY, Topology, declare_log
from bridge.config.model import Amqp
from bridge.flow.ports import HandleBatch
from bridge.model import LOG_EXCHANGE, Delivery, Place
from bridge.telemetry.metrics import Metrics

_SECTION: Final = "amqp.stream"

log = structlog.get_logger(__name__)


class StreamReader:
    """Reads the stream from its beginning, for ever: every event once to the handler, in log order.

    After a loss it resumes AT the last event that it handled. That very event must arrive first: else
    the log was trimmed past it or replaced, and reading begins anew with the first event that there is
    (a new epoch). At a hole in the offsets it makes sure in the same way that the log still reaches back
    before the hole. Implements `flow.ports.EventReader`.
    """

    def __init__(
        self,
        config: Amqp,
        topology: Topology,
        instance_id: str,
        metrics: Metrics,
        on_caught_up: Callable[[], None],
        on_new_epoch: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_caught_up` is called once: when all that was in the log at the start has been handled.

        `on_new_epoch` is called between the last event of an epoch and the first of the next.
        """
        self.connection = BrokerConnection(config, "read", metrics, instance_id)
        """Its `up_since` and `down_since` say how reading fares; without a consumer it is down."""
        self._config = config
        self._topology = topology
        self._instance_id = instance_id
        self._restarts = metrics.reader_restarts
        self._on_caught_up: Callable[[], None] | None = on_caught_up
        self.read_before: Callable[[Link, BrokerConnection], Awaitable[None]] | None = None
        """Awaited before the first event of an epoch: reads what has outlived the log."""
        self._on_new_epoch = on_new_epoch
        self._position: Place | None = None

    async def run(self, handle: HandleBatch) -> None:
        """Read until cancelled. An exception of `handle` ends it, as HandlerFailedError."""
        await self.connection.run(lambda link: self._read(link, handle))

    async def _read(self, link: Link, handle: HandleBatch) -> None:
        async with asyncio.timeout(SETUP_SECONDS):
            await declare_log(link, self._config, self._topology)
            end = await self._find_end(link)
            subscription = await self._resume(link, end)
        if subscription is None:
            if self.read_before is not None:
                await self.read_before(link, self.connection)
            async with asyncio.timeout(SETUP_SECONDS):
                subscription = await self._open(link, "first")
        self.connection.mark_up()
        stall = watch_for_stall(subscription, link, self._config.heartbeat, self._publish_marker)
        watching = asyncio.create_task(stall, name="stalls")
        try:
            await subscription.deliver(lambda some: self._hand_over(some, end, handle))
        finally:
            watching.cancel()

    async def _publish_marker(self) -> str:
        return await publish_marker(self.connection, self._instance_id, LOG_EXCHANGE, MARKER_KEY)

    async def _find_end(self, link: Link) -> int:
        """The offset of a marker that is published now: the log reaches at least that far."""
        probe = await self._open(link, "next")
        marker = await self._publish_marker()
        while True:
            contents = await probe.take(self._config.prefetch)
            for delivery in map(to_stream_delivery, contents):
                if delivery.message_id == marker:
                    await probe.close()
                    return self._offset(delivery)
            probe.acknowledge(contents[-1])

    async def _resume(self, link: Link, end: int) -> Subscription | None:
        """Consume from the last position; None without one, or when it no longer means the same event."""
        position = self._position
        if position is None:
            return None
        found: Place | None = None
        if position.offset < end:  # beyond the end nothing would ever arrive
            subscription = await self._open(link, position.offset)
            found = await self._first_place(subscription)
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
        self._on_new_epoch()
        return None

    async def _make_sure(self, position: Place) -> None:
        """Nothing is missing behind a position that the log still holds; LinkLostError when it does not.

        Then the next connection cannot resume there, and begins an epoch. It looks over a connection of its
        own: while many bytes wait to be handled, the reader's brings nothing more, answers included.
        """
        async with asyncio.timeout(SETUP_SECONDS):
            link = await self.connection.connect()
            try:
                found = await self._first_place(await self._open(link, position.offset, prefetch=1))
            finally:
                await link.close()
        if found != position:
            raise LinkLostError("the log was trimmed past the reader: it is too slow for amqp.stream")

    async def _first_place(self, subscription: Subscription) -> Place:
        [content] = await subscription.take(1)
        return self._place_of(to_stream_delivery(content))

    async def _open(self, link: Link, offset: int | str, prefetch: int | None = None) -> Subscription:
        name, prefetch = self._config.stream.name, prefetch or self._config.prefetch
        return await consume_stream(link, name, _SECTION, offset, prefetch=prefetch)

    def _hand_over(
        self, contents: list[Content], end: int, handle: HandleBatch
    ) -> Coroutine[None, None, None] | None:
        """Handle deliveries in order; what is left to do where nobody knows whether some are missing."""
        runs = self._split_at_holes([to_stream_delivery(content) for content in contents])
        if len(runs) > 1 or self._is_behind_a_hole(runs[0]):
            return self._make_sure_and_handle(runs, end, handle)
        self._handle_run(runs[0], end, handle)
        return None

    async def _make_sure_and_handle(
        self, runs: Sequence[list[Delivery]], end: int, handle: HandleBatch
    ) -> None:
        """Handle deliveries in order, those behind a hole once nothing can be missing there."""
        for run in runs:
            if self._position is not None and self._is_behind_a_hole(run):
                await self._make_sure(self._position)
            self._handle_run(run, end, handle)

    def _is_behind_a_hole(self, run: Sequence[Delivery]) -> bool:
        position = self._position
        return position is not None and self._offset(run[0]) != position.offset + 1

    def _split_at_holes(self, deliveries: list[Delivery]) -> list[list[Delivery]]:
        """Runs of deliveries with an offset each."""
        first, last = self._offset(deliveries[0]), self._offset(deliveries[-1])
        if last - first == len(deliveries) - 1:
            return [deliveries]
        runs: list[list[Delivery]] = []
        expected = -1
        for delivery in deliveries:
            if (offset := self._offset(delivery)) != expected:
                runs.append([])
            runs[-1].append(delivery)
            expected = offset + 1
        return runs

    def _handle_run(self, deliveries: list[Delivery], end: int, handle: HandleBatch) -> None:
        """Handle deliveries in order; the end of the catching up falls between two of them."""
        if self._on_caught_up is not None and self._offset(deliveries[-1]) >= end:
            cut = sum(self._offset(delivery) <= end for delivery in deliveries)
            self._handle(deliveries[:cut], handle)
            self._on_caught_up()
            self._on_caught_up = None
            deliveries = deliveries[cut:]
        self._handle(deliveries, handle)

    def _handle(self, deliveries: list[Delivery], handle: HandleBatch) -> None:
        if deliveries:
            handle_events(deliveries, handle)
            self._position = self._place_of(deliveries[-1])

    def _place_of(self, delivery: Delivery) -> Place:
        return Place(self._offset(delivery), delivery.checksum)

    def _offset(self, delivery: Delivery) -> int:
        if delivery.offset is None:
            raise no_stream(self._config.stream.name, _SECTION)
        return delivery.offset
