"""Occupancy: services learn which rooms have users, in order, whichever instance dies."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest
from structlog.testing import capture_logs

from bridge.flow.occupancy import MEMORY
from bridge.model import PRESENCE_EXCHANGE, PublishMessage, PublishOutcome, RoomRef
from bridge.rules.compile import Rules
from tests.support.fakes import settle
from tests.support.inn import TABLE, Street
from tests.support.rules import compile_project

GARDEN = RoomRef(system="shop", room="garden:north%3Aside")
QUIET = RoomRef(system="shop", room="quiet:x")

ROUTES = """
    exchange: club.events
    namespaces:
      /hall:
        rooms:
          table:{table}:
            occupancy: true
            presence: {joined: {came: {user: "{user.sub}"}}, left: {went: {user: "{user.sub}"}}}
          garden:{name}: {occupancy: true}
          quiet:{name}: {presence: {joined: {came: {user: "{user.sub}"}}}}
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    """A club whose cook wants to know who sits where."""
    return compile_project(tmp_path_factory.mktemp("occupancy"), ROUTES)


@pytest.fixture
async def street(rules: Rules) -> AsyncIterator[Street]:
    """No instance runs yet."""
    street = Street(rules)
    yield street
    await street.close()


def told(street: Street) -> list[tuple[str, str, int]]:
    """What services were told: key, room and users."""
    return [
        (message.routing_key, body["room"], body["users"])
        for message in street.log.messages
        if message.exchange == PRESENCE_EXCHANGE and message.routing_key != "query"
        for body in [msgspec.json.decode(message.body)]
    ]


def messages(street: Street) -> list[PublishMessage]:
    """The same, whole."""
    return [message for message in street.log.messages if message.exchange == PRESENCE_EXCHANGE]


async def ask(street: Street, body: bytes = b"{}") -> None:
    """A service asks for the rooms that are occupied."""
    query = PublishMessage(
        exchange=PRESENCE_EXCHANGE, routing_key="query", body=body, message_id="q", type="", timestamp=0
    )
    await street.log.publish(query)
    await settle()


async def test_a_room_is_occupied_by_its_first_user_and_vacated_by_its_last(street: Street) -> None:
    """Over all instances, once; also a room without `presence`, and no room without `occupancy`."""
    one, two = await street.open(), await street.open()
    for inn in (one, two):
        for room in (TABLE, GARDEN, QUIET):
            inn.come(f"user of {inn.name}", room=room)
        await settle()
    for inn in (one, two):
        for room in (TABLE, GARDEN, QUIET):
            inn.go(f"sid of user of {inn.name}", room=room)
        await settle()
    assert told(street) == [
        ("shop.occupied", TABLE.room, 1),
        ("shop.occupied", GARDEN.room, 1),
        ("shop.vacated", TABLE.room, 0),
        ("shop.vacated", GARDEN.room, 0),
    ]


async def test_a_message_says_all_that_a_service_needs(street: Street) -> None:
    """Which room, in which words, and how to tell an earlier change from a later one, or from itself."""
    one = await street.open()
    one.come("ann", room=GARDEN)
    await settle()
    [message] = messages(street)
    [offset] = [at for at, key in enumerate(street.log.keys) if key == "presence.joined"]
    assert msgspec.json.decode(message.body) == {
        "system": "shop",
        "room": "garden:north%3Aside",
        "words": {"name": "north:side"},
        "users": 1,
        "offset": offset,
    }
    assert message.message_id == f"log:{offset}:0"
    assert (message.type, message.timestamp) == ("occupied", street.clock.wall)


async def test_the_rooms_of_a_dead_instance_are_vacated(street: Street) -> None:
    """By whoever lives; and those that others are in are not."""
    one, two = await street.open(), await street.open()
    one.come("ann")
    one.come("ann", room=GARDEN)
    two.come("bob", room=GARDEN)
    await settle()
    await street.kill(one)
    await street.pass_time(60)
    changes = told(street)
    assert ("shop.vacated", TABLE.room, 0) in changes
    assert ("shop.vacated", GARDEN.room, 0) not in changes


async def test_a_new_eldest_tells_again_what_the_old_one_may_not_have_told(street: Street) -> None:
    """Under the same ids; what is long past is not told again."""
    one, two = await street.open(), await street.open()
    two.come("bob", room=GARDEN)
    await street.pass_time(MEMORY + 10)
    first = messages(street)
    one.line.cut = True  # it reads the log no more
    two.come("ann")
    await settle()
    assert messages(street) == first
    await street.pass_time(60)
    assert told(street)[len(first) :] == [("shop.occupied", TABLE.room, 1)]
    await street.kill(one)


async def test_of_a_room_that_changed_while_the_broker_was_away_the_last_is_told(street: Street) -> None:
    """Services need no more."""
    one = await street.open()
    one.come("ann")
    await settle()
    before = len(told(street))
    one.line.refuse = PRESENCE_EXCHANGE
    one.go("sid of ann")
    await settle()
    one.come("bob")
    await settle()
    one.go("sid of bob")
    await settle()
    one.line.refuse = None
    await street.pass_time(3)
    assert told(street)[before:] == [("shop.vacated", TABLE.room, 0)]


async def test_a_service_that_starts_later_asks(street: Street) -> None:
    """And is told of every occupied room, of its own system if it says which, by one instance."""
    one, two = await street.open(), await street.open()
    one.come("ann")
    two.come("bob")
    two.come("bob", room=GARDEN)
    two.come("bob", room=QUIET)
    await settle()
    street.log.messages.clear()
    await ask(street)
    everything = [("shop.occupied", TABLE.room, 2), ("shop.occupied", GARDEN.room, 1)]
    assert told(street) == everything
    await ask(street, b'{"system": "shop"}')
    assert told(street) == everything * 2
    await ask(street, b'{"system": "other"}')
    await ask(street, b"nonsense")
    assert told(street) == everything * 2


async def test_nobody_listening_is_no_fault(street: Street) -> None:
    """The broker gives it back; nothing waits."""
    one = await street.open()
    one.line.refuse = PRESENCE_EXCHANGE
    one.line.refusal = PublishOutcome.UNROUTABLE
    one.come("ann")
    await settle()
    await one.occupancy.drain()
    assert one.occupancy.waiting() == 0


async def test_what_the_broker_refuses_is_dropped_and_told_the_operator(street: Street) -> None:
    """The queue of one service is full: the others need not wait for it. A line a minute, and a metric."""
    one = await street.open()
    one.line.refuse = PRESENCE_EXCHANGE
    one.line.refusal = PublishOutcome.REJECTED
    with capture_logs() as logs:
        for _ in range(2):
            one.come("ann")
            await settle()
            one.go("sid of ann")
            await settle()
        await street.pass_time(60)
        one.come("ann")
        await settle()
    assert one.occupancy.waiting() == 0
    assert one.metrics.registry.get_sample_value("bridged_occupancy_dropped_total") == 5
    lines = [line for line in logs if line["event"] == "occupancy.dropped"]
    assert [line["system"] for line in lines] == ["shop"] * 2


def test_the_configuration_says_it_for_a_room(rules: Rules) -> None:
    """`occupancy` is off where it is left out."""
    [hall] = rules.namespaces
    assert {rule.pattern: rule.occupancy for _, rule in hall.rooms} == {
        "table:{table}": True,
        "garden:{name}": True,
        "quiet:{name}": False,
    }
