"""A consumer that the broker has forgotten: noticed, replaced, and nothing lost by it."""

import asyncio
from pathlib import Path

from aiormq.abc import AbstractChannel
from structlog.testing import capture_logs

from bridge.amqp.address import parse_address
from bridge.amqp.channel import LinkLostError
from bridge.amqp.event_reader import StreamReader
from bridge.amqp.link import Link
from bridge.amqp.stalls import watch_for_stall
from bridge.amqp.subscription import Subscription
from bridge.config.model import Stream
from bridge.config.units import Duration, Size
from bridge.model import Delivery
from bridge.telemetry.metrics import Metrics
from dev.broker import PrivateBroker
from tests.support.amqp import TOPOLOGY, Recorder, make_config, running, send, until, without_debug
from tests.support.proxy import Proxy

_SIZE = 10_000


def find_segments(broker: PrivateBroker, amqp_url: str) -> list[Path]:
    """The segments of the log of a virtual host, the oldest first."""
    vhost = amqp_url.rpartition("/")[2]
    return sorted(broker.folder.glob(f"data/*/stream/{vhost}_bridge_events_*/*.segment"))


def let_retention_end(broker: PrivateBroker) -> None:
    """Each new segment makes the broker look at all of them, and it cannot bear that one is missing then."""
    broker.rabbitmqctl("eval", "sys:get_state(osiris_retention).")


async def test_consumer_that_the_broker_forgot_is_replaced(
    amqp_url: str, service: AbstractChannel, broker: PrivateBroker
) -> None:
    """Where the next segment is gone for a moment nothing comes any more; the next consumer has it all.

    While the proxy holds acknowledgements it holds heartbeats, too: the broker waits for them for 16 s.
    """
    without_debug()
    recorder = Recorder()
    async with Proxy.before(amqp_url) as proxy:
        config = make_config(
            proxy.url(amqp_url), stream=Stream(max_bytes=Size("10MB")), prefetch=10, heartbeat=Duration("8s")
        )
        reader = StreamReader(config, TOPOLOGY, "one", Metrics(), recorder.on_caught_up)
        with capture_logs() as logs:
            async with running(reader.run(recorder.handle)):
                await until(lambda: reader.connection.up_since)
                proxy.hold("to_server")  # acknowledgements, without which the broker sends no more than ten
                for start in range(0, 200, 20):
                    await send(service, *(b"%d " % n + b"x" * _SIZE for n in range(start, start + 20)))
                await asyncio.to_thread(let_retention_end, broker)
                second = find_segments(broker, amqp_url)[1]
                index = second.with_suffix(".index")  # by which the broker finds segments when it trims
                hidden_index = index.rename(index.with_suffix(".hidden_index"))
                hidden = second.rename(second.with_suffix(".hidden"))
                proxy.pass_on()
                await until(lambda: any(log["event"] == "log.stalled" for log in logs), within=60)
                hidden.rename(second)
                hidden_index.rename(index)
                await recorder.wait_for(200)
    assert [int(body.split()[0]) for body in recorder.bodies] == list(range(200))
    assert reader.connection.generation == 2
    assert recorder.epochs_after == []


async def test_silence_is_no_stall(amqp_url: str) -> None:
    """Where nothing happens the markers come, and the consumer stays."""
    markers: list[Delivery] = []

    config = make_config(amqp_url, heartbeat=Duration("1s"))
    reader = StreamReader(config, TOPOLOGY, "one", Metrics(), lambda: None)
    async with running(reader.run(markers.extend)):
        await until(lambda: len(markers) >= 4)
        assert reader.connection.generation == 1


async def test_broker_that_takes_nothing_is_no_stall(amqp_url: str, service: AbstractChannel) -> None:
    """A marker that could not be published, as in a memory alarm, says nothing of what is delivered."""
    await service.queue_declare("quiet", durable=True)
    tried = 0

    async def publish_in_vain() -> None:
        nonlocal tried
        tried += 1
        raise LinkLostError("not published")

    link = await Link.connect(parse_address(amqp_url), "test", 10)
    try:
        subscription = await Subscription.open(link, "quiet", prefetch=1)
        async with (
            running(subscription.take(1)),
            running(watch_for_stall(subscription, link, 0.05, publish_in_vain)),
        ):
            await until(lambda: tried >= 3)
            assert not link.lost.done()
    finally:
        await link.close()
