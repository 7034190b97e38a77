"""The sink of invalid events: complete, bounded, and never in the way."""

import asyncio

from aiormq.abc import AbstractChannel
from msgspec import structs

from bridge.amqp.invalid import InvalidSink
from bridge.amqp.publisher import ConfirmingPublisher
from bridge.config.model import InvalidQueue
from bridge.model import Delivery, Invalid, PublishMessage, PublishOutcome
from bridge.telemetry.metrics import Metrics
from tests.support import fakes
from tests.support.amqp import TOPOLOGY, make_config, running, until

INVALID = Invalid(route="portal:state_change", reason="schema", error="no such state", path="$.new_state")


def make_delivery(offset: int | None = 7, body: bytes = b"{}") -> Delivery:
    return Delivery(
        exchange="portal.events",
        routing_key="project.apollo.state_change",
        body=body,
        content_type="application/json",
        offset=offset,
        timestamp=5.0,
    )


class ScriptedPublisher:
    """A publisher that answers as it is told, then confirms; implements flow.ports.Publisher."""

    def __init__(self, *outcomes: PublishOutcome) -> None:
        self._outcomes = list(outcomes)
        self.messages: list[PublishMessage] = []

    async def publish(self, message: PublishMessage) -> PublishOutcome:
        self.messages.append(message)
        return self._outcomes.pop(0) if self._outcomes else PublishOutcome.CONFIRMED


async def test_invalid_event_is_kept_with_its_reason(amqp_url: str, service: AbstractChannel) -> None:
    """The message on `bridge.invalid` says what, where and why, and which event it was."""
    metrics = Metrics()
    publisher = ConfirmingPublisher(make_config(amqp_url), TOPOLOGY, "one", metrics)
    sink = InvalidSink(publisher, "bridge.invalid", "bridge.events", metrics)
    sink.put(make_delivery(body=b"{"), INVALID, now=9.0)
    async with running(publisher.run()), running(sink.run()):
        await until(
            lambda: not metrics.registry.get_sample_value("bridged_queue_length", {"queue": "invalid"})
        )
    message = await service.basic_get("bridge.invalid", no_ack=True)
    assert (message.body, message.routing_key) == (b"{", "project.apollo.state_change")
    assert message.header.properties.message_id == "bridge.events:7"
    assert message.header.properties.headers == {
        "reason": "schema",
        "error": "no such state",
        "path": "$.new_state",
        "route": "portal:state_change",
        "exchange": "portal.events",
        "routing_key": "project.apollo.state_change",
    }


async def test_queue_on_the_broker_is_bounded(amqp_url: str, service: AbstractChannel) -> None:
    """The oldest invalid events make room for the newest."""
    metrics = Metrics()
    config = make_config(amqp_url, invalid=InvalidQueue(max_length=3))
    publisher = ConfirmingPublisher(config, TOPOLOGY, "one", metrics)
    sink = InvalidSink(publisher, "bridge.invalid", "bridge.events", metrics)
    for number in range(10):
        sink.put(make_delivery(number, b"%d" % number), INVALID, now=9.0)
    async with running(publisher.run()), running(sink.run()):
        await until(
            lambda: not metrics.registry.get_sample_value("bridged_queue_length", {"queue": "invalid"})
        )
    left = [(await service.basic_get("bridge.invalid", no_ack=True)).body for _ in range(4)]
    assert left == [b"7", b"8", b"9", b""]


async def test_retries_under_the_same_id_while_the_broker_is_away() -> None:
    """What was not confirmed is published again, in order, under the same message id."""
    publisher = ScriptedPublisher(PublishOutcome.BROKER_UNAVAILABLE)
    sink = InvalidSink(publisher, "bridge.invalid", "bridge.events", Metrics())
    sink.put(make_delivery(1), INVALID, now=9.0)
    sink.put(make_delivery(2), INVALID, now=9.0)
    async with running(sink.run()):
        await until(lambda: len(publisher.messages) == 3)
    assert [message.message_id[-1] for message in publisher.messages] == ["1", "1", "2"]


async def test_memory_is_bounded_in_messages_and_bytes() -> None:
    """What finds the queue in memory full is dropped and counted; nothing waits."""
    metrics = Metrics()
    sink = InvalidSink(ScriptedPublisher(), "bridge.invalid", "s", metrics, capacity=10, capacity_bytes=1000)
    for number in range(12):
        sink.put(make_delivery(number), INVALID, now=9.0)
    assert metrics.registry.get_sample_value("bridged_invalid_dropped_total") == 2.0
    sink = InvalidSink(ScriptedPublisher(), "bridge.invalid", "s", metrics, capacity=10, capacity_bytes=1000)
    sink.put(make_delivery(body=b"x" * 900), INVALID, now=9.0)
    sink.put(make_delivery(body=b"x" * 900), INVALID, now=9.0)
    assert metrics.registry.get_sample_value("bridged_invalid_dropped_total") == 3.0


async def test_event_that_cannot_be_kept_does_not_hold_up_the_next() -> None:
    """An outcome that no retry mends is counted as dropped."""
    metrics, publisher = Metrics(), ScriptedPublisher(PublishOutcome.UNROUTABLE)
    sink = InvalidSink(publisher, "bridge.invalid", "bridge.events", metrics)
    sink.put(make_delivery(None), INVALID, now=9.0)
    sink.put(make_delivery(2), INVALID, now=9.0)
    async with running(sink.run()), asyncio.timeout(5):
        await until(lambda: len(publisher.messages) == 2)
    assert metrics.registry.get_sample_value("bridged_invalid_dropped_total") == 1.0


class BrokenPublisher(ScriptedPublisher):
    """A publisher that fails on the first message, as a client library may on odd properties."""

    async def publish(self, message: PublishMessage) -> PublishOutcome:
        outcome = await super().publish(message)
        if len(self.messages) == 1:
            raise ValueError("year 146140482 is out of range")
        return outcome


async def test_event_that_cannot_be_encoded_does_not_end_the_instance() -> None:
    """It would end all that read it, and again after every restart."""
    metrics, publisher = Metrics(), BrokenPublisher()
    sink = InvalidSink(publisher, "bridge.invalid", "bridge.events", metrics)
    sink.put(make_delivery(1), INVALID, now=9.0)
    sink.put(make_delivery(2), INVALID, now=9.0)
    async with running(sink.run()), asyncio.timeout(5):
        await until(lambda: len(publisher.messages) == 2)
    assert metrics.registry.get_sample_value("bridged_invalid_dropped_total") == 1.0


async def test_properties_that_have_grown_are_left_out() -> None:
    """What was no UTF-8 in 255 bytes becomes three times as long when it is read."""
    publisher = ScriptedPublisher()
    sink = InvalidSink(publisher, "bridge.invalid", "bridge.events", Metrics())
    grown = structs.replace(make_delivery(None), content_type="\ufffd" * 255, message_id="\ufffd" * 255)
    sink.put(grown, INVALID, now=9.0)
    async with running(sink.run()), asyncio.timeout(5):
        await sink.drain()
    message = publisher.messages[0]
    assert message.content_type == "application/octet-stream"
    assert len(message.message_id) < 40


async def test_draining_waits_for_the_last_confirm() -> None:
    """An empty sink is drained at once; one that waits for the broker is not."""
    publisher = fakes.ScriptedPublisher()
    publisher.holding = True
    sink = InvalidSink(publisher, "bridge.invalid", "bridge.events", Metrics())
    await sink.drain()
    async with running(sink.run()):
        sink.put(make_delivery(), INVALID, now=9.0)
        drained = asyncio.create_task(sink.drain())
        await fakes.settle()
        assert not drained.done()
        await publisher.release()
        assert drained.done()
