"""Invalid events of several instances: published by one, and by the next where that one was stopped."""

from collections.abc import AsyncIterator

import pytest

from bridge.flow.eldest import EldestsInvalid
from bridge.model import Delivery, Invalid, PublishMessage
from tests.support.fakes import Clock
from tests.support.house import HEARTBEAT, Member, MemoryLog, to_delivery

FAULT = Invalid(route="r", reason="schema", error="e")


class Sink:
    """An invalid sink that publishes when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[int | None] = []
        self.published: list[int | None] = []

    def put(self, delivery: Delivery, invalid: Invalid, now: float) -> None:
        """Queue one."""
        self.waiting.append(delivery.offset)

    def find_oldest(self) -> int | None:
        """The first that waits."""
        return self.waiting[0] if self.waiting else None

    def publish(self) -> None:
        """All that waits is confirmed."""
        self.published += self.waiting
        self.waiting.clear()


class Mill:
    """Instances that all find the same events invalid."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.drive_loop()
        self.log = MemoryLog()
        self.members: list[Member] = []
        self.sinks: dict[str, Sink] = {}
        self.parts: dict[str, EldestsInvalid] = {}

    async def start(
        self, name: str, *, shared: bool = True, capacity: int = 1000, size: int = 1000
    ) -> Member:
        """A further instance."""
        member, sink = Member(self.log, name, self.clock), Sink()
        self.parts[name] = EldestsInvalid(
            sink,
            member.instances,
            sink.find_oldest,
            shared=shared,
            capacity=capacity,
            capacity_bytes=size,
        )
        self.sinks[name] = sink
        self.members.append(member)
        await member.start()
        return member

    async def kill(self, member: Member) -> None:
        """End an instance without a word."""
        self.members.remove(member)
        del self.parts[member.name]
        await member.kill()

    async def spoil(self, *, publish: bool = True, body: bytes = b"{", live: bool = False) -> int:
        """An event that no instance can use; its offset."""
        message = PublishMessage(
            exchange="e", routing_key="k", body=body, message_id="m", type="t", timestamp=0.0
        )
        await self.log.publish(message)
        offset = len(self.log.messages) - 1
        delivery = to_delivery(message, offset)
        if live:
            delivery = Delivery(exchange="e", routing_key="k", body=body)
        for part in self.parts.values():
            part.put(delivery, FAULT, 0.0)
        if publish:
            for name in self.parts:
                self.sinks[name].publish()
        return offset

    async def pass_heartbeats(self, number: int) -> None:
        """Let so many heartbeats pass."""
        for _ in range(number):
            await self.clock.advance(HEARTBEAT)


@pytest.fixture
async def mill() -> AsyncIterator[Mill]:
    """No instance yet."""
    mill = Mill()
    yield mill
    for member in mill.members:
        await member.kill()


async def test_the_eldest_alone_publishes(mill: Mill) -> None:
    """Whatever has a place in the log, and what has none."""
    await mill.start("a")
    await mill.start("b")
    offset = await mill.spoil()
    await mill.spoil(live=True)
    assert mill.sinks["a"].published == [offset, None]
    assert mill.sinks["b"].published == mill.sinks["b"].waiting == []


async def test_what_a_killed_one_had_not_published_its_successor_does(mill: Mill) -> None:
    """From its last sign of life on; what it had said to have published is not published again."""
    first, _ = await mill.start("a"), await mill.start("b")
    await mill.spoil()
    await mill.pass_heartbeats(2)
    waits = await mill.spoil(publish=False)
    await mill.pass_heartbeats(1)
    await mill.kill(first)
    missed = await mill.spoil()
    assert mill.sinks["b"].published == []
    await mill.pass_heartbeats(5)
    mill.sinks["b"].publish()
    assert mill.sinks["b"].published == [waits, missed]
    later = await mill.spoil()
    assert mill.sinks["b"].published == [waits, missed, later]


async def test_one_that_stops_in_good_order_leaves_nothing_to_be_done_twice(mill: Mill) -> None:
    """It has published all that it read, and says so; the rest is its successor's."""
    first, _ = await mill.start("a"), await mill.start("b")
    done = await mill.spoil()
    del mill.parts["a"]
    left = await mill.spoil()
    mill.members.remove(first)
    await first.stop()
    mill.sinks["b"].publish()
    assert mill.sinks["a"].published == [done]
    assert mill.sinks["b"].published == [left]


async def test_what_is_held_is_bounded(mill: Mill) -> None:
    """The oldest were most likely published."""
    first = await mill.start("a")
    await mill.start("b", capacity=3)
    await mill.start("c", size=10)
    offsets = [await mill.spoil(body=b"12345") for _ in range(5)]
    await mill.kill(first)
    await mill.pass_heartbeats(5)
    mill.sinks["b"].publish()
    assert mill.sinks["b"].published == offsets[2:]
    await mill.pass_heartbeats(1)
    await mill.kill(mill.members[0])
    await mill.pass_heartbeats(5)
    mill.sinks["c"].publish()
    assert mill.sinks["c"].published == []  # b said how far it had got before it was killed


async def test_without_a_common_log_nothing_is_held(mill: Mill) -> None:
    """Each instance counts its own offsets: what another one published cannot be told."""
    first = await mill.start("a", shared=False)
    await mill.start("b", shared=False)
    await mill.spoil()
    await mill.kill(first)
    await mill.pass_heartbeats(5)
    assert mill.sinks["b"].waiting == []
    offset = await mill.spoil()
    assert mill.sinks["b"].published == [offset]


async def test_in_a_log_that_begins_anew_the_old_offsets_mean_nothing(mill: Mill) -> None:
    """They would hide all that the new one brings under smaller ones."""
    first, second = await mill.start("a"), await mill.start("b")
    for _ in range(20):
        await mill.spoil()
    await mill.pass_heartbeats(1)
    for member in (first, second):
        member.instances.begin_epoch()
        mill.parts[member.name].begin_epoch()
    mill.log.messages.clear()
    await mill.pass_heartbeats(1)
    left = await mill.spoil(publish=False)
    await mill.kill(first)
    await mill.pass_heartbeats(5)
    mill.sinks["b"].publish()
    assert mill.sinks["b"].published == [left]
