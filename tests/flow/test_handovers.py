"""Lost sessions between instances: asked for, handed over, claimed; none is had twice."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bridge.flow.handovers import CLAIMED, HANDED_OVER, Handovers, Wanted
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
        member, peers = street.members[-1], street.peers[-1]
        self.clock = street.clock
        self.lost = LostSessions(120, 1000)
        self.handovers = Handovers(
            self.lost, peers, member.messages, member.writer, lambda: street.clock.steady
        )
        self.handovers.serve(
            lambda asked: self.lost.take(asked.key, self.clock.steady),
            lambda session, age: self.lost.put(session, self.clock.steady, age),
        )

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
    await first.handovers.hand_over()
    assert second.keys == ["a", "b"]
    await street.clock.advance(50)
    third = await add(street)
    street.log.attach(street.members[-1].read)  # its taker was not there when it began
    assert third.keys == ["a", "b"]
    for instance in (second, third):
        taken = instance.lost.get("a", street.clock.steady)
        assert taken is not None
        assert taken.shared
    await street.clock.advance(51)
    assert second.keys == third.keys == ["b"]


async def test_one_that_goes_on_is_kept_nowhere_else(street: Street) -> None:
    """The others learn it from the log, in its order; nothing is said of one that was never shared."""
    first, second, third = await add(street), await add(street), await add(street)
    first.lost.put(lose("a"), street.clock.steady)
    await first.handovers.hand_over()
    taken = second.lost.take("a", street.clock.steady)
    assert taken is not None
    second.handovers.claim(taken)
    second.handovers.claim(lose("b"))
    second.lost.put(lose("a"), street.clock.steady)  # its client was lost again before the claim is read
    await settle()
    assert third.keys == []
    assert second.keys == ["a"]
    assert street.log.keys.count(CLAIMED) == 1


async def test_many_are_handed_over_in_messages_of_a_fair_size(street: Street) -> None:
    """One that is large by itself travels alone."""
    first, second = await add(street), await add(street)
    for number in range(300):
        first.lost.put(lose(f"k{number}", rooms=20), street.clock.steady)
    first.lost.put(lose("large", rooms=8000), street.clock.steady)
    await first.handovers.hand_over()
    messages = [message for message in street.log.messages if message.routing_key == HANDED_OVER]
    assert 2 < len(messages) < 10
    assert all(len(message.body) < 70_000 for message in messages[:-1])
    assert len(second.keys) == 301
