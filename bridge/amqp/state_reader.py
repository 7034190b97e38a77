"""Reads the stream of what outlives the log, whole, before the log is read from its beginning."""

import asyncio
from typing import Final

import structlog

from bridge.amqp.connection import BrokerConnection
from bridge.amqp.deliveries import to_delivery
from bridge.amqp.link import Link
from bridge.amqp.markers import publish_marker
from bridge.amqp.streams import consume_stream
from bridge.amqp.topology import Topology, declare_state
from bridge.config.model import Amqp
from bridge.flow.ports import StateSink

_END_KEY: Final = "state.end"
"""Routing key of the marker by which a reader learns where the state ends."""
_SILENCE: Final = 30.0
"""Seconds within which the broker must send on."""

log = structlog.get_logger(__name__)


class StateReader:
    """Declares the state and hands all of it to the sink: as far as a marker that is published now."""

    def __init__(self, config: Amqp, topology: Topology, instance_id: str, sink: StateSink) -> None:
        self._config = config
        self._topology = topology
        self._instance_id = instance_id
        self._sink = sink

    async def read(self, link: Link, connection: BrokerConnection) -> None:
        """Read it once, on a channel of the link; whoever calls tries again when that breaks off."""
        name = self._config.state.name
        async with asyncio.timeout(_SILENCE):
            await declare_state(link, self._config, self._topology)
            marker = await publish_marker(connection, self._instance_id, name, _END_KEY)
            subscription = await consume_stream(
                link, name, "amqp.state", "first", prefetch=self._config.prefetch
            )
        self._sink.begin()
        count = 0
        at_end = False
        while not at_end:
            async with asyncio.timeout(_SILENCE):
                contents = await subscription.take(max(1, self._config.prefetch // 4))
            copies = [to_delivery(content) for content in contents]
            at_end = any(copy.message_id == marker for copy in copies)
            self._sink.take(copies)
            subscription.acknowledge(contents[-1])
            count += len(copies)
        await subscription.close()
        self._sink.end()
        log.info("state.read", stream=name, messages=count)
