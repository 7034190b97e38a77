"""Retained values: whoever joins a room has the last one at once, before the answer."""

from __future__ import annotations

import msgspec
import pytest

from bridge.model import Delivery
from bridge.rules.compile import Rules
from tests.support.club import Club
from tests.support.fakes import RecordingClient, settle
from tests.support.visits import Page


@pytest.fixture
def club(club: Club) -> Club:
    """A club that has read its log."""
    club.downlink.caught_up()
    return club


async def publish(club: Club, key: str, text: str, *, offset: int | None = None) -> None:
    """An event of the club as it comes from the log."""
    body = msgspec.json.encode({"text": text})
    club.downlink.handle(
        [
            Delivery(
                exchange="club.events", routing_key=key, body=body, offset=offset, timestamp=club.clock.wall
            )
        ]
    )


async def sit(client: RecordingClient, table: str = "1") -> None:
    client.send("sit", {"table": table})
    await settle()


async def test_a_joiner_receives_the_last_value_before_the_answer(club: Club) -> None:
    """Once, and the newest alone; what comes later comes as ever."""
    await publish(club, "table.1.menu", "soup")
    await publish(club, "table.1.menu", "cake")
    await publish(club, "table.2.menu", "none of his")
    ann = await club.connect("ann")
    await sit(ann)
    assert ann.names == ["menu", "seated"]
    assert ann.received("menu") == [{"text": "cake"}]
    await sit(ann)
    assert ann.names == ["menu", "seated", "seated"], "who is inside already has it"
    await publish(club, "table.1.menu", "tea")
    assert ann.received("menu") == [{"text": "cake"}, {"text": "tea"}]


async def test_everyone_receives_what_is_retained_for_the_namespace_when_they_connect(club: Club) -> None:
    """Also who signs in late, after its answer."""
    await publish(club, "house.rule", "be nice")
    ann = await club.connect("ann")
    assert ann.received("rule") == [{"text": "be nice"}]
    bob = await club.connect_unsigned()
    assert bob.names == []
    bob.send("authenticate", {"token": club.token("bob")})
    await settle()
    assert bob.names == ["authenticated", "rule"]


async def test_who_has_it_by_another_room_does_not_receive_it_again(club: Club) -> None:
    """An event goes once to a client that is in several of its rooms."""
    await publish(club, "table.1.menu", "soup")
    ann = await club.connect("ann")
    await sit(ann)
    ann.send("visit", {"table": "1"})
    await settle()
    assert ann.received("menu") == [{"text": "soup"}]


async def test_who_joins_with_since_receives_the_values_that_are_older(club: Club) -> None:
    """A cursor, or an age, does not say that the client was in this room; what is newer comes once."""
    await publish(club, "table.1.menu", "soup", offset=0)
    await club.clock.advance(60)
    await publish(club, "table.1.said", "hello", offset=2)
    cursor = club.window.head()
    await club.clock.advance(60)
    await publish(club, "table.1.said", "bye", offset=3)
    for since, said in ((cursor, 1), ("90s", 2), ("9m", 2)):
        ann = await club.connect("ann")
        ann.send("sit", {"table": "1", "since": since})
        await settle()
        assert sorted(map(str, ann.names)) == ["menu", *["said"] * said, "seated"]
        assert ann.names[-1] == "seated"
        ann.leave()


async def test_who_connects_with_since_receives_the_values_that_are_older(club: Club) -> None:
    """Before what it missed; one that is among that comes once."""
    await publish(club, "house.rule", "be nice", offset=0)
    await club.clock.advance(60)
    await publish(club, "table.1.any", "hello", offset=1)
    await club.clock.advance(10)
    ann = await club.try_connect("/hall", {"token": club.token("ann"), "since": "30s"})
    assert isinstance(ann, RecordingClient)
    assert ann.payload["recovered"] is True
    assert ann.names == ["rule", "any"]
    bob = await club.try_connect("/hall", {"token": club.token("bob"), "since": "5m"})
    assert isinstance(bob, RecordingClient)
    assert bob.names == ["rule", "any"]
    eve = await club.try_connect("/hall", {"token": club.token("eve"), "since": club.window.head()})
    assert isinstance(eve, RecordingClient)
    assert eve.names == ["rule"]


async def test_who_comes_back_is_not_given_what_it_has(club: Club) -> None:
    """A room that it is in only now, by what its token says now, is new to it."""
    await publish(club, "house.rule", "be nice", offset=0)
    await publish(club, "table.1.menu", "soup", offset=1)
    await publish(club, "floor.attic.plan", "steep", offset=2)
    page = Page(club)
    await page.connect()
    await sit(page.client)
    assert page.client.names == ["rule", "menu", "seated"]
    page.drop()
    page.claims = {"floor": "attic"}
    await page.connect()
    assert page.recovered
    assert page.client.names == ["plan"]
    page.drop()
    await page.connect()
    assert page.recovered
    assert page.client.names == []


async def test_who_comes_back_is_given_what_did_not_arrive(club: Club) -> None:
    """Its connection was lost before anything came, or after it had joined a room and before that came."""
    await publish(club, "house.rule", "be nice", offset=0)
    await publish(club, "table.1.menu", "soup", offset=1)
    page = Page(club)
    await page.connect()
    page.drop(received=0)
    await page.connect()
    assert page.recovered
    assert page.client.names == ["rule"]
    await publish(club, "table.2.said", "at another", offset=2)
    await sit(page.client)
    page.drop(received=1)
    await page.connect()
    assert page.recovered
    assert page.client.names == ["menu"]


async def test_the_greeting_comes_before_what_is_retained(club: Club) -> None:
    """A client knows where it is before it learns anything else."""
    await publish(club, "house.rule", "be nice")
    ann = await club.connect("ann", "/lobby")
    assert ann.names == ["welcome", "rule"]


async def test_values_are_kept_from_the_warm_up_on(club_rules: Rules) -> None:
    """What the log tells from before the start is what joiners must have."""
    fresh = Club(club_rules)
    try:
        await publish(fresh, "table.1.menu", "soup")
        fresh.downlink.caught_up()
        ann = await fresh.connect("ann")
        await sit(ann)
        assert ann.names == ["menu", "seated"]
    finally:
        await fresh.uplink.stop()
