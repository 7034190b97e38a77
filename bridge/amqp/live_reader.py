"""Reads what goes round the log: a queue that lives no longer than its connection, and keeps nothing."""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import uuid4

from bridge.amqp.batches import handle_events
from bridge.amqp.connection import SETUP_SECONDS, BrokerConnection
from bridge.amqp.deliveries import to_delivery
from bridge.amqp.link import Link
from bridge.amqp.subscription import Subscription
from bridge.amqp.topology import Topology, declare_live
from bridge.config.model import Amqp
from bridge.flow.ports import HandleBatch
from bridge.telemetry.metrics import Metrics

_QUEUE: Final = "bridge.live"


class LiveReader:
    """Reads an exclusive queue of this instance's own: what instances ask one another, and `live` events.

    What comes while the connection is away is for nobody. While the instance is behind, the queue drops
    its oldest messages. Implements `flow.ports.EventReader`.
    """

    def __init__(
        self,
        config: Amqp,
        topology: Topology,
        own: Sequence[tuple[str, str]],
        instance_id: str,
        metrics: Metrics,
    ) -> None:
        """`own` is the (exchange, binding key) of what it reads besides the `live` events of the topology."""
        self.connection = BrokerConnection(config, "live", metrics, instance_id)
        """Its `up_since` and `down_since` say how reading fares; without a consumer it is down."""
        self.established = asyncio.Event()
        """Set once it reads for the first time."""
        self._config = config
        self._topology = topology
        self._bindings = (*topology.live_bindings, *own)
        self._instance_id = instance_id

    async def run(self, handle: HandleBatch) -> None:
        """Read until cancelled. An exception of `handle` ends it, as HandlerFailedError."""
        await self.connection.run(lambda link: self._read(link, handle))

    async def _read(self, link: Link, handle: HandleBatch) -> None:
        # A name of its own for each connection: the broker may still hold the queue of one that it has
        # not missed yet, and lets nobody else use it.
        name = f"{_QUEUE}.{self._instance_id}.{uuid4().hex}"
        async with asyncio.timeout(SETUP_SECONDS):
            await declare_live(link, self._topology, name, self._bindings)
            subscription = await Subscription.open(link, name, prefetch=self._config.prefetch)
        self.connection.mark_up()
        self.established.set()
        await subscription.deliver(lambda some: handle_events([to_delivery(one) for one in some], handle))
