"""Reading events: order, completeness, and what a broken connection, broker or log does to them."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest
from aiormq.abc import AbstractChannel
from pamqp.commands import Basic
from structlog.testing import capture_logs

from bridge.amqp.connection import HandlerFailedError
from bridge.amqp.event_reader import StreamReader
from bridge.amqp.publisher import ConfirmingPublisher
from bridge.amqp.topology import stream_arguments
from bridge.config.model import Amqp, Stream
from bridge.config.units import Duration, Size
from bridge.flow.log_window import LogWindow
from bridge.model import Delivery, Place, PublishOutcome
from bridge.state.history import History
from bridge.telemetry.metrics import Metrics
from dev.broker import PrivateBroker
from tests.support.amqp import (
    EXCHANGE,
    TOPOLOGY,
    Load,
    Recorder,
    make_config,
    running,
    send,
    until,
    without_debug,
)
from tests.support.broker import kill_leader, memory_alarm, save_directory
from tests.support.proxy import Proxy
from tests.support.raw_amqp import publish_raw


def make_reader(url: str, recorder: Recorder, metrics: Metrics | None = None) -> StreamReader:
    return StreamReader(
        make_config(url),
        TOPOLOGY,
        "one",
        metrics or Metrics(),
        recorder.on_caught_up,
        on_new_epoch=recorder.on_new_epoch,
    )


async def test_reads_events_in_order(amqp_url: str, service: AbstractChannel) -> None:
    """20,000 events arrive completely, in order, each with its offset."""
    without_debug()
    recorder = Recorder()
    reader = make_reader(amqp_url, recorder)
    async with running(reader.run(recorder.handle)):
        await until(lambda: reader.connection.up_since)
        bodies = [b"%d" % number for number in range(20_000)]
        for start in range(0, 20_000, 1000):
            await send(service, *bodies[start : start + 1000])
        await recorder.wait_for(20_000)
    assert recorder.bodies == bodies
    offsets = [delivery.offset for delivery in recorder.deliveries]
    assert offsets == sorted(set(offsets))  # type: ignore[type-var]


async def test_log_from_before_is_read_first_and_in_batches(amqp_url: str, service: AbstractChannel) -> None:
    """What the log holds at the start is handled, then `on_caught_up` is called, then the rest follows."""
    without_debug()
    first = Recorder()
    reader = make_reader(amqp_url, first)
    async with running(reader.run(first.handle)):
        await until(lambda: reader.connection.up_since)
        await send(service, *(b"%d" % number for number in range(2000)))
        await first.wait_for(2000)
    assert first.caught_up_after == 0

    second = Recorder()
    reader = make_reader(amqp_url, second)
    async with running(reader.run(second.handle)):
        await until(lambda: second.caught_up_after is not None)
        await send(service, b"live")
        await second.wait_for(2001)
    assert second.caught_up_after == 2000
    assert second.bodies == [*first.bodies, b"live"]
    assert len(second.batches) < 1000


async def test_connections_closed_under_load(amqp_url: str, broker: PrivateBroker) -> None:
    """Connections that the broker closes, again and again, lose no event and bring none twice."""
    without_debug()
    recorder, metrics = Recorder(), Metrics()
    reader = make_reader(amqp_url, recorder, metrics)
    publisher = ConfirmingPublisher(make_config(amqp_url), TOPOLOGY, "one", metrics)
    load = Load(publisher)
    async with running(reader.run(recorder.handle)), running(publisher.run()), running(load.run()):
        for round_ in (1, 2):
            await until(lambda: reader.connection.up_since and publisher.connection.up_since)
            seen = len(recorder.deliveries)
            await recorder.wait_for(seen + 300)
            vhost = amqp_url.rpartition("/")[2]
            await asyncio.to_thread(broker.rabbitmqctl, "close_all_connections", "--vhost", vhost, "test")
            await until(lambda round_=round_: reader.connection.generation > round_)
        await recorder.wait_for(len(recorder.deliveries) + 300)
        await load.stop()
        await until(lambda: load.confirmed <= set(recorder.bodies))
    load.check(recorder.bodies)
    assert metrics.registry.get_sample_value("bridged_reader_restarts_total", {"how": "new_epoch"}) is None
    assert metrics.registry.get_sample_value("bridged_reader_restarts_total", {"how": "resumed"}) == 2.0


async def test_broker_killed_under_load(amqp_url: str, broker: PrivateBroker) -> None:
    """After a SIGKILL of the broker every confirmed event reaches the handler exactly once."""
    without_debug()
    recorder, metrics = Recorder(), Metrics()
    reader = make_reader(amqp_url, recorder, metrics)
    publisher = ConfirmingPublisher(make_config(amqp_url), TOPOLOGY, "one", metrics)
    load = Load(publisher)
    async with running(reader.run(recorder.handle)), running(publisher.run()), running(load.run()):
        await recorder.wait_for(1000)
        await asyncio.to_thread(save_directory, broker)
        broker.kill()
        await until(lambda: publisher.connection.down_since and reader.connection.down_since)
        assert await publisher.publish(load.next_message()) is PublishOutcome.BROKER_UNAVAILABLE
        await asyncio.to_thread(broker.start)
        await recorder.wait_for(len(recorder.deliveries) + 300)
        await load.stop()
        await until(lambda: load.confirmed <= set(recorder.bodies))
    load.check(recorder.bodies)
    assert metrics.registry.get_sample_value("bridged_reader_restarts_total", {"how": "new_epoch"}) is None


async def test_streams_leader_changes_under_load(amqp_url: str, broker: PrivateBroker) -> None:
    """Every confirmed event reaches the handler, though a RabbitMQ before 4.0 confirms some that it drops."""
    without_debug()
    recorder, metrics = Recorder(), Metrics()
    reader = make_reader(amqp_url, recorder, metrics)
    publisher = ConfirmingPublisher(make_config(amqp_url), TOPOLOGY, "one", metrics)
    load = Load(publisher)
    async with running(reader.run(recorder.handle)), running(publisher.run()):
        await until(lambda: reader.connection.up_since and publisher.connection.up_since)
        nowhere = [load.next_message("nobody.listens") for _ in range(500)]
        assert set(await asyncio.gather(*map(publisher.publish, nowhere))) == {PublishOutcome.UNROUTABLE}
        async with running(load.run()):
            for _ in range(3):
                await recorder.wait_for(len(recorder.deliveries) + 300)
                await asyncio.to_thread(kill_leader, broker, amqp_url.rpartition("/")[2], "bridge.events")
            await recorder.wait_for(len(recorder.deliveries) + 300)
            await load.stop()
        await until(lambda: load.confirmed <= set(recorder.bodies))
    load.check(recorder.bodies)


async def test_stream_deleted_and_declared_anew(amqp_url: str, service: AbstractChannel) -> None:
    """A stream that is deleted while it is read is declared anew and read from its first event."""
    recorder, metrics = Recorder(), Metrics()
    reader = make_reader(amqp_url, recorder, metrics)
    async with running(reader.run(recorder.handle)):
        await until(lambda: reader.connection.up_since)
        await send(service, *(b"old %d" % number for number in range(100)))
        await recorder.wait_for(100)
        await service.queue_delete("bridge.events")
        await until(lambda: reader.connection.generation == 2 and reader.connection.up_since)
        await send(service, b"new")
        await recorder.wait_for(101)
    assert recorder.bodies[100:] == [b"new"]
    assert metrics.registry.get_sample_value("bridged_reader_restarts_total", {"how": "new_epoch"}) == 1.0
    assert recorder.epochs_after == [100]


async def test_stream_replaced_while_away(amqp_url: str, service: AbstractChannel) -> None:
    """Another stream of the same name, as long as the old one, is known by its events."""
    recorder, metrics = Recorder(), Metrics()
    reader = make_reader(amqp_url, recorder, metrics)
    async with running(reader.run(recorder.handle)):
        await until(lambda: reader.connection.up_since)
        await send(service, *(b"old %d" % number for number in range(10)))
        await recorder.wait_for(10)
    await service.queue_delete("bridge.events")
    other = make_reader(amqp_url, Recorder())
    async with running(other.run(recorder_of_nothing)):
        await until(lambda: other.connection.up_since)
    new = [b"new %d" % number for number in range(50)]
    await send(service, *new)
    async with running(reader.run(recorder.handle)):
        await recorder.wait_for(60)
    assert recorder.bodies[10:] == new
    assert metrics.registry.get_sample_value("bridged_reader_restarts_total", {"how": "new_epoch"}) == 1.0
    assert recorder.epochs_after == [10]


async def test_stream_trimmed_while_away(amqp_url: str, service: AbstractChannel) -> None:
    """A log that was trimmed past the last event is a new epoch: what it still holds is read."""
    recorder, metrics = Recorder(), Metrics()
    config = make_config(amqp_url, stream=Stream(max_bytes=Size("1MB")))
    reader = StreamReader(
        config, TOPOLOGY, "one", metrics, recorder.on_caught_up, on_new_epoch=recorder.on_new_epoch
    )
    async with running(reader.run(recorder.handle)):
        await until(lambda: reader.connection.up_since)
        await send(service, b"first")
        await recorder.wait_for(1)
    for number in range(20):
        await send(service, *(b"%d" % number + b"x" * 10_000 for _ in range(20)))
    await send(service, b"last")
    async with running(reader.run(recorder.handle)):
        await until(lambda: b"last" in recorder.bodies)
    assert len(recorder.deliveries) < 400
    assert metrics.registry.get_sample_value("bridged_reader_restarts_total", {"how": "new_epoch"}) == 1.0
    assert recorder.epochs_after == [1]


async def test_stream_trimmed_past_a_slow_reader(amqp_url: str, service: AbstractChannel) -> None:
    """The broker goes on at the floor without a word; the reader begins an epoch before that event."""
    without_debug()
    recorder, metrics = Recorder(), Metrics()
    async with Proxy.before(amqp_url) as proxy:
        config = make_config(
            proxy.url(amqp_url), stream=Stream(max_bytes=Size("1MB")), prefetch=10, heartbeat=Duration("3s")
        )
        reader = StreamReader(
            config, TOPOLOGY, "one", metrics, recorder.on_caught_up, on_new_epoch=recorder.on_new_epoch
        )
        async with running(reader.run(recorder.handle)):
            await until(lambda: reader.connection.up_since)
            await send(service, b"0")
            await recorder.wait_for(1)
            proxy.hold("to_server")  # acknowledgements, without which the broker sends no more than ten
            for start in range(1, 1000, 20):
                await send(service, *(b"%d " % number + b"x" * 10_000 for number in range(start, start + 20)))
            await send(service, b"1001")
            proxy.pass_on()
            await until(lambda: recorder.bodies[-1] == b"1001")
    numbers = [int(body.split()[0]) for body in recorder.bodies]
    [cut] = recorder.epochs_after
    assert numbers[:cut] == list(range(cut))
    assert numbers[cut] > cut
    assert numbers[cut:] == list(range(numbers[cut], 1002))


async def test_a_hole_in_the_offsets_is_no_gap(amqp_url: str, service: AbstractChannel) -> None:
    """The broker leaves one at each segment; whoever keeps up has missed nothing."""
    without_debug()
    recorder, metrics = Recorder(), Metrics()
    config = make_config(amqp_url, stream=Stream(max_bytes=Size("10MB")))
    reader = StreamReader(
        config, TOPOLOGY, "one", metrics, recorder.on_caught_up, on_new_epoch=recorder.on_new_epoch
    )
    async with running(reader.run(recorder.handle)):
        await until(lambda: reader.connection.up_since)
        for start in range(0, 400, 20):
            await send(service, *(b"%d " % number + b"x" * 10_000 for number in range(start, start + 20)))
        await recorder.wait_for(400)
        assert reader.connection.generation == 1
    offsets = [delivery.offset or 0 for delivery in recorder.deliveries]
    assert offsets[-1] - offsets[0] > len(offsets) - 1, "there was no hole"
    assert [int(body.split()[0]) for body in recorder.bodies] == list(range(400))
    assert recorder.epochs_after == []


async def test_a_hole_behind_a_backlog_of_large_events_is_no_dead_end(
    amqp_url: str, service: AbstractChannel
) -> None:
    """While more bytes wait than may, the reader's connection brings no answer to what it would ask there."""
    without_debug()
    config = make_config(amqp_url, stream=Stream(max_bytes=Size("160MB")))

    def make(recorder: Recorder) -> StreamReader:
        return StreamReader(config, TOPOLOGY, "one", Metrics(), recorder.on_caught_up)

    before, recorder = Recorder(), Recorder()
    async with running((reader := make(before)).run(before.handle)):
        await until(lambda: reader.connection.up_since)
    for number in range(400):
        await send(service, b"%d " % number + b"x" * 100_000)
    async with running((reader := make(recorder)).run(recorder.handle)):
        await recorder.wait_for(400)
        assert reader.connection.generation == 1
    offsets = [delivery.offset or 0 for delivery in recorder.deliveries]
    assert offsets[-1] - offsets[0] > len(offsets) - 1, "there was no hole"
    assert [int(body.split()[0]) for body in recorder.bodies] == list(range(400))


async def test_places_of_another_log_mean_nothing(amqp_url: str, service: AbstractChannel) -> None:
    """After the stream was replaced by an equally long one, no cursor of before is taken for one of now."""
    history = History(1_000_000, 600.0)
    window = LogWindow(history, time.time, 10.0)
    recorder = Recorder()

    def handle(batch: Sequence[Delivery]) -> None:
        window.record(batch, window.date(batch), [() for _ in batch])
        recorder.handle(batch)

    reader = StreamReader(
        make_config(amqp_url),
        TOPOLOGY,
        "one",
        Metrics(),
        window.caught_up,
        on_new_epoch=window.begin_epoch,
    )
    async with running(reader.run(handle)):
        await until(lambda: reader.connection.up_since)
        await send(service, *(b"old %d" % number for number in range(20)))
        await recorder.wait_for(20)
        old = [Place(delivery.offset or 0, delivery.checksum) for delivery in recorder.deliveries]
        assert all(map(history.holds, old))
        await service.queue_delete("bridge.events")
        await until(lambda: reader.connection.generation == 2 and reader.connection.up_since)
        await send(service, *(b"new %d" % number for number in range(40)))
        await recorder.wait_for(60)
    new = [Place(delivery.offset or 0, delivery.checksum) for delivery in recorder.deliveries[20:]]
    assert all(map(history.holds, new))
    assert {place.offset for place in old} & {place.offset for place in new}
    assert not any(map(history.holds, old))
    assert window.reach_back(300) is None


async def test_the_place_is_the_brokers_own(amqp_url: str, service: AbstractChannel) -> None:
    """A service that passes on the headers of what it read from a stream does not confuse the reader."""
    recorder = Recorder()
    reader = make_reader(amqp_url, recorder)
    async with running(reader.run(recorder.handle)):
        await until(lambda: reader.connection.up_since)
        for offset in (0, 10**6, "no"):
            properties = Basic.Properties(headers={"x-stream-offset": offset, "x-sid": "s"})
            await service.basic_publish(
                b"", exchange=EXCHANGE, routing_key="project.a.b", properties=properties
            )
        await recorder.wait_for(3)
    offsets = [delivery.offset or 0 for delivery in recorder.deliveries]
    assert offsets == sorted(set(offsets))
    assert 0 < offsets[0] < 100
    assert offsets[-1] < 100


async def test_equal_events_have_equal_checksums_for_every_reader(
    amqp_url: str, service: AbstractChannel
) -> None:
    """A cursor of one instance is understood by another one."""
    recorders = [Recorder(), Recorder()]
    for recorder in recorders:
        reader = make_reader(amqp_url, recorder)
        async with running(reader.run(recorder.handle)):
            await until(lambda reader=reader: reader.connection.up_since)
            if recorder is recorders[0]:
                await send(service, b"a", b"b", b"a")
            await recorder.wait_for(3)
    one, other = [
        [(delivery.offset, delivery.checksum) for delivery in recorder.deliveries] for recorder in recorders
    ]
    assert one == other
    assert len({checksum for _, checksum in one}) == 3


async def test_stream_with_other_arguments_is_used(amqp_url: str, service: AbstractChannel) -> None:
    """A stream that exists with other arguments is used as it is; a warning shows the fix."""
    arguments = {**stream_arguments(Stream()), "x-max-age": "1h"}
    await service.queue_declare("bridge.events", durable=True, arguments=arguments)
    recorder = Recorder()
    reader = make_reader(amqp_url, recorder)
    with capture_logs() as logs:
        async with running(reader.run(recorder.handle)):
            await until(lambda: reader.connection.up_since)
            await send(service, b"event")
            await recorder.wait_for(1)
    (warning,) = [record for record in logs if record["event"] == "queue.differs"]
    assert "x-max-age" in warning["broker_says"]
    assert "amqp.stream" in warning["remedy"]


async def test_queue_in_place_of_the_stream_is_refused(amqp_url: str, service: AbstractChannel) -> None:
    """A classic queue of the stream's name is no log: the reader stays down and says what to do."""
    await service.queue_declare("bridge.events", durable=True)
    reader = make_reader(amqp_url, Recorder())
    with capture_logs() as logs:
        async with running(reader.run(recorder_of_nothing)):
            await until(lambda: reader.connection.generation >= 2)
    assert reader.connection.up_since is None
    reasons = [record["reason"] for record in logs if record["event"] == "broker.unavailable"]
    assert '"bridge.events" is no stream: delete it, or set another amqp.stream.name' in reasons[0]


async def test_half_open_connection_is_noticed(amqp_url: str, service: AbstractChannel) -> None:
    """A connection on which nothing comes any more is given up after two heartbeats and replaced."""
    recorder = Recorder()
    async with Proxy.before(amqp_url) as proxy:
        config = make_config(proxy.url(amqp_url), heartbeat=Duration("2s"))
        reader = StreamReader(config, TOPOLOGY, "one", Metrics(), recorder.on_caught_up)
        async with running(reader.run(recorder.handle)):
            await until(lambda: reader.connection.up_since)
            proxy.drop()
            began = asyncio.get_running_loop().time()
            await send(service, b"missed")
            await until(lambda: reader.connection.down_since, within=10)
            assert asyncio.get_running_loop().time() - began < 2 * config.heartbeat + 2
            proxy.pass_on()
            await recorder.wait_for(1)
    assert recorder.bodies == [b"missed"]
    assert 2 * Amqp().heartbeat + 2 <= 25


async def test_memory_alarm_does_not_stop_the_reading(
    amqp_url: str, broker: PrivateBroker, service: AbstractChannel
) -> None:
    """While the broker takes no messages, those that it has still arrive, beyond the prefetch too."""
    without_debug()
    recorder = Recorder()
    async with Proxy.before(amqp_url) as proxy:
        config = make_config(proxy.url(amqp_url), prefetch=50)
        reader = StreamReader(config, TOPOLOGY, "one", Metrics(), recorder.on_caught_up)
        async with running(reader.run(recorder.handle)):
            await until(lambda: reader.connection.up_since)
            proxy.hold("to_server")
            await send(service, *(b"%d" % number for number in range(500)))
            await recorder.wait_for(40)
            with memory_alarm(broker):
                assert len(recorder.deliveries) < 500
                proxy.pass_on()
                await recorder.wait_for(500, within=5)


async def test_handler_that_fails_ends_the_reading(amqp_url: str, service: AbstractChannel) -> None:
    """An exception of the handler is a broken promise: `run` ends with it instead of going on."""

    def fail(_: Sequence[Delivery]) -> None:
        raise ValueError("no")

    reader = make_reader(amqp_url, Recorder())
    async with running(reader.run(fail)) as reading:
        await until(lambda: reader.connection.up_since)
        await send(service, b"event")
        with pytest.raises(HandlerFailedError):
            await reading


def recorder_of_nothing(_: Sequence[Delivery]) -> None:
    """A handler that drops what it is given."""


@pytest.mark.parametrize(
    "odd",
    [
        {"timestamp": 1_700_000_000_000_000_000},
        {"timestamp": 2**63 + 1},
        {"message_id": b"\xff\xfe"},
        {"headers": b"\x02\xff\xfeS\x00\x00\x00\x01x"},
        {"headers": b"\x01tT\x7f\xff\xff\xff\xff\xff\xff\xff"},
        {"key": b"project.\xe9.state_change"},
    ],
    ids=["nanoseconds", "negative time", "message id", "header name", "header time", "key"],
)
async def test_odd_properties_do_not_stop_the_reading(amqp_url: str, odd: dict[str, Any]) -> None:
    """A message that is not UTF-8 or whose time cannot be is an event like any other."""
    recorder = Recorder()
    reader = make_reader(amqp_url, recorder)
    async with running(reader.run(recorder.handle)):
        await until(lambda: reader.connection.up_since)
        message = {"key": b"project.apollo.state_change"} | odd
        await asyncio.to_thread(publish_raw, amqp_url, EXCHANGE, body=b"odd", **message)
        await recorder.wait_for(1, within=5)
        assert reader.connection.generation == 1
    assert recorder.bodies == [b"odd"]
