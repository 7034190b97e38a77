"""Reading round the log: exclusive, bounded, and back after every loss."""

import asyncio
from collections.abc import Sequence

import pytest
from aiormq.abc import AbstractChannel

from bridge.amqp.connection import HandlerFailedError
from bridge.amqp.live_reader import LiveReader
from bridge.amqp.topology import Topology
from bridge.config.model import Amqp
from bridge.config.units import Duration
from bridge.model import INSTANCES_EXCHANGE, Delivery
from bridge.telemetry.metrics import Metrics
from dev.broker import PrivateBroker
from tests.support.amqp import EXCHANGE, Recorder, make_config, running, send, until
from tests.support.proxy import Proxy

TOPOLOGY = Topology(exchanges=(EXCHANGE,), live_bindings=((EXCHANGE, "chat.*.typing"),))
KEY = "chat.apollo.typing"


def make_reader(config: Amqp, name: str = "one") -> LiveReader:
    """A reader that is asked as `name`."""
    own = [(INSTANCES_EXCHANGE, "all"), (INSTANCES_EXCHANGE, name)]
    return LiveReader(config, TOPOLOGY, own, name, Metrics())


async def find_queues(broker: PrivateBroker, url: str) -> list[str]:
    """The queues that stand on a virtual host."""
    vhost = url.rpartition("/")[2]
    out = await asyncio.to_thread(broker.rabbitmqctl, "list_queues", "--silent", "-p", vhost, "name")
    return [line for line in out.splitlines() if line.startswith("bridge.")]


async def test_every_instance_reads_what_is_bound_and_its_own(
    amqp_url: str, service: AbstractChannel
) -> None:
    """In order, without a place in the log; the other exchange's keys are as many as were asked for."""
    one, two = Recorder(), Recorder()
    first, second = make_reader(make_config(amqp_url)), make_reader(make_config(amqp_url), "two")
    async with running(first.run(one.handle)), running(second.run(two.handle)):
        async with asyncio.timeout(30):
            await asyncio.gather(first.established.wait(), second.established.wait())
        for number in range(100):
            await send(service, b"%d" % number, key=KEY)
        await send(service, b"no", key="chat.apollo.message")
        for key in ("one", "two", "three", "all"):
            await service.basic_publish(b"to " + key.encode(), exchange=INSTANCES_EXCHANGE, routing_key=key)
        await one.wait_for(102)
        await two.wait_for(102)
    typed = [b"%d" % number for number in range(100)]
    assert one.bodies == [*typed, b"to one", b"to all"]
    assert two.bodies == [*typed, b"to two", b"to all"]
    assert {delivery.offset for delivery in one.deliveries} == {None}


async def test_the_queue_is_its_own_and_goes_with_it(
    amqp_url: str, broker: PrivateBroker, service: AbstractChannel
) -> None:
    """Nothing is left on the broker, and nothing that came meanwhile is read later."""
    recorder = Recorder()
    async with running((reader := make_reader(make_config(amqp_url))).run(recorder.handle)):
        async with asyncio.timeout(30):
            await reader.established.wait()
        (queue,) = await find_queues(broker, amqp_url)
        assert queue.startswith("bridge.live.one.")
    async with asyncio.timeout(30):
        while await find_queues(broker, amqp_url):
            pass  # each look takes the broker a moment
    await service.basic_publish(b"missed", exchange=EXCHANGE, routing_key=KEY)
    async with running((reader := make_reader(make_config(amqp_url))).run(recorder.handle)):
        async with asyncio.timeout(30):
            await reader.established.wait()
        await send(service, b"new", key=KEY)
        await recorder.wait_for(1)
    assert recorder.bodies == [b"new"]


async def test_it_comes_back_after_a_connection_that_hangs(amqp_url: str, service: AbstractChannel) -> None:
    """The broker may still hold the old queue: the new one has a name of its own."""
    recorder = Recorder()
    async with Proxy.before(amqp_url) as proxy:
        reader = make_reader(make_config(proxy.url(amqp_url), heartbeat=Duration("1s")))
        async with running(reader.run(recorder.handle)):
            async with asyncio.timeout(30):
                await reader.established.wait()
            proxy.drop()
            await until(lambda: reader.connection.down_since)
            proxy.pass_on()
            await until(lambda: reader.connection.up_since)
            await send(service, b"again", key=KEY)
            await recorder.wait_for(1)
    assert recorder.bodies == [b"again"]


async def test_handler_that_fails_ends_the_reading(amqp_url: str, service: AbstractChannel) -> None:
    """An exception of the handler is a broken promise: `run` ends with it instead of going on."""

    def fail(_: Sequence[Delivery]) -> None:
        raise ValueError("no")

    reader = make_reader(make_config(amqp_url))
    async with running(reader.run(fail)) as reading:
        async with asyncio.timeout(30):
            await reader.established.wait()
        await send(service, b"event", key=KEY)
        with pytest.raises(HandlerFailedError):
            await reading
