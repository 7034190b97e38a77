"""Reading what outlives the log: whole, in order, before the log; and what the broker copies into it."""

from collections.abc import Awaitable, Callable, Sequence

import pytest
from aiormq.abc import AbstractChannel
from pamqp.commands import Basic

from bridge.amqp.connection import BrokerConnection
from bridge.amqp.event_reader import StreamReader
from bridge.amqp.link import Link
from bridge.amqp.state_reader import StateReader
from bridge.amqp.topology import Topology, TopologyError
from bridge.model import CONTROL_EXCHANGE, Delivery
from bridge.telemetry.metrics import Metrics
from tests.support.amqp import EXCHANGE, Recorder, make_config, running, send, until

RETAINED = "project.apollo.state_change"
TOPOLOGY = Topology(
    exchanges=(EXCHANGE,),
    bindings=((EXCHANGE, "project.*.*"),),
    state_bindings=((EXCHANGE, "project.*.state_change"),),
)


class Sink:
    """A sink that notes all it is told."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.copies: list[Delivery] = []

    def begin(self) -> None:
        self.steps.append("begin")
        self.copies = []

    def take(self, copies: Sequence[Delivery]) -> None:
        self.copies += [copy for copy in copies if copy.routing_key != "state.end"]

    def end(self) -> None:
        self.steps.append("end")

    @property
    def seen(self) -> list[tuple[str, bytes]]:
        return [(copy.routing_key, copy.body) for copy in self.copies]


async def read_once(url: str, sink: Sink) -> None:
    """Read the state as a reader does that starts."""
    config = make_config(url)
    connection = BrokerConnection(config, "read", Metrics())
    link = await connection.connect()
    try:
        await StateReader(config, TOPOLOGY, "one", sink).read(link, connection)
    finally:
        await link.close()


async def say(channel: AbstractChannel, exchange: str, key: str, body: bytes) -> None:
    """Publish one message with a confirm."""
    await channel.basic_publish(
        body, exchange=exchange, routing_key=key, properties=Basic.Properties(delivery_mode=2)
    )


async def test_the_broker_copies_what_is_to_last_whoever_runs(
    amqp_url: str, service: AbstractChannel
) -> None:
    """Revocations, bans and retained events, in their order; no other orders, no other events."""
    sink = Sink()
    await read_once(amqp_url, sink)
    assert (sink.steps, sink.seen) == (["begin", "end"], [])
    await say(service, EXCHANGE, RETAINED, b"1")
    await say(service, EXCHANGE, "project.apollo.task_update", b"2")
    for key in ("user.revoke", "user.disconnect", "user.ban", "room.evict", "user.revoke.more"):
        await say(service, CONTROL_EXCHANGE, key, b"3")
    await say(service, "bridge.state", "any.key", b"4")
    await say(service, EXCHANGE, RETAINED, b"5")
    for _ in range(2):
        await read_once(amqp_url, sink)
        assert sink.seen == [
            (RETAINED, b"1"),
            ("user.revoke", b"3"),
            ("user.ban", b"3"),
            ("any.key", b"4"),
            (RETAINED, b"5"),
        ]


async def test_a_state_of_many_messages_is_read_whole(amqp_url: str, service: AbstractChannel) -> None:
    """Beyond what the broker sends ahead."""
    sink = Sink()
    await read_once(amqp_url, sink)
    bodies = [b"%d" % number for number in range(3000)]
    await send(service, *bodies, key=RETAINED)
    await read_once(amqp_url, sink)
    assert [copy.body for copy in sink.copies] == bodies


async def test_the_state_is_read_before_the_log_and_again_at_a_new_epoch(
    amqp_url: str, service: AbstractChannel
) -> None:
    """Not when reading goes on where it was."""
    sink, recorder, metrics = Sink(), Recorder(), Metrics()
    order: list[str] = []
    config = make_config(amqp_url)
    reader = StreamReader(config, TOPOLOGY, "one", metrics, recorder.on_caught_up)
    state = StateReader(config, TOPOLOGY, "one", sink)

    def noting(read: Callable[[Link, BrokerConnection], Awaitable[None]]) -> object:
        async def note(link: Link, connection: BrokerConnection) -> None:
            order.append("state")
            await read(link, connection)

        return note

    def handle(batch: Sequence[Delivery]) -> None:
        order.append("log")
        recorder.handle(batch)

    reader.read_before = noting(state.read)  # type: ignore[assignment]
    async with running(reader.run(handle)):
        await until(lambda: reader.connection.up_since)
        await send(service, b"1", key=RETAINED)
        await recorder.wait_for(1)
    assert order[:2] == ["state", "log"]
    assert order.count("state") == 1
    async with running(reader.run(handle)):
        await send(service, b"2")
        await recorder.wait_for(2)
        assert order.count("state") == 1
        await service.queue_delete("bridge.events")
        await until(lambda: sink.steps.count("end") == 2)
    assert sink.seen == [(RETAINED, b"1"), (RETAINED, b"2")]
    assert sink.steps == ["begin", "end"] * 2


async def test_a_queue_in_place_of_the_state_is_refused(amqp_url: str, service: AbstractChannel) -> None:
    """Nobody can read it twice; the error says what to do."""
    await service.queue_declare("bridge.state", durable=True)
    with pytest.raises(TopologyError, match=r"no stream: delete it, or set another amqp\.state\.name"):
        await read_once(amqp_url, Sink())


async def test_a_state_that_was_deleted_is_declared_and_bound_again(
    amqp_url: str, service: AbstractChannel
) -> None:
    """Its stream, and its exchange with all bindings."""
    sink = Sink()
    await read_once(amqp_url, sink)
    await service.exchange_delete("bridge.state")
    await service.queue_delete("bridge.state")
    await read_once(amqp_url, sink)
    await send(service, b"1", key=RETAINED)
    await read_once(amqp_url, sink)
    assert sink.seen == [(RETAINED, b"1")]
