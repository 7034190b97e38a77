"""Instances that ask one another: the first that knows wins, and nobody waits longer than need be."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest
from msgspec import Struct
from structlog.testing import capture_logs

from bridge.flow import peers as peers_module
from bridge.flow.own_messages import OwnMessages, OwnWriter
from bridge.flow.peers import Peers
from bridge.model import INSTANCES_EXCHANGE, Delivery, PublishOutcome
from tests.support.fakes import Clock, settle
from tests.support.house import Member, MemoryLog
from tests.support.row import Wire


class Ask(Struct):
    """A question."""

    word: str


class Told(Struct, frozen=True):
    """What is answered."""

    by: str


class Street:
    """Instances that know one another by the log, and ask over the wire."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.drive_loop()
        self.log = MemoryLog()
        self.wire = Wire()
        self.members: list[Member] = []
        self.peers: list[Peers] = []
        self._names = count(1)

    async def add(self, *, most: int = 1000) -> Peers:
        """Start a further instance."""
        member = Member(self.log, f"house-{next(self._names)}", self.clock)
        messages = OwnMessages("log")
        peers = Peers(
            member.instances, messages, OwnWriter(self.wire, "log", lambda: self.clock.wall), most=most
        )
        for key in peers.keys:
            self.wire.queues.setdefault(key, []).append(messages)
        await member.start()
        self.members.append(member)
        self.peers.append(peers)
        return peers


@pytest.fixture
async def street() -> AsyncIterator[Street]:
    """No instance yet."""
    street = Street()
    yield street
    for peers in street.peers:
        await peers.stop()
    for member in street.members:
        await member.kill()


def tell(name: str, word: str) -> object:
    """Answers one word alone."""

    async def handler(ask: Ask) -> Told | None:
        return Told(by=name) if ask.word == word else None

    return handler


async def test_the_one_that_knows_answers(street: Street) -> None:
    """However many do not."""
    first = await street.add()
    for name in ("b", "c"):
        peers = await street.add()
        peers.answer("who", Ask, tell(name, name))  # type: ignore[arg-type]
    assert await first.ask("who", Ask(word="c"), Told, 0.5) == Told(by="c")
    assert street.members[0].instances.others == tuple(
        one.instances.incarnation for one in street.members[1:]
    )


async def test_nobody_knows_and_nobody_is_waited_for(street: Street) -> None:
    """All have said so, those too that have never heard of such questions; the clock stands still."""
    first = await street.add()
    await street.add()
    (await street.add()).answer("who", Ask, tell("c", "c"))  # type: ignore[arg-type]
    assert await first.ask("who", Ask(word="z"), Told, 0.5) is None


async def test_one_that_is_alone_asks_nobody(street: Street) -> None:
    """Nothing is published."""
    first = await street.add()
    assert await first.ask("who", Ask(word="z"), Told, 0.5) is None
    assert street.wire.published == []


async def test_one_that_does_not_answer_is_waited_for_until_the_time_is_up(street: Street) -> None:
    """What it says afterwards is for nobody."""
    first, second = await street.add(), await street.add()
    gate = asyncio.Event()

    async def hesitate(ask: Ask) -> Told:
        await gate.wait()
        return Told(by=ask.word)

    second.answer("who", Ask, hesitate)
    asking = asyncio.create_task(first.ask("who", Ask(word="b"), Told, 0.5))
    await settle()
    await street.clock.advance(0.4)
    assert not asking.done()
    await street.clock.advance(0.2)
    assert await asking is None
    gate.set()
    await settle()
    assert await first.ask("who", Ask(word="b"), Told, 0.5) == Told(by="b")


async def test_an_answer_that_does_not_settle_it_is_good_when_nobody_has_a_better_one(
    street: Street,
) -> None:
    """It is what remains, too, when somebody does not answer in time."""
    first = await street.add()
    for name in ("b", "c"):
        (await street.add()).answer("who", Ask, tell(name, name))  # type: ignore[arg-type]

    async def ask(word: str) -> object:
        return await first.ask("who", Ask(word=word), Told, 0.5, settles=lambda told: told.by == "c")

    assert await ask("b") == Told(by="b")
    assert await ask("c") == Told(by="c")
    street.wire.deaf.append(street.wire.queues["all"][2])
    asking = asyncio.create_task(ask("b"))
    await settle()
    assert not asking.done()
    await street.clock.advance(0.6)
    assert await asking == Told(by="b")


async def test_those_that_are_silent_are_told_of_once_a_minute(street: Street) -> None:
    """Until a dead one is missed, every client that comes back has it asked."""
    first, _ = await street.add(), await street.add()
    street.wire.deaf.append(street.wire.queues["all"][1])
    with capture_logs() as logs:
        for told in (1, 1, 1, 2):
            asking = [asyncio.create_task(first.ask("who", Ask(word="b"), Told, 0.5)) for _ in range(5)]
            await settle()
            await street.clock.advance(0.5)
            assert [await one for one in asking] == [None] * 5
            assert [entry["event"] for entry in logs].count("peers.silent") == told
            await street.clock.advance(19.5)


async def test_a_fault_of_whoever_is_asked_is_no_answer(street: Street) -> None:
    """Nor is an answer of another shape."""
    first, second = await street.add(), await street.add()

    async def fail(ask: Ask) -> object:
        if ask.word == "fail":
            raise ValueError(ask.word)
        return {"other": 1}

    second.answer("who", Ask, fail)
    assert await first.ask("who", Ask(word="fail"), Told, 0.5) is None
    assert await first.ask("who", Ask(word="else"), Told, 0.5) is None
    assert await first.ask("who", {"no": "word"}, Told, 0.5) is None


async def test_without_a_broker_there_is_no_answer_at_once(street: Street) -> None:
    """Whoever connects is not kept waiting, and it is known that nobody was asked."""
    first = await street.add()
    await street.add()
    street.wire.away = True
    assert await first.ask("who", Ask(word="b"), Told, 0.5) is PublishOutcome.BROKER_UNAVAILABLE


async def test_questions_beyond_the_bound_wait_for_as_long_as_they_are_waited_for(street: Street) -> None:
    """A thousand clients that come at once do not make a thousand tasks more than are allowed."""
    first, second = await street.add(), await street.add(most=2)
    gate = asyncio.Event()
    begun: list[str] = []

    async def hesitate(ask: Ask) -> Told:
        begun.append(ask.word)
        await gate.wait()
        return Told(by=ask.word)

    second.answer("who", Ask, hesitate)

    def ask(word: str, within: float) -> asyncio.Task[object]:
        return asyncio.create_task(first.ask("who", Ask(word=word), Told, within))

    asking = [ask("0", 2), ask("1", 2), ask("2", 0.5), ask("3", 2), ask("4", 2)]
    await settle()
    await street.clock.advance(0.6)
    assert begun == ["0", "1"]
    gate.set()
    await settle()
    assert begun == ["0", "1", "3", "4"]
    assert [await one for one in asking] == [Told(by="0"), Told(by="1"), None, Told(by="3"), Told(by="4")]


async def test_when_all_clients_of_an_instance_move_each_is_answered(street: Street) -> None:
    """Within the time that they have, since an answer takes little of it."""
    first, second = await street.add(), await street.add()
    second.answer("who", Ask, tell("b", "b"))  # type: ignore[arg-type]
    asking = [asyncio.create_task(first.ask("who", Ask(word="b"), Told, 0.5)) for _ in range(1500)]
    assert set(await asyncio.gather(*asking)) == {Told(by="b")}
    assert len(second._tasks) == len(second._waiting) == 0


async def test_more_do_not_wait(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is bounded; whoever is not in it waits in vain."""
    monkeypatch.setattr(peers_module, "_MOST_WAITING", 1)
    first, second = await street.add(), await street.add(most=1)
    gate = asyncio.Event()

    async def hesitate(ask: Ask) -> Told:
        await gate.wait()
        return Told(by=ask.word)

    second.answer("who", Ask, hesitate)
    asking = [asyncio.create_task(first.ask("who", Ask(word=str(one)), Told, 0.5)) for one in range(3)]
    await settle()
    gate.set()
    await settle()
    await street.clock.advance(0.6)
    assert [await one for one in asking] == [Told(by="0"), Told(by="1"), None]


async def test_what_is_no_question_stops_nothing(street: Street) -> None:
    """The exchange is the instances' own; still nothing that is published there may hurt."""
    first, second = await street.add(), await street.add()
    second.answer("who", Ask, tell("b", "b"))  # type: ignore[arg-type]
    for body in (b"", b"{}", b"[]", b'{"asker":1,"number":1,"kind":"who","body":{}}'):
        for key in (*second.keys, first.address):
            for messages in street.wire.queues[key]:
                delivery = Delivery(exchange=INSTANCES_EXCHANGE, routing_key=key, body=body)
                assert not messages.take(delivery, 0.0)
    assert await first.ask("who", Ask(word="b"), Told, 0.5) == Told(by="b")


async def test_a_forged_asker_makes_nobody_shout(street: Street) -> None:
    """Answers go to one instance: not to all, who would take them for questions, nor to no key at all."""
    first, second = await street.add(), await street.add()
    second.answer("who", Ask, tell("b", "b"))  # type: ignore[arg-type]
    with capture_logs() as logs:
        for asker in ("all", "", "x" * 300, second.address):
            body = b'{"asker":"%s","number":1,"kind":"who","body":{"word":"b"}}' % asker.encode()
            for messages in street.wire.queues["all"]:
                messages.take(Delivery(exchange=INSTANCES_EXCHANGE, routing_key="all", body=body), 0.0)
        await settle()
    assert all(message.routing_key in (first.address, second.address) for message in street.wire.published)
    assert len(logs) <= 2
    assert await first.ask("who", Ask(word="b"), Told, 0.5) == Told(by="b")
