"""Requests with reply: a reply, or the true reason why there is none."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from aiormq.abc import AbstractChannel, DeliveredMessage
from pamqp.commands import Basic

from bridge.amqp.publisher import ConfirmingPublisher
from bridge.amqp.requests import DirectRequester
from bridge.model import PublishMessage, PublishOutcome, Reply, Request
from bridge.telemetry.metrics import Metrics
from dev.broker import PrivateBroker
from tests.support.amqp import EXCHANGE, TOPOLOGY, make_config, running, until, without_debug
from tests.support.broker import memory_alarm
from tests.support.proxy import Proxy

KEY = "investigation.7.graph.sync"

Answer = Callable[[DeliveredMessage], Coroutine[Any, Any, None]]


def make_request(body: bytes = b"\x00\x01", *, key: str = KEY, timeout: float = 5.0) -> Request:
    message = PublishMessage(
        exchange=EXCHANGE,
        routing_key=key,
        body=body,
        message_id="m-1",
        type="graph:sync",
        timestamp=1_700_000_000.0,
        headers={"x-user": "zoë"},
        content_type="application/octet-stream",
    )
    return Request(message=message, timeout=timeout)


@asynccontextmanager
async def requesting(url: str, **limits: int) -> AsyncIterator[tuple[DirectRequester, ConfirmingPublisher]]:
    """A requester on a publisher's connection that is up."""
    metrics = Metrics()
    requester = DirectRequester(metrics, **limits)
    publisher = ConfirmingPublisher(make_config(url), TOPOLOGY, "one", metrics, requester=requester)
    async with running(publisher.run()):
        await until(lambda: publisher.connection.up_since)
        yield requester, publisher


async def answer(service: AbstractChannel, reply: Answer) -> str:
    """Let a service take requests; the queue's name."""
    queue = (await service.queue_declare(exclusive=True)).queue or ""
    await service.queue_bind(queue, EXCHANGE, "investigation.*.graph.sync")
    await service.basic_consume(queue, reply, no_ack=True)
    return queue


async def reply_to(
    service: AbstractChannel, message: DeliveredMessage, body: bytes, **properties: Any
) -> None:
    """What a service does: publish to the request's `reply_to`, with its correlation id."""
    asked = message.header.properties
    await service.basic_publish(
        body,
        routing_key=asked.reply_to or "",
        properties=Basic.Properties(correlation_id=asked.correlation_id, **properties),
    )


async def test_a_reply_comes_back_with_its_type(amqp_url: str, service: AbstractChannel) -> None:
    """The request is transient and expires; the reply is what the service sent, byte by byte."""
    asked: list[Basic.Properties] = []

    async def echo(message: DeliveredMessage) -> None:
        asked.append(message.header.properties)
        await reply_to(
            service,
            message,
            b"\xff" + message.body,
            content_type="application/octet-stream",
            headers={"n": 1},
        )

    await answer(service, echo)
    async with requesting(amqp_url) as (requester, _):
        found = await requester.request(make_request(timeout=2.5))
    assert found == Reply(body=b"\xff\x00\x01", content_type="application/octet-stream")
    [properties] = asked
    assert (properties.delivery_mode, properties.expiration) == (1, "2500")
    assert (properties.message_id, properties.message_type, properties.app_id) == (
        "m-1",
        "graph:sync",
        "bridged",
    )
    assert properties.content_type == "application/octet-stream"
    assert properties.headers == {"x-user": "zoë"}


async def test_a_service_may_refuse_in_its_own_words(amqp_url: str, service: AbstractChannel) -> None:
    """The header `error` says why; whatever its type, it is text."""
    errors: list[object] = ["no such graph", 7, ""]

    async def refuse(message: DeliveredMessage) -> None:
        await reply_to(service, message, b"", headers={"error": errors[int(message.body)]})

    await answer(service, refuse)
    async with requesting(amqp_url) as (requester, _):
        found = [await requester.request(make_request(str(i).encode())) for i in range(3)]
    assert [reply.error for reply in found if isinstance(reply, Reply)] == ["no such graph", "7", ""]


async def test_nobody_listens(amqp_url: str) -> None:
    """Known at once, not after the time limit, and no harm to what follows."""
    async with requesting(amqp_url) as (requester, publisher):
        async with asyncio.timeout(3):
            for _ in range(3):
                assert await requester.request(make_request(timeout=60)) is PublishOutcome.UNROUTABLE
        assert publisher.connection.generation == 1


async def test_nobody_answers_in_time(amqp_url: str, service: AbstractChannel) -> None:
    """TIMEOUT; the late reply reaches nobody, also not the next request."""
    held: list[DeliveredMessage] = []

    async def hold(message: DeliveredMessage) -> None:
        held.append(message)
        if len(held) > 1:
            await reply_to(service, held[0], b"late")
            await reply_to(service, message, b"right")

    await answer(service, hold)
    async with requesting(amqp_url) as (requester, _):
        assert await requester.request(make_request(timeout=0.2)) is PublishOutcome.TIMEOUT
        found = await requester.request(make_request())
    assert found == Reply(body=b"right")


async def test_a_request_that_nobody_took_in_time_is_gone(amqp_url: str, service: AbstractChannel) -> None:
    """A service that comes later does not answer what nobody waits for any more."""
    await service.queue_declare("slow")
    await service.queue_bind("slow", EXCHANGE, "#")
    async with requesting(amqp_url) as (requester, _):
        assert await requester.request(make_request(timeout=0.2)) is PublishOutcome.TIMEOUT
    assert (await service.queue_declare("slow", passive=True)).message_count == 0


async def test_a_full_queue_refuses(amqp_url: str, service: AbstractChannel) -> None:
    """REJECTED, since the broker says so."""
    arguments: dict[str, Any] = {"x-max-length": 0, "x-overflow": "reject-publish"}
    await service.queue_declare("full", arguments=arguments)
    await service.queue_bind("full", EXCHANGE, "#")
    async with requesting(amqp_url) as (requester, _):
        await requester.request(make_request(timeout=0.1))
        assert await requester.request(make_request(timeout=5)) is PublishOutcome.REJECTED


async def test_without_a_connection_nothing_is_sent(amqp_url: str) -> None:
    """BROKER_UNAVAILABLE at once."""
    requester = DirectRequester(Metrics())
    async with asyncio.timeout(0.1):
        assert await requester.request(make_request()) is PublishOutcome.BROKER_UNAVAILABLE


async def test_a_broken_connection_is_an_unknown_outcome(amqp_url: str, service: AbstractChannel) -> None:
    """No reply can come any more; the next connection serves the next request."""
    taken = asyncio.Event()
    silent = True

    async def take(message: DeliveredMessage) -> None:
        taken.set()
        if not silent:
            await reply_to(service, message, b"{}")

    await answer(service, take)
    async with Proxy.before(amqp_url) as proxy, requesting(proxy.url(amqp_url)) as (requester, publisher):
        waiting = asyncio.create_task(requester.request(make_request(timeout=60)))
        await taken.wait()
        proxy.reset()
        async with asyncio.timeout(10):
            assert await waiting is PublishOutcome.UNKNOWN_OUTCOME
        silent = False
        await until(lambda: publisher.connection.generation == 2 and publisher.connection.up_since)
        assert await requester.request(make_request()) == Reply(body=b"{}")


async def test_a_missing_exchange_is_unroutable(amqp_url: str, service: AbstractChannel) -> None:
    """Deleted under the bridge: the channel dies, the connection is made anew with all it needs."""
    async with requesting(amqp_url) as (requester, publisher):
        await service.exchange_delete(EXCHANGE)
        assert await requester.request(make_request()) is PublishOutcome.UNROUTABLE
        await until(lambda: publisher.connection.generation == 2 and publisher.connection.up_since)
        assert await requester.request(make_request()) is PublishOutcome.UNROUTABLE
        assert publisher.connection.generation == 2


async def test_so_many_wait_and_no_more(amqp_url: str, service: AbstractChannel) -> None:
    """A further request waits for its turn; when none comes in its time, it was not sent."""
    held: list[DeliveredMessage] = []

    async def hold(message: DeliveredMessage) -> None:
        held.append(message)

    await answer(service, hold)
    async with requesting(amqp_url, in_flight=2) as (requester, _):
        first = [asyncio.create_task(requester.request(make_request(b"%d" % i))) for i in range(2)]
        await until(lambda: len(held) == 2)
        assert await requester.request(make_request(timeout=0.1)) is PublishOutcome.BROKER_UNAVAILABLE
        third = asyncio.create_task(requester.request(make_request(b"2")))
        await reply_to(service, held[0], held[0].body)
        await until(lambda: len(held) == 3)
        for message in held[1:]:
            await reply_to(service, message, message.body)
        assert [await one for one in (*first, third)] == [Reply(body=b"%d" % i) for i in range(3)]


async def test_a_memory_alarm_ends_in_time(
    amqp_url: str, broker: PrivateBroker, service: AbstractChannel
) -> None:
    """While the broker takes nothing the client is answered; afterwards all is as before."""

    async def echo(message: DeliveredMessage) -> None:
        await reply_to(service, message, message.body)

    await answer(service, echo)
    async with requesting(amqp_url) as (requester, publisher):
        alarm = memory_alarm(broker)
        await asyncio.to_thread(alarm.__enter__)
        try:
            outcomes = [await requester.request(make_request(timeout=1)) for _ in range(2)]
        finally:
            await asyncio.to_thread(alarm.__exit__, None, None, None)
        assert set(outcomes) <= {PublishOutcome.TIMEOUT, PublishOutcome.BROKER_UNAVAILABLE}
        async with asyncio.timeout(10):
            while not isinstance(await requester.request(make_request(timeout=1)), Reply):
                pass
        assert publisher.connection.generation == 1


async def test_many_at_once_each_get_their_own(amqp_url: str, service: AbstractChannel) -> None:
    """Also when some of those who wait give up; nothing is left over."""
    without_debug()

    async def echo(message: DeliveredMessage) -> None:
        await reply_to(service, message, message.body)

    await answer(service, echo)
    async with requesting(amqp_url) as (requester, _):
        tasks = [asyncio.create_task(requester.request(make_request(b"%d" % i))) for i in range(1500)]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        for i, reply in enumerate(found):
            if i % 3:
                assert reply == Reply(body=b"%d" % i)
            else:
                assert isinstance(reply, asyncio.CancelledError)
        assert requester._waiting == {}
