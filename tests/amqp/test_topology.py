"""What the bridge declares on the broker, and what it makes of what it finds there."""

import asyncio

import aiormq
import pytest
from aiormq.abc import AbstractChannel
from structlog.testing import capture_logs

from bridge.amqp.publisher import ConfirmingPublisher
from bridge.amqp.topology import stream_arguments
from bridge.config.model import Stream
from bridge.config.units import Duration, Size
from bridge.model import PublishMessage, PublishOutcome
from bridge.telemetry.metrics import Metrics
from dev.broker import PrivateBroker
from tests.support.amqp import EXCHANGE, TOPOLOGY, make_config, running, until
from tests.support.broker import hide_queue


def test_segments_are_a_sixteenth_of_the_stream() -> None:
    """RabbitMQ drops whole segments only, of 500 MB by default: small bounds need small segments."""
    arguments = stream_arguments(Stream(max_age=Duration("90s"), max_bytes=Size("16MB")))
    assert arguments == {
        "x-queue-type": "stream",
        "x-max-age": "90s",
        "x-max-length-bytes": 16_000_000,
        "x-stream-max-segment-size-bytes": 1_000_000,
    }


async def test_declares_what_is_published_to(amqp_url: str) -> None:
    """Exchanges are durable topics; invalid events have a bounded durable queue."""
    publisher = ConfirmingPublisher(make_config(amqp_url), TOPOLOGY, "one", Metrics())
    async with running(publisher.run()):
        await until(lambda: publisher.connection.up_since)
    async with aiormq.connect(amqp_url) as connection:
        channel = await connection.channel()
        for exchange in (*TOPOLOGY.exchanges, "bridge.invalid"):
            await channel.exchange_declare(exchange, exchange_type="topic", durable=True)
        with pytest.raises(aiormq.exceptions.ChannelPreconditionFailed, match="x-max-length"):
            await channel.queue_declare("bridge.invalid", durable=True)


async def test_queue_of_invalid_events_on_a_node_that_is_down(
    amqp_url: str, broker: PrivateBroker, service: AbstractChannel
) -> None:
    """In a cluster it stands on one node: without it the bridge publishes, and invalid events go nowhere."""
    before = ConfirmingPublisher(make_config(amqp_url), TOPOLOGY, "one", Metrics())
    async with running(before.run()):
        await until(lambda: before.connection.up_since)
    publisher = ConfirmingPublisher(make_config(amqp_url), TOPOLOGY, "one", Metrics())
    await asyncio.to_thread(hide_queue, broker, amqp_url.rpartition("/")[2], "bridge.invalid")
    await service.queue_declare("all")
    await service.queue_bind("all", EXCHANGE, "#")
    with capture_logs() as logs:
        async with running(publisher.run()):
            await until(lambda: publisher.connection.up_since)
            assert await publisher.publish(make_message(EXCHANGE)) is PublishOutcome.CONFIRMED
            assert await publisher.publish(make_message("bridge.invalid")) is PublishOutcome.UNROUTABLE
    (warning,) = [record for record in logs if record["event"] == "queue.down"]
    assert "home node" in warning["broker_says"]


def make_message(exchange: str) -> PublishMessage:
    return PublishMessage(
        exchange=exchange, routing_key="a.b.c", body=b"{}", message_id="m-1", type="t", timestamp=1.0
    )


async def test_exchange_of_another_type_is_used(amqp_url: str, service: AbstractChannel) -> None:
    """An exchange that exists as something else is used as it is; a warning shows the fix."""
    await service.exchange_delete(EXCHANGE)
    await service.exchange_declare(EXCHANGE, exchange_type="fanout", durable=True)
    publisher = ConfirmingPublisher(make_config(amqp_url), TOPOLOGY, "one", Metrics())
    with capture_logs() as logs:
        async with running(publisher.run()):
            await until(lambda: publisher.connection.up_since)
    (warning,) = [record for record in logs if record["event"] == "exchange.differs"]
    assert warning["exchange"] == EXCHANGE
    assert "'type'" in warning["broker_says"]
    assert "durable topic exchange" in warning["remedy"]
