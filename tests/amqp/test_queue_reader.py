"""Reading a queue of one's own: order, what came meanwhile, and epochs wherever something may be missing."""

import asyncio
from collections.abc import Sequence

from aiormq.abc import AbstractChannel
from structlog.testing import capture_logs

from bridge.amqp.queue_reader import QueueReader
from bridge.config.model import Queue
from bridge.config.units import Duration
from bridge.flow.log_window import LogWindow
from bridge.model import Delivery, Place
from bridge.state.history import History
from bridge.telemetry.metrics import Metrics
from dev.broker import PrivateBroker
from tests.support.amqp import TOPOLOGY, Recorder, make_config, running, send, until, without_debug
from tests.support.proxy import Proxy

NAME = "bridge.events.one"


def make_reader(
    url: str, recorder: Recorder, metrics: Metrics | None = None, *, prefetch: int = 1000, **queue: object
) -> QueueReader:
    config = make_config(url, source="queue", queue=Queue(**queue), prefetch=prefetch)  # type: ignore[arg-type]
    return QueueReader(
        config, TOPOLOGY, "one", metrics or Metrics(), recorder.on_caught_up, recorder.on_new_epoch
    )


async def cut(url: str, broker: PrivateBroker) -> None:
    """Break all connections of the virtual host: that of the service too."""
    vhost = url.rpartition("/")[2]
    await asyncio.to_thread(broker.rabbitmqctl, "close_all_connections", "--vhost", vhost, "test")


def count(metrics: Metrics, how: str) -> float:
    return metrics.registry.get_sample_value("bridged_reader_restarts_total", {"how": how}) or 0


def places(recorder: Recorder) -> list[Place]:
    return [Place(delivery.offset or 0, delivery.checksum) for delivery in recorder.deliveries]


async def test_reads_what_came_while_it_was_away(amqp_url: str, service: AbstractChannel) -> None:
    """Backlog first, then `on_caught_up`, then live events; all in order, numbered."""
    first = Recorder()
    reader = make_reader(amqp_url, first)
    async with running(reader.run(first.handle)):
        await until(lambda: reader.connection.up_since)
        await send(service, b"before")
        await first.wait_for(1)
    await send(service, *(b"%d" % number for number in range(500)))
    second = Recorder()
    reader = make_reader(amqp_url, second)
    async with running(reader.run(second.handle)):
        await until(lambda: second.caught_up_after is not None)
        await send(service, b"live")
        await second.wait_for(501)
    assert second.caught_up_after == 500
    assert second.bodies == [*(b"%d" % number for number in range(500)), b"live"]
    offsets = [place.offset for place in places(second)]
    assert offsets == sorted(set(offsets))
    assert offsets[0] >= 1


async def test_places_of_an_earlier_process_mean_nothing(amqp_url: str, service: AbstractChannel) -> None:
    """The same event under the same number has another checksum: each process begins an epoch."""
    found: list[list[Place]] = []
    for _ in range(2):
        await service.queue_delete(NAME)  # so that each has nothing but our event
        recorder = Recorder()
        reader = make_reader(amqp_url, recorder)
        async with running(reader.run(recorder.handle)):
            await until(lambda: recorder.caught_up_after is not None)  # noqa: B023  awaited within the turn
            await send(service, b"event")
            await recorder.wait_for(1)
        found.append(places(recorder))
        assert recorder.epochs_after == []
    [one], [other] = found
    assert one.offset == other.offset
    assert one.checksum != other.checksum


async def test_a_cut_connection_goes_on_in_the_same_epoch(amqp_url: str, broker: PrivateBroker) -> None:
    """What comes meanwhile waits in the queue: nothing is missing."""
    recorder, metrics = Recorder(), Metrics()
    reader = make_reader(amqp_url, recorder, metrics)
    async with running(reader.run(recorder.handle)):
        await until(lambda: recorder.caught_up_after is not None)
        await cut(amqp_url, broker)
        await until(lambda: reader.connection.generation == 2 and reader.connection.up_since)
    assert recorder.epochs_after == []
    assert (count(metrics, "resumed"), count(metrics, "new_epoch")) == (1, 0)


async def test_a_deleted_queue_begins_an_epoch(amqp_url: str, service: AbstractChannel) -> None:
    """It is declared anew, and what came in between is gone."""
    history = History(1_000_000, 600.0)
    window = LogWindow(history, asyncio.get_running_loop().time, 10.0)
    recorder, metrics = Recorder(), Metrics()

    def handle(batch: Sequence[Delivery]) -> None:
        window.record(batch, window.date(batch), [() for _ in batch])
        recorder.handle(batch)

    reader = QueueReader(
        make_config(amqp_url, source="queue"),
        TOPOLOGY,
        "one",
        metrics,
        window.caught_up,
        window.begin_epoch,
    )
    async with running(reader.run(handle)):
        await until(lambda: reader.connection.up_since)
        await send(service, b"old")
        await recorder.wait_for(1)
        [old] = places(recorder)
        assert history.holds(old)
        with capture_logs() as logs:
            await service.queue_delete(NAME)
            await until(lambda: reader.connection.generation == 2 and reader.connection.up_since)
        assert not history.holds(old)
        await send(service, b"new")
        await recorder.wait_for(2)
        assert history.holds(places(recorder)[1])
    assert count(metrics, "new_epoch") == 1
    [warning] = [line for line in logs if line["event"] == "log.new_epoch"]
    assert warning["queue"] == NAME


async def test_a_queue_that_expired_begins_an_epoch(
    amqp_url: str, broker: PrivateBroker, service: AbstractChannel
) -> None:
    """The instance was away for longer than the queue is kept."""
    recorder = Recorder()
    async with Proxy.before(amqp_url) as proxy:
        reader = make_reader(proxy.url(amqp_url), recorder, expires=Duration("500ms"))
        async with running(reader.run(recorder.handle)):
            await until(lambda: recorder.caught_up_after is not None)
            await send(service, b"old")
            await recorder.wait_for(1)
            proxy.refuse()
            await until(lambda: reader.connection.down_since)
            vhost = amqp_url.rpartition("/")[2]
            while NAME in await asyncio.to_thread(broker.rabbitmqctl, "list_queues", "-p", vhost, "name"):
                pass
            proxy.pass_on()
            await until(lambda: reader.connection.up_since)
            await send(service, b"new")
            await recorder.wait_for(2)
    assert recorder.bodies == [b"old", b"new"]
    assert recorder.epochs_after == [1]


async def test_a_full_queue_on_reconnecting_begins_an_epoch(amqp_url: str, service: AbstractChannel) -> None:
    """It dropped what was too much while nobody was there to be told."""
    recorder, metrics = Recorder(), Metrics()
    async with Proxy.before(amqp_url) as proxy:
        reader = make_reader(proxy.url(amqp_url), recorder, metrics, max_length=10)
        async with running(reader.run(recorder.handle)):
            await until(lambda: recorder.caught_up_after is not None)
            await send(service, b"seen")
            await recorder.wait_for(1)
            for number, epochs in ((5, 0), (30, 1)):
                before = len(recorder.deliveries)
                proxy.refuse()
                await until(lambda: reader.connection.down_since)
                await send(service, *(b"%d" % index for index in range(number)))
                proxy.pass_on()
                last = b"%d" % (number - 1)
                await until(lambda last=last, before=before: last in recorder.bodies[before:])
                assert len(recorder.epochs_after) == epochs
    assert recorder.bodies[-10:] == [b"%d" % index for index in range(20, 30)]
    assert (count(metrics, "resumed"), count(metrics, "new_epoch")) == (1, 1)


async def test_what_is_dropped_while_it_is_read_begins_an_epoch(
    amqp_url: str, service: AbstractChannel
) -> None:
    """The instance is slow, and the queue is full: it is told of every drop."""
    recorder, metrics = Recorder(), Metrics()
    async with Proxy.before(amqp_url) as proxy:
        reader = make_reader(proxy.url(amqp_url), recorder, metrics, prefetch=2, max_length=5)
        async with running(reader.run(recorder.handle)):
            await until(lambda: recorder.caught_up_after is not None and not reader.handled)
            proxy.hold("to_server")  # acknowledgements
            await send(service, *(b"%d" % number for number in range(7)))
            await recorder.wait_for(2)
            assert recorder.epochs_after == []
            await send(service, b"too much")
            await until(lambda: recorder.epochs_after)
            proxy.pass_on()
            await until(lambda: b"too much" in recorder.bodies)
        old, new = recorder.deliveries[0], recorder.deliveries[-1]
    assert len(recorder.bodies) == 7
    assert count(metrics, "new_epoch") == 1
    assert old.offset is not None
    assert new.offset is not None
    assert old.offset < new.offset


async def test_a_queue_with_other_arguments_is_never_taken_for_whole(
    amqp_url: str, broker: PrivateBroker, service: AbstractChannel
) -> None:
    """It is used as it is, but does not tell what it drops: each connection begins an epoch."""
    await service.queue_declare(NAME, durable=True, arguments={"x-max-length": 5})
    recorder = Recorder()
    reader = make_reader(amqp_url, recorder)
    with capture_logs() as logs:
        async with running(reader.run(recorder.handle)):
            await until(lambda: recorder.caught_up_after is not None)
            await send(service, b"event")
            await recorder.wait_for(1)
            await cut(amqp_url, broker)
            await until(lambda: reader.connection.generation == 2 and reader.connection.up_since)
    assert recorder.epochs_after == [1]
    assert "queue.differs" in [line["event"] for line in logs]


async def test_equal_events_are_two_events(amqp_url: str, service: AbstractChannel) -> None:
    """One before a loss of the connection and one after it: neither has come again."""
    recorder = Recorder()
    async with Proxy.before(amqp_url) as proxy:
        reader = make_reader(proxy.url(amqp_url), recorder)
        async with running(reader.run(recorder.handle)):
            await until(lambda: recorder.caught_up_after is not None)
            for generation in (1, 2, 3):
                await until(
                    lambda wanted=generation: (
                        reader.connection.generation == wanted and reader.connection.up_since
                    )
                )
                await send(service, b"tick", message_id="same")
                await recorder.wait_for(generation)
                proxy.reset()
    assert recorder.bodies == [b"tick"] * 3


async def test_an_event_that_got_lost_on_its_way_is_not_taken_for_an_equal_one(
    amqp_url: str, service: AbstractChannel
) -> None:
    """Sent and never seen, it comes again; the other one was handled, and the broker knows."""
    recorder = Recorder()
    async with Proxy.before(amqp_url) as proxy:
        config = make_config(proxy.url(amqp_url), source="queue", heartbeat=Duration("1s"))
        reader = QueueReader(config, TOPOLOGY, "one", Metrics(), recorder.on_caught_up, recorder.on_new_epoch)
        async with running(reader.run(recorder.handle)):
            await until(lambda: recorder.caught_up_after is not None)
            await send(service, b"tick", b"tack", b"tick", message_id="same")
            await recorder.wait_for(3)
            await until(lambda: not reader.handled)
            proxy.drop("to_client")
            await send(service, b"tick", b"tack", message_id="same")
            await until(lambda: reader.connection.down_since)
            proxy.pass_on()
            await recorder.wait_for(5)
            await send(service, b"end")
            await recorder.wait_for(6)
    assert recorder.bodies == [b"tick", b"tack", b"tick", b"tick", b"tack", b"end"]


async def test_what_was_handled_comes_once_and_in_order_when_its_acknowledgement_was_lost(
    amqp_url: str, service: AbstractChannel
) -> None:
    """What the last connection holds comes first: nobody else may read the queue until it is given up."""
    without_debug()
    recorder = Recorder()
    async with Proxy.before(amqp_url) as proxy:
        config = make_config(proxy.url(amqp_url), source="queue", prefetch=4, heartbeat=Duration("1s"))
        reader = QueueReader(config, TOPOLOGY, "one", Metrics(), recorder.on_caught_up, recorder.on_new_epoch)
        async with running(reader.run(recorder.handle)):
            await until(lambda: recorder.caught_up_after is not None and not reader.handled)
            proxy.drop("to_server")  # acknowledgements
            await send(service, *(b"%d" % number for number in range(20)))
            await recorder.wait_for(4)
            await until(lambda: reader.connection.down_since)
            proxy.pass_on()
            await until(lambda: recorder.bodies[-1] == b"19")
    assert recorder.bodies == [b"%d" % number for number in range(20)]
