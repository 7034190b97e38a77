"""A consumer's deliveries: taken in batches at once, acknowledged in quarters of the prefetch."""

import asyncio
from collections.abc import Coroutine

import pytest

from bridge.amqp.channel import Channel, LinkLostError
from bridge.amqp.events import Content
from bridge.amqp.frames import encode_ack
from bridge.amqp.subscription import Subscription
from tests.support.amqp import until
from tests.support.fake_broker import FakeCarrier
from tests.support.fakes import Clock


def make_contents(first: int, count: int, size: int = 1) -> list[Content]:
    return [Content(tag, "e", "k", b"\0\0", b"x" * size) for tag in range(first, first + count)]


@pytest.fixture
def carrier() -> FakeCarrier:
    return FakeCarrier()


@pytest.fixture
async def channel(carrier: FakeCarrier) -> Channel:
    return Channel(carrier, 3)


def deliver(channel: Channel, contents: list[Content]) -> None:
    assert channel.on_deliveries is not None
    channel.on_deliveries(contents)


async def test_a_lone_delivery_is_taken_in_the_next_step(channel: Channel) -> None:
    """No timer and no further turn of the loop lies between the bytes and the handler."""
    subscription = Subscription(channel, 100)
    taking = asyncio.create_task(subscription.take(10))
    await asyncio.sleep(0)
    deliver(channel, make_contents(1, 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert taking.done()


async def test_what_came_together_is_taken_together(channel: Channel) -> None:
    """Up to the limit, oldest first."""
    subscription = Subscription(channel, 100)
    contents = make_contents(1, 25)
    deliver(channel, contents[:20])
    deliver(channel, contents[20:])
    assert await subscription.take(15) == contents[:15]
    assert await subscription.take(15) == contents[15:]


async def test_acknowledges_a_quarter_of_the_prefetch_at_a_time(
    channel: Channel, carrier: FakeCarrier
) -> None:
    """Fewer are acknowledged soon after; nothing is acknowledged twice."""
    subscription = Subscription(channel, 100)
    for tag in range(1, 61):
        subscription.acknowledge(make_contents(tag, 1)[0])
    assert carrier.written == [encode_ack(3, 25), encode_ack(3, 50)]
    await until(lambda: len(carrier.written) == 3)
    subscription.flush()
    assert carrier.written[2:] == [encode_ack(3, 60)]


async def test_pauses_at_its_bound_and_goes_on_at_half(channel: Channel, carrier: FakeCarrier) -> None:
    """The bound is one of bytes."""
    subscription = Subscription(channel, 100, most_bytes=1000)
    deliver(channel, make_contents(1, 10, 100))
    assert not carrier.paused
    deliver(channel, make_contents(11, 1, 1))
    assert carrier.paused
    await subscription.take(5)
    assert carrier.paused
    await subscription.take(1)
    assert not carrier.paused


async def test_a_paused_connection_is_another_ones_too(carrier: FakeCarrier) -> None:
    """What one consumer takes does not let on what another holds up."""
    full, other = Channel(carrier, 1), Channel(carrier, 2)
    slow, quick = Subscription(full, 100, most_bytes=10), Subscription(other, 100, most_bytes=10)
    deliver(full, make_contents(1, 2, 10))
    deliver(other, make_contents(1, 1))
    await quick.take(1)
    assert carrier.paused
    deliver(full, make_contents(3, 1, 10))
    await slow.take(3)
    assert not carrier.paused
    deliver(full, make_contents(4, 2, 10))
    deliver(other, make_contents(2, 2, 10))
    full.end(LinkLostError("refused"))
    assert carrier.paused
    await quick.take(2)
    assert carrier.pauses == 0


async def test_a_broker_that_does_not_agree_to_the_end(channel: Channel, carrier: FakeCarrier) -> None:
    """Whoever closes is not held up for ever: the state would never be read, and no event after it."""
    clock = Clock()
    clock.drive_loop()
    closing = asyncio.create_task(Subscription(channel, 100).close())
    await clock.advance(1)
    assert carrier.closed == [3]
    assert not closing.done()
    await clock.advance(60)
    with pytest.raises(TimeoutError):
        await closing


async def test_ends_with_its_queue(channel: Channel) -> None:
    """What was not taken is dropped: the broker still has it."""
    subscription = Subscription(channel, 100)
    deliver(channel, make_contents(1, 1))
    assert channel.on_cancelled is not None
    channel.on_cancelled()
    with pytest.raises(LinkLostError, match="queue gone"):
        await subscription.take(1)


async def test_ends_with_its_channel(channel: Channel) -> None:
    """And says why."""
    subscription = Subscription(channel, 100)
    subscription.acknowledge(make_contents(1, 1)[0])
    channel.end(LinkLostError("broken"))
    with pytest.raises(LinkLostError, match="broken"):
        await subscription.take(1)


async def test_what_comes_is_handed_over_in_the_turn_in_which_it_comes(
    channel: Channel, carrier: FakeCarrier
) -> None:
    """All that came together at once, and acknowledged; what waited before it first."""
    subscription = Subscription(channel, 8)
    handed: list[list[Content]] = []
    contents = make_contents(1, 9)
    deliver(channel, contents[:3])
    delivering = asyncio.create_task(subscription.deliver(handed.append))
    await asyncio.sleep(0)
    assert handed == [contents[:2], contents[2:3]]  # a quarter of the prefetch at a time
    deliver(channel, contents[3:8])
    deliver(channel, contents[8:])
    assert handed[2:] == [contents[3:8], contents[8:]]
    assert carrier.written == [encode_ack(3, 2), encode_ack(3, 8)]
    channel.end(LinkLostError("broken"))
    with pytest.raises(LinkLostError, match="broken"):
        await delivering


async def test_what_comes_waits_for_what_takes_longer(channel: Channel) -> None:
    """Until that is done; in order, and nothing is acknowledged before."""
    subscription = Subscription(channel, 400)
    handed: list[list[Content]] = []
    gate = asyncio.Event()
    contents = make_contents(1, 5)

    def hand_over(some: list[Content]) -> Coroutine[None, None, None] | None:
        handed.append(some)
        return wait() if some == contents[:1] else None

    async def wait() -> None:
        await gate.wait()

    delivering = asyncio.create_task(subscription.deliver(hand_over))
    await asyncio.sleep(0)
    for content in contents[:4]:
        deliver(channel, [content])
    assert handed == [contents[:1]]
    gate.set()
    await until(lambda: len(handed) == 2)
    assert handed[1] == contents[1:4]
    deliver(channel, contents[4:])
    assert handed[2] == contents[4:]
    delivering.cancel()
    await asyncio.gather(delivering, return_exceptions=True)


async def test_what_the_handler_raises_ends_the_delivering_and_nothing_else(channel: Channel) -> None:
    """The connection does not see it; what comes later is not handed over."""
    subscription = Subscription(channel, 100)
    handed: list[list[Content]] = []

    def fail(some: list[Content]) -> None:
        handed.append(some)
        raise ValueError("no")

    delivering = asyncio.create_task(subscription.deliver(fail))
    await asyncio.sleep(0)
    deliver(channel, make_contents(1, 1))
    with pytest.raises(ValueError, match="no"):
        await delivering
    deliver(channel, make_contents(2, 1))
    assert len(handed) == 1


async def test_nothing_is_handed_over_or_acknowledged_behind_what_failed(
    channel: Channel, carrier: FakeCarrier
) -> None:
    """It may come before the one who waits learns of the failure; an acknowledgement is of all before it."""
    subscription = Subscription(channel, 4)
    handed: list[list[Content]] = []

    def fail_once(some: list[Content]) -> None:
        handed.append(some)
        if len(handed) == 1:
            raise ValueError("no")

    delivering = asyncio.create_task(subscription.deliver(fail_once))
    await asyncio.sleep(0)
    deliver(channel, make_contents(1, 1))
    deliver(channel, make_contents(2, 1))
    with pytest.raises(ValueError, match="no"):
        await delivering
    assert handed == [make_contents(1, 1)]
    assert carrier.written == []
