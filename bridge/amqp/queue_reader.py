"""Reads events in order from a queue of this instance's own: for brokers without streams (`source: queue`).

A queue has no offsets, and what it drops is gone. So the reader counts what it is given, and the places
that it makes of it hold for one *epoch* only: a new one begins whenever something may have been missed. It
tells so by the checksums, which each epoch salts with a number of its own. Something may have been missed

- between two processes: each begins an epoch;
- when the queue is not there any more, since it expired or was deleted, or has other arguments than ours;
- when it is full on reconnecting: it dropped what was too much;
- when it drops something while it is read: what it drops it sends to the exchange `bridge.instances`, where
  another queue of the connection's own tells of it.
"""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from uuid import uuid4

import structlog

from bridge.amqp.batches import handle_events
from bridge.amqp.channel import LinkLostError
from bridge.amqp.connection import SETUP_SECONDS, BrokerConnection
from bridge.amqp.deliveries import to_delivery
from bridge.amqp.events import Content
from bridge.amqp.link import Link
from bridge.amqp.markers import publish_marker
from bridge.amqp.redelivery import Redelivery
from bridge.amqp.subscription import Subscription
from bridge.amqp.topology import MARKER_KEY, Topology, declare_live, declare_queue, to_dropped_key
from bridge.config.model import Amqp
from bridge.flow.ports import HandleBatch
from bridge.model import INSTANCES_EXCHANGE, LOG_EXCHANGE
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.sparing import Sparing

log = structlog.get_logger(__name__)


class QueueReader:
    """Reads the queue for ever, in order; it holds what came while the instance was away.

    What was handled and not yet acknowledged when a connection broke arrives again, before all else and in
    order: it is left out (redelivery.py). Nobody else may read the queue meanwhile, so that what another
    connection holds, which the broker has not missed yet, does not come after what is newer. Implements
    `flow.ports.EventReader`.
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
        """`on_caught_up` is called once: when all that was in the queue at the start has been handled.

        `on_new_epoch` is called between the last event of an epoch and the first of the next.
        """
        self.connection = BrokerConnection(config, "read", metrics, instance_id)
        """Its `up_since` and `down_since` say how reading fares; without a consumer it is down."""
        self._config = config
        self._topology = topology
        self._instance_id = instance_id
        self._on_caught_up: Callable[[], None] | None = on_caught_up
        self._on_new_epoch = on_new_epoch
        self._marker: str | None = None
        self._restarts = metrics.reader_restarts
        self._number = 0
        """Of the last delivery; 0 stays free, since it would say that nothing was ever before it."""
        self._salt = secrets.randbits(32)
        self._sparing = Sparing()
        self.handled = Redelivery(config.prefetch)
        """What may arrive again."""

    async def run(self, handle: HandleBatch) -> None:
        """Read until cancelled. An exception of `handle` ends it, as HandlerFailedError."""
        await self.connection.run(lambda link: self._read(link, handle))

    async def _read(self, link: Link, handle: HandleBatch) -> None:
        name = f"{self._config.queue.prefix}{self._instance_id}"
        async with asyncio.timeout(SETUP_SECONDS):
            drops = await self._subscribe_to_drops(link)
            waiting = await declare_queue(link, self._config, self._topology, name, self._instance_id)
            subscription = await Subscription.open(link, name, prefetch=self._config.prefetch, exclusive=True)
            if self._on_caught_up is not None or self.handled:  # what comes again ends before it
                self._marker = await publish_marker(
                    self.connection, self._instance_id, LOG_EXCHANGE, MARKER_KEY
                )
        self._resume(name, waiting)
        watching = asyncio.create_task(self._watch(drops, link, name), name="drops")
        settling = asyncio.create_task(self._settle(subscription), name="acknowledgements")
        self.connection.mark_up()
        try:
            if self.handled:
                await self._begin_again(subscription, handle)
            await subscription.deliver(lambda some: self._hand_over(some, handle))
        finally:
            watching.cancel()
            settling.cancel()

    async def _begin_again(self, subscription: Subscription, handle: HandleBatch) -> None:
        """Leave out what was handled before the connection broke: it comes first."""
        contents: list[Content] = []
        while len(contents) < len(self.handled) and all(content.redelivered for content in contents):
            contents += await subscription.take(len(self.handled) - len(contents))
        self._hand_over(self.handled.leave_out(contents), handle)
        subscription.acknowledge(contents[-1])

    async def _settle(self, subscription: Subscription) -> None:
        """Learn which acknowledgements the broker has: the fewer may be lost, the fewer events look alike."""
        with suppress(LinkLostError):
            while True:
                await subscription.acknowledged.wait()
                self.handled.settle(await subscription.settle())

    async def _subscribe_to_drops(self, link: Link) -> Subscription:
        """Consume what the queue drops; from before it is looked at, so that no drop falls in between."""
        name = f"bridge.live.{self._instance_id}.dropped.{uuid4().hex}"
        key = to_dropped_key(self._instance_id)
        await declare_live(link, self._topology, name, ((INSTANCES_EXCHANGE, key),))
        return await Subscription.open(link, name, prefetch=self._config.prefetch)

    async def _watch(self, drops: Subscription, link: Link, name: str) -> None:
        """Begin an epoch whenever something was dropped."""
        try:
            await drops.deliver(lambda _: self._begin_epoch(name, "it dropped events, since it was full"))
        finally:
            link.abort("what the queue drops is no longer told")

    def _resume(self, name: str, waiting: int | None) -> None:
        """Go on after a loss of the connection, in a new epoch if the queue may have lost something."""
        if not self._number:
            return
        if waiting is None:
            self._begin_epoch(name, "it had to be declared anew, or has other arguments than ours")
        elif waiting >= self._config.queue.max_length:
            self._begin_epoch(name, "it is full, and may have dropped events")
        else:
            self._restarts.labels("resumed").inc()

    def _begin_epoch(self, name: str, meaning: str) -> None:
        self._restarts.labels("new_epoch").inc()
        if self._sparing.may_say(meaning, asyncio.get_running_loop().time()):
            log.warning("log.new_epoch", queue=name, meaning=meaning)
        self._salt = secrets.randbits(32)
        self._on_new_epoch()

    def _hand_over(self, contents: list[Content], handle: HandleBatch) -> None:
        self.handled.note(contents)
        deliveries = [
            to_delivery(content, number, self._salt)
            for number, content in enumerate(contents, self._number + 1)
        ]
        self._number += len(contents)
        if self._on_caught_up is not None:
            ids = [delivery.message_id for delivery in deliveries]
            if self._marker in ids:
                cut = ids.index(self._marker) + 1
                handle_events(deliveries[:cut], handle)
                self._on_caught_up()
                self._on_caught_up = None
                deliveries = deliveries[cut:]
        handle_events(deliveries, handle)
