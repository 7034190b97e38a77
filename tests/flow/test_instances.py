"""Instances around one log: who lives, who is the eldest, and what one that starts is told first."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bridge.flow.instances import ANSWER_SECONDS, ANSWERED_KEY, HEARTBEAT_KEY, STARTED_KEY, STOPPED_KEY
from bridge.model import PublishOutcome
from tests.support.fakes import Clock, settle
from tests.support.house import HEARTBEAT, Member, MemoryLog


class House:
    """Instances by name; all that still run at a test's end are killed."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.drive_loop()
        self.log = MemoryLog()
        self.members: list[Member] = []

    def member(self, name: str, *, log_name: str = "log") -> Member:
        """An instance that has not started."""
        return Member(self.log, name, self.clock, log_name=log_name)

    async def start(self, name: str, *, log_name: str = "log") -> Member:
        """An instance that runs."""
        member = self.member(name, log_name=log_name)
        self.members.append(member)
        await member.start()
        return member

    async def kill(self, member: Member) -> None:
        """End an instance without a word."""
        self.members.remove(member)
        await member.kill()

    async def pass_heartbeats(self, number: int) -> None:
        """Let so many heartbeats pass."""
        for _ in range(number):
            await self.clock.advance(HEARTBEAT)


@pytest.fixture
async def house() -> AsyncIterator[House]:
    """A log that no instance reads yet."""
    house = House()
    yield house
    for member in house.members:
        await member.kill()


async def test_instances_know_one_another_in_the_order_of_their_starts(house: House) -> None:
    """All agree, and nobody else thinks to be the eldest."""
    members = [await house.start(name) for name in ("second.host-1", "a", "b")]
    assert [member.living for member in members] == [["second.host-1", "a", "b"]] * 3
    assert [member.instances.is_eldest for member in members] == [True, False, False]
    assert len(members[1].instances.others) == 2
    await house.pass_heartbeats(10)
    assert [member.living for member in members] == [["second.host-1", "a", "b"]] * 3
    assert not any(member.ended for member in members)
    assert members[0].instances.count() == 3


async def test_one_that_is_killed_is_missed_by_all_and_the_next_is_the_eldest(house: House) -> None:
    """After four heartbeats, at the same place of the log for everyone."""
    first, second, third = [await house.start(name) for name in "abc"]
    heard = []
    second.instances.on_eldest.append(lambda: heard.append("eldest"))
    await house.pass_heartbeats(1)
    await house.kill(first)
    await house.pass_heartbeats(2)
    assert (second.ended, second.instances.is_eldest, heard) == ([], False, [])
    await house.pass_heartbeats(1)
    assert (second.ended, third.ended) == (["a"], ["a"])
    assert (second.instances.is_eldest, third.instances.is_eldest, heard) == (True, False, ["eldest"])


async def test_a_restart_under_the_same_name_ends_the_old_run_at_once(house: House) -> None:
    """What was killed is not waited for."""
    first, second = await house.start("a"), await house.start("b")
    await house.kill(first)
    again = await house.start("a")
    assert second.ended == ["a"]
    assert again.living == second.living == ["b", "a"]


async def test_one_that_stops_in_good_order_is_told_apart_from_the_dead(house: House) -> None:
    """The others learn it at once."""
    first, second = await house.start("a"), await house.start("b")
    house.members.remove(first)
    await first.stop()
    assert second.ended == ["(a)"]
    assert second.instances.is_eldest


async def test_one_that_stops_gives_no_sign_after_it(house: House) -> None:
    """Also when one falls due before the confirm has come: the others would take the dead one for living."""
    first, second = await house.start("a"), await house.start("b")
    house.log.confirming.clear()
    stopping = asyncio.create_task(first.instances.say_stopped())
    await house.pass_heartbeats(2)
    house.log.confirming.set()
    await stopping
    await house.pass_heartbeats(2)
    assert (second.living, second.instances.is_eldest) == (["b"], True)
    behind = house.log.messages[house.log.keys.index(STOPPED_KEY) + 1 :]
    assert not any(b'"name":"a"' in message.body for message in behind)


async def test_one_that_stops_before_it_has_read_its_own_start_is_not_waited_for(house: House) -> None:
    """The others have read it, and would count on answers."""
    first, second = await house.start("a"), house.member("b")
    running = asyncio.create_task(second.instances.run())
    second.instances.caught_up()
    await settle()
    assert first.living == ["a", "b"]
    await second.instances.say_stopped()
    assert (first.living, first.ended) == (["a"], ["(b)"])
    running.cancel()


async def test_a_broker_that_is_away_kills_nobody(house: House) -> None:
    """However long: on its return all give a sign within a second, and none gives several for one time."""
    members = [await house.start(name) for name in "abc"]
    house.log.away = True
    await house.pass_heartbeats(30)
    house.log.away = False
    before = len(house.log.messages)
    await house.clock.advance(1)
    assert house.log.keys[before:] == [HEARTBEAT_KEY] * 3
    await house.pass_heartbeats(5)
    assert not any(member.ended for member in members)


async def test_one_that_alone_was_cut_off_learns_that_it_was_held_for_dead(house: House) -> None:
    """It is back with its next sign, as the youngest, so that what it was eldest for is not done twice."""
    first, second = await house.start("a"), await house.start("b")
    heard = []
    first.instances.on_own_death.append(lambda: heard.append("dead"))
    publish, first.writer._publisher = first.writer._publisher, MemoryLog()
    await house.pass_heartbeats(5)
    assert (first.ended, second.ended, heard) == (["a"], ["a"], ["dead"])
    assert (first.instances.is_eldest, second.instances.is_eldest) == (False, True)
    first.writer._publisher = publish
    await house.pass_heartbeats(1)
    assert first.living == second.living == ["b", "a"]
    assert second.instances.is_eldest


async def test_one_that_starts_waits_until_all_others_have_answered(house: House) -> None:
    """What they published for it stands in the log before it serves."""
    first, second = await house.start("a"), await house.start("b")
    asked: list[tuple[str, str]] = []
    gates = {"a": asyncio.Event(), "b": asyncio.Event()}

    for member in (first, second):

        async def answer(incarnation: str, name: str = member.name, member: Member = member) -> None:
            await gates[name].wait()
            await member.writer.write_until_confirmed(f"test.{name}", {})
            asked.append((name, incarnation))

        member.instances.answers.append(answer)
    third = await house.start("c")
    waiting = asyncio.create_task(third.instances.await_answers())
    gates["a"].set()
    await settle()
    assert not waiting.done()
    gates["b"].set()
    await settle()
    assert waiting.done()
    assert asked == [("a", third.instances.incarnation), ("b", third.instances.incarnation)]
    assert house.log.keys[-4:] == ["test.a", ANSWERED_KEY, "test.b", ANSWERED_KEY]


async def test_an_answer_that_the_broker_refuses_is_given_again(house: House) -> None:
    """Whoever starts would wait for it in vain."""
    first = await house.start("a")

    async def refuse_next(_incarnation: str) -> None:
        house.log.refusing = [PublishOutcome.REJECTED]

    first.instances.answers.append(refuse_next)
    second = await house.start("b")
    waiting = asyncio.create_task(second.instances.await_answers())
    await house.clock.advance(1)
    assert not waiting.done()
    await house.clock.advance(1)
    assert waiting.done()
    assert house.log.keys[-1] == ANSWERED_KEY


async def test_one_that_is_dead_and_not_yet_missed_is_waited_for_a_while(house: House) -> None:
    """Five seconds; the first instance of all waits for nobody."""
    first = await house.start("a")
    async with asyncio.timeout(1):
        await first.instances.await_answers()
    await house.kill(first)
    second = await house.start("b")
    waiting = asyncio.create_task(second.instances.await_answers())
    await settle()
    await house.clock.advance(ANSWER_SECONDS - 0.1)
    assert not waiting.done()
    await house.clock.advance(0.2)
    assert waiting.done()


async def test_nobody_is_waited_for_any_more_once_it_has_ended(house: House) -> None:
    """Its members left with it."""
    first = await house.start("a")
    await house.kill(first)
    second = await house.start("b")
    waiting = asyncio.create_task(second.instances.await_answers())
    await house.start("a")
    assert waiting.done()


async def test_the_first_sign_is_repeated_until_it_is_confirmed(house: House) -> None:
    """Without it the others would not count on this instance."""
    house.log.refusing = [
        PublishOutcome.BROKER_UNAVAILABLE,
        PublishOutcome.UNKNOWN_OUTCOME,
        PublishOutcome.UNROUTABLE,
        PublishOutcome.REJECTED,  # as a stream does that has no leader
    ]
    first = await house.start("a")
    for _ in range(4):
        await house.clock.advance(1)
    assert house.log.keys == []
    await house.clock.advance(1)
    assert house.log.keys == [STARTED_KEY]
    assert first.instances.is_eldest


async def test_nothing_is_said_before_the_log_was_read(house: House) -> None:
    """Nor at the end of an instance that never got so far."""
    member = house.member("a")
    running = asyncio.create_task(member.instances.run())
    await settle()
    await member.instances.say_stopped()
    assert house.log.keys == []
    running.cancel()


async def test_instances_of_another_log_on_the_same_broker_do_not_count(house: House) -> None:
    """They share `bridge.log`, and nothing else."""
    ours, theirs = await house.start("a"), await house.start("b", log_name="other")
    assert (ours.living, theirs.living) == (["a"], ["b"])
    await ours.instances.say_stopped()
    assert house.log.keys[-1] == STOPPED_KEY
    assert theirs.ended == []
