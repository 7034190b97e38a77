"""Publishing: the outcome of every message is the truth."""

import asyncio

import pytest
from aiormq.abc import AbstractChannel

from bridge.amqp.publisher import ConfirmingPublisher
from bridge.amqp.topology import Topology
from bridge.config.units import Duration
from bridge.model import PublishMessage, PublishOutcome
from bridge.telemetry.metrics import Metrics
from dev.broker import PrivateBroker
from tests.support.amqp import EXCHANGE, TOPOLOGY, make_config, running, until, without_debug
from tests.support.broker import memory_alarm
from tests.support.proxy import Proxy


def make_message(key: str = "project.apollo.state_change", **changes: object) -> PublishMessage:
    fields = {
        "exchange": EXCHANGE,
        "routing_key": key,
        "body": b'{"n":1}',
        "message_id": "m-1",
        "type": "send_message",
        "timestamp": 1_700_000_000.0,
        "headers": {"x-user": "zoë"},
    }
    return PublishMessage(**(fields | changes))  # type: ignore[arg-type]


def make_publisher(url: str, topology: Topology = TOPOLOGY, **limits: int) -> ConfirmingPublisher:
    config = make_config(url, confirm_timeout=Duration("1s"))
    return ConfirmingPublisher(config, topology, "one", Metrics(), **limits)


async def test_confirmed_message_arrives_with_its_properties(amqp_url: str, service: AbstractChannel) -> None:
    """A message is persistent and carries id, type, time, application, headers and content type."""
    queue = (await service.queue_declare(exclusive=True)).queue or ""
    await service.queue_bind(queue, EXCHANGE, "project.#")
    publisher = make_publisher(amqp_url)
    async with running(publisher.run()):
        await until(lambda: publisher.connection.up_since)
        assert await publisher.publish(make_message()) is PublishOutcome.CONFIRMED
    message = await service.basic_get(queue, no_ack=True)
    properties = message.header.properties
    assert (message.routing_key, message.body) == ("project.apollo.state_change", b'{"n":1}')
    assert properties.delivery_mode == 2
    assert (properties.message_id, properties.message_type) == ("m-1", "send_message")
    assert (properties.app_id, properties.content_type) == ("bridged", "application/json")
    assert properties.timestamp is not None
    assert properties.timestamp.timestamp() == 1_700_000_000.0
    assert properties.headers == {"x-user": "zoë"}


async def test_message_that_nobody_listens_to_is_unroutable(amqp_url: str) -> None:
    """A message that reaches no queue is UNROUTABLE, and the next ones are not affected."""
    publisher = make_publisher(amqp_url)
    async with running(publisher.run()):
        await until(lambda: publisher.connection.up_since)
        assert await publisher.publish(make_message()) is PublishOutcome.UNROUTABLE
        assert publisher.connection.generation == 1


async def test_exchange_that_disappeared_is_unroutable_once(amqp_url: str, service: AbstractChannel) -> None:
    """A deleted exchange costs the channel; the publisher declares it anew and goes on."""
    publisher = make_publisher(amqp_url)
    async with running(publisher.run()):
        await until(lambda: publisher.connection.up_since)
        await service.exchange_delete(EXCHANGE)
        assert await publisher.publish(make_message()) is PublishOutcome.UNROUTABLE
        await until(lambda: publisher.connection.generation == 2 and publisher.connection.up_since)
        await service.queue_declare("all")
        await service.queue_bind("all", EXCHANGE, "#")
        assert await publisher.publish(make_message()) is PublishOutcome.CONFIRMED


async def test_message_that_a_full_queue_refuses_is_rejected(amqp_url: str, service: AbstractChannel) -> None:
    """The broker's negative confirm (a full queue with reject-publish) is REJECTED."""
    await service.queue_declare("full", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    await service.queue_bind("full", EXCHANGE, "#")
    publisher = make_publisher(amqp_url)
    async with running(publisher.run()):
        await until(lambda: publisher.connection.up_since)
        outcomes = [await publisher.publish(make_message()) for _ in range(3)]
    assert outcomes[0] is PublishOutcome.CONFIRMED
    assert outcomes[-1] is PublishOutcome.REJECTED


async def test_key_that_amqp_cannot_carry_is_rejected(amqp_url: str) -> None:
    """A routing key over 255 bytes (not characters) is REJECTED without harm to the connection."""
    publisher = make_publisher(amqp_url)
    async with running(publisher.run()):
        await until(lambda: publisher.connection.up_since)
        assert await publisher.publish(make_message("ü" * 128)) is PublishOutcome.REJECTED


async def test_no_connection_answers_at_once(amqp_url: str) -> None:
    """Without a connection a message is BROKER_UNAVAILABLE at once, not after a time limit."""
    publisher = make_publisher(amqp_url)
    async with asyncio.timeout(0.1):
        assert await publisher.publish(make_message()) is PublishOutcome.BROKER_UNAVAILABLE


async def test_confirm_that_does_not_come_is_unknown(amqp_url: str, service: AbstractChannel) -> None:
    """A message without a confirm within the time limit, or at the connection's end, is UNKNOWN_OUTCOME."""
    await service.queue_declare("all")
    await service.queue_bind("all", EXCHANGE, "#")
    async with Proxy.before(amqp_url) as proxy:
        publisher = make_publisher(proxy.url(amqp_url))
        async with running(publisher.run()):
            await until(lambda: publisher.connection.up_since)
            proxy.hold("to_client")
            assert await publisher.publish(make_message()) is PublishOutcome.UNKNOWN_OUTCOME
            assert await publisher.publish(make_message()) is PublishOutcome.BROKER_UNAVAILABLE
            proxy.pass_on()
            assert await publisher.publish(make_message()) is PublishOutcome.CONFIRMED
            assert publisher.connection.generation == 1
            proxy.hold("to_client")
            waiting = asyncio.create_task(publisher.publish(make_message()))
            await until_queued(service, "all", 3)
            proxy.reset()
            assert await waiting is PublishOutcome.UNKNOWN_OUTCOME
            proxy.pass_on()
            await until(lambda: publisher.connection.generation == 2 and publisher.connection.up_since)
            assert await publisher.publish(make_message()) is PublishOutcome.CONFIRMED


async def test_window_bounds_what_is_in_flight(amqp_url: str, service: AbstractChannel) -> None:
    """What finds the window full within the time limit is not sent: BROKER_UNAVAILABLE."""
    await service.queue_declare("all")
    await service.queue_bind("all", EXCHANGE, "#")
    async with Proxy.before(amqp_url) as proxy:
        publisher = make_publisher(proxy.url(amqp_url), in_flight=3)
        async with running(publisher.run()):
            await until(lambda: publisher.connection.up_since)
            proxy.hold("to_client")
            first = [asyncio.create_task(publisher.publish(make_message())) for _ in range(3)]
            await until_queued(service, "all", 3)
            assert await publisher.publish(make_message()) in (
                PublishOutcome.BROKER_UNAVAILABLE,
                PublishOutcome.UNKNOWN_OUTCOME,  # the first ones gave up a moment earlier
            )
            assert set(await asyncio.gather(*first)) == {PublishOutcome.UNKNOWN_OUTCOME}
            proxy.pass_on()
            outcomes = await asyncio.gather(*(publisher.publish(make_message()) for _ in range(50)))
            assert set(outcomes) == {PublishOutcome.CONFIRMED}


async def test_memory_alarm_fails_within_the_time_limit(
    amqp_url: str, broker: PrivateBroker, service: AbstractChannel
) -> None:
    """While the broker takes no messages they fail in time; afterwards all is as before."""
    await service.queue_declare("all")
    await service.queue_bind("all", EXCHANGE, "#")
    publisher = make_publisher(amqp_url)
    async with running(publisher.run()):
        await until(lambda: publisher.connection.up_since)
        with memory_alarm(broker):
            outcomes = [await publisher.publish(make_message()) for _ in range(2)]
        assert outcomes[0] in (PublishOutcome.UNKNOWN_OUTCOME, PublishOutcome.BROKER_UNAVAILABLE)
        assert outcomes[1] is PublishOutcome.BROKER_UNAVAILABLE
        await until_published(publisher)
        assert publisher.connection.generation == 1


async def test_confirms_are_not_waited_for_one_by_one(amqp_url: str, service: AbstractChannel) -> None:
    """Many messages are under way at once, and a service's cancelled wait harms none of them."""
    without_debug()
    await service.queue_declare("all")
    await service.queue_bind("all", EXCHANGE, "#")
    publisher = make_publisher(amqp_url)
    async with running(publisher.run()):
        await until(lambda: publisher.connection.up_since)
        cancelled = asyncio.create_task(publisher.publish(make_message()))
        await asyncio.sleep(0)
        cancelled.cancel()
        outcomes = await asyncio.gather(*(publisher.publish(make_message()) for _ in range(3000)))
        with pytest.raises(asyncio.CancelledError):
            await cancelled
    assert set(outcomes) == {PublishOutcome.CONFIRMED}


async def until_published(publisher: ConfirmingPublisher) -> None:
    """Publish until one message is confirmed."""
    async with asyncio.timeout(5):
        while await publisher.publish(make_message()) is not PublishOutcome.CONFIRMED:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def until_queued(service: AbstractChannel, queue: str, count: int) -> None:
    """Wait until a queue holds this many messages."""
    async with asyncio.timeout(10):
        while (await service.queue_declare(queue, passive=True)).message_count != count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_posting_is_for_what_need_not_wait(amqp_url: str, service: AbstractChannel) -> None:
    """The outcome comes later, and whatever stands in the way is left to `publish`."""
    queue = (await service.queue_declare(exclusive=True)).queue or ""
    await service.queue_bind(queue, EXCHANGE, "project.#")
    publisher = make_publisher(amqp_url, in_flight=2)
    outcomes: list[PublishOutcome] = []
    assert not publisher.post(make_message(), outcomes.append), "there is no connection"
    async with running(publisher.run()):
        await until(lambda: publisher.connection.up_since)
        assert not publisher.post(make_message("x" * 256), outcomes.append), "AMQP cannot carry it"
        assert publisher.post(make_message(), outcomes.append)
        assert publisher.post(make_message("nobody.listens"), outcomes.append)
        assert not publisher.post(make_message(), outcomes.append), "the window is full"
        assert outcomes == []
        await until(lambda: len(outcomes) == 2)
        assert set(outcomes) == {PublishOutcome.CONFIRMED, PublishOutcome.UNROUTABLE}
        assert publisher.post(make_message(), outcomes.append), "there is room again"
        await until(lambda: len(outcomes) == 3)
    message = await service.basic_get(queue, no_ack=True)
    assert message.header.properties.message_id == "m-1"
