"""Lost sessions between instances: asked for, handed over, claimed; none is had twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec import json, structs

from bridge.flow.claims import CLAIMED
from bridge.flow.handovers import HANDED_OVER, Aged, Handovers, Wanted
from bridge.model import Place
from bridge.state.lost_sessions import LostSession, LostSessions
from bridge.state.progress import Progress
from tests.flow.test_peers import Street
from tests.support.fakes import settle


def lose(key: str, rooms: int = 1) -> LostSession:
    """A session."""
    return LostSession(
        key=key,
        sid=f"sid of {key}",
        namespace="/n",
        identity="t\0ann",
        rooms={f"room:{number}": number for number in range(rooms)},
        due=("room:0",),
        progress=Progress(start=Place(3, 3)).join(("room:0",), Place(1, 1), Place(5, 5), 7, {}),
        lost_at=5,
    )


def wanted(key: str) -> Wanted:
    """What is asked for by another instance."""
    return Wanted(key=key, identity="t\0ann", namespace="/n")


class Instance:
    """One instance of the street with its lost sessions."""

    def __init__(self, street: Street) -> None:
        self.street = street
        self.member = street.members[-1]
        self.clock = street.clock
        self.lost = LostSessions(120, 1000)
        self.handovers = Handovers(self.lost, street.peers[-1], self.member.messages, self.member.writer)
        self.handovers.serve(self._give, lambda session, age: self.lost.put(session, self.clock.steady, age))

    def _give(self, asked: Wanted) -> LostSession | None:
        found = self.lost.take(asked.key, self.clock.steady)
        return None if found is None else structs.replace(found, shared=self.handovers.is_shared(found))

    async def stop_reading(self) -> None:
        """It is about to stop: from here on it reads nothing, its own messages neither."""
        self.street.members.remove(self.member)
        await self.member.kill()

    async def hand_over(self) -> None:
        """Give away all that it has."""
        now = self.clock.steady
        sessions = [Aged(age=age, session=session) for age, session in self.lost.aged(now)]
        await self.handovers.hand_over(sessions, lambda key: self.lost.get(key, now) is not None)

    @property
    def keys(self) -> list[str]:
        """Of the sessions that it has."""
        return [session.key for _, session in self.lost.aged(self.clock.steady)]


@pytest.fixture
async def street() -> AsyncIterator[Street]:
    """No instance yet."""
    street = Street()
    yield street
    for peers in street.peers:
        await peers.stop()
    for member in street.members:
        await member.kill()


async def add(street: Street) -> Instance:
    """Start a further instance."""
    await street.add()
    return Instance(street)


async def test_the_one_that_has_a_session_parts_with_it(street: Street) -> None:
    """All of it travels; who asks a second time finds nothing."""
    instances = [await add(street) for _ in range(3)]
    instances[1].lost.put(lose("a"), street.clock.steady)
    assert await instances[0].handovers.find(wanted("a")) == lose("a")
    assert instances[1].keys == []
    assert await instances[2].handovers.find(wanted("a")) is None


async def test_an_answer_that_was_not_asked_for_is_none(street: Street) -> None:
    """Whatever another instance may say."""
    first, second = await add(street), await add(street)
    second.handovers.serve(lambda _: lose("another"), lambda *_: None)
    assert await first.handovers.find(wanted("a")) is None


async def test_all_are_given_what_a_stopping_instance_leaves(street: Street) -> None:
    """Also one that starts later and reads the log, for the rest of their time."""
    first, second = await add(street), await add(street)
    first.lost.put(lose("a"), street.clock.steady)
    await street.clock.advance(20)
    first.lost.put(lose("b"), street.clock.steady)
    await first.stop_reading()
    await first.hand_over()
    assert second.keys == ["a", "b"]
    await street.clock.advance(50)
    third = await add(street)
    street.log.attach(third.member.read)  # its taker was not there when it began
    assert third.keys == ["a", "b"]
    for instance in (second, third):
        taken = instance.lost.get("a", street.clock.steady)
        assert taken is not None
        assert taken.shared
    await street.clock.advance(51)
    assert second.keys == third.keys == ["b"]


async def test_nothing_is_given_to_all_twice(street: Street) -> None:
    """Neither what was given already, nor a copy of another's: it may be claimed by now."""
    first, second, third = await add(street), await add(street), await add(street)
    first.lost.put(lose("a"), street.clock.steady)
    await first.stop_reading()
    await first.hand_over()
    first.lost.put(lose("b"), street.clock.steady)
    await first.hand_over()
    await second.stop_reading()
    await second.hand_over()
    assert third.keys == ["a", "b"]
    assert street.log.keys.count(HANDED_OVER) == 2


async def test_what_goes_on_is_kept_nowhere_else(street: Street) -> None:
    """The others learn it from the log, in its order."""
    first, second, third = await add(street), await add(street), await add(street)
    first.lost.put(lose("a"), street.clock.steady)
    await first.hand_over()
    second.lost.take("a", street.clock.steady)
    second.handovers.claim("a")
    second.lost.put(lose("a"), street.clock.steady)  # its client was lost again before the claim is read
    await settle()
    assert third.keys == []
    assert second.keys == ["a"]


async def test_claims_of_many_are_one_message_and_none_is_dropped(street: Street) -> None:
    """However long the broker is away."""
    first = await add(street)
    keys = [str(number) for number in range(1500)]
    street.log.away = True
    for key in keys:
        first.handovers.claim(key)
    await street.clock.advance(30)
    street.log.away = False
    await street.clock.advance(1)
    claimed = [
        json.decode(message.body)["keys"] for message in street.log.messages if message.routing_key == CLAIMED
    ]
    assert len(claimed) == 2
    assert [*claimed[0], *claimed[1]] == keys


async def test_a_session_that_is_asked_for_while_it_is_handed_over_is_kept_nowhere_else(
    street: Street,
) -> None:
    """Whoever is given it claims it before the others have it; they are told once more when they do."""
    first, second, third = await add(street), await add(street), await add(street)
    first.lost.put(lose("a"), street.clock.steady)
    await first.stop_reading()
    street.log.away = True
    handing_over = asyncio.create_task(first.hand_over())
    await settle()
    found = await second.handovers.find(wanted("a"))
    assert isinstance(found, LostSession)
    assert found.shared
    street.log.away = False
    second.handovers.claim(found.key)
    await settle()
    assert street.log.keys[-1] == CLAIMED
    await street.clock.advance(1)
    await handing_over
    assert HANDED_OVER in street.log.keys
    assert second.keys == third.keys == []


async def test_what_has_ended_after_it_was_given_is_withdrawn(street: Street) -> None:
    """Its client left on purpose, before it was sent away; of one that nobody was given nothing is said."""
    first, second = await add(street), await add(street)
    first.lost.put(lose("a"), street.clock.steady)
    await first.stop_reading()
    await first.hand_over()
    first.handovers.withdraw("b")
    first.handovers.withdraw("a")
    await settle()
    assert second.keys == []
    assert street.log.keys.count(CLAIMED) == 1


async def test_what_the_broker_did_not_take_is_tried_again(street: Street) -> None:
    """Whoever bounds the time of the first try may make a second."""
    first, second = await add(street), await add(street)
    first.lost.put(lose("a"), street.clock.steady)
    await first.stop_reading()
    street.log.away = True
    trying = asyncio.create_task(first.hand_over())
    await settle()
    trying.cancel()
    await asyncio.gather(trying, return_exceptions=True)
    street.log.away = False
    await first.hand_over()
    assert second.keys == ["a"]


async def test_one_that_is_newer_than_what_all_were_given_wins(street: Street) -> None:
    """Whoever answers first; the old ones count where nobody has a newer one."""
    first, second, third = await add(street), await add(street), await add(street)
    for key, newer in (("a", True), ("b", False)):
        copy = structs.replace(lose(key), shared=True)
        second.lost.put(copy, street.clock.steady)
        third.lost.put(lose(key, rooms=2) if newer else copy, street.clock.steady)
        found = await first.handovers.find(wanted(key))
        assert isinstance(found, LostSession)
        assert found.shared is not newer
        assert len(found.rooms) == (2 if newer else 1)


async def test_many_are_handed_over_in_messages_of_a_fair_size(street: Street) -> None:
    """One that is large by itself travels alone."""
    first, second = await add(street), await add(street)
    for number in range(300):
        first.lost.put(lose(f"k{number}", rooms=20), street.clock.steady)
    first.lost.put(lose("large", rooms=8000), street.clock.steady)
    await first.stop_reading()
    await first.hand_over()
    messages = [message for message in street.log.messages if message.routing_key == HANDED_OVER]
    assert 2 < len(messages) < 10
    assert all(len(message.body) < 70_000 for message in messages[:-1])
    assert len(second.keys) == 301
