"""What outlives the log: taken from the state at the start, and written again before it would be lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from msgspec import structs

from bridge.model import CONTROL_EXCHANGE, Delivery, PublishMessage, PublishOutcome, RoomRef
from tests.support.club import Club
from tests.support.fakes import settle

STATE = "bridge.state"
DAY = 86_400.0
HALF_AGE = 15 * DAY


@pytest.fixture
def club(club: Club) -> Club:
    """A club that has read state and log."""
    return awake(club)


@pytest.fixture
async def other(club: Club) -> AsyncIterator[Club]:
    """Another instance at the same time, which has read nothing yet."""
    other = Club(club.rules)
    other.clock = club.clock
    club.clock.drive_loop()
    yield other
    await other.uplink.stop()


def awake(club: Club) -> Club:
    club.downlink.caught_up()
    club.control.caught_up()
    club.keeper.caught_up()
    return club


def menu(text: str, *, table: str = "1", **fields: object) -> Delivery:
    """A retained event, as the broker delivers it from the log and from the state."""
    body = msgspec.json.encode({"text": text})
    delivery = Delivery(exchange="club.events", routing_key=f"table.{table}.menu", body=body)
    return structs.replace(delivery, **fields)


def order(key: str, *, at: float | None, **body: object) -> Delivery:
    return Delivery(exchange=CONTROL_EXCHANGE, routing_key=key, body=msgspec.json.encode(body), timestamp=at)


def to_copy(message: PublishMessage) -> Delivery:
    """A message that was written again, as it is read from the state."""
    return Delivery(
        exchange=message.exchange,
        routing_key=message.routing_key,
        body=message.body,
        headers=message.headers,
        message_id=message.message_id,
        content_type=message.content_type,
        timestamp=float(int(message.timestamp)),
    )


def read(club: Club, *copies: Delivery) -> None:
    """Let the club read its state whole."""
    club.keeper.begin()
    club.keeper.take(copies)
    club.keeper.end()


async def run_once(club: Club, *, eldest: bool = True) -> list[PublishMessage]:
    """One round of the upkeep; what it wrote."""
    before = len(club.publisher.sent)
    task = asyncio.ensure_future(club.keeper.run(lambda: eldest, interval=1.0))
    await settle()
    await club.clock.advance(1.0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return club.publisher.sent[before:]


def shown(club: Club, table: str = "1") -> list[object]:
    return [
        msgspec.json.decode(emission.args[0])["text"]  # type: ignore[arg-type]
        for emission in club.retained.of("/hall", f"table:{table}")
    ]


async def test_values_and_orders_come_back_from_the_state(other: Club) -> None:
    """In its order; a marker and what no rule names any more are passed over."""
    now = other.clock.wall
    rule = Delivery(exchange="club.events", routing_key="house.rule", body=b'{"text":"be nice"}')
    read(
        other,
        menu("soup"),
        order("user.revoke", at=now - 100, user="ann"),
        order("user.ban", at=now - 100, user="bob", seconds=200),
        Delivery(exchange=STATE, routing_key="state.end", body=b"{}", timestamp=now),
        Delivery(exchange="gone.events", routing_key="a", body=b"{}"),
        menu("no JSON", body=b"{"),
        menu("cake"),
        rule,
    )
    awake(other)
    assert shown(other) == ["cake"]
    old = other.token("ann")
    assert await other.try_connect("/hall", {"token": other.token("bob")}) is not None
    assert other.exclusions.ends("hall", "bob", now) == now + 100
    assert other.revocations.get("ann", now) is not None
    assert old
    last = other.remembered.view(RoomRef(system=other.rules.namespaces[0].system, room="house"))
    assert last.events["rule"].text == "be nice"  # type: ignore[attr-defined]
    assert last.time is None, "nobody knows when it was"


async def test_the_eldest_writes_again_what_the_state_would_drop(club: Club, other: Club) -> None:
    """At half of its age; another instance that reads only that has all of it."""
    now = club.clock.wall
    club.downlink.handle(
        [
            menu("soup", message_id="m-1", timestamp=now, content_type="application/json", offset=7),
            menu("cake", table="2", headers={"tenant": "acme", "x-stream-offset": 8}, offset=8),
            order("user.revoke", at=now, user="ann", tenant="acme"),
            order("user.ban", at=now, user="bob", seconds=60 * DAY, system="club"),
            order("user.ban", at=now, user="eve", seconds=60),
        ]
    )
    assert await run_once(club) == []
    await club.clock.advance(HALF_AGE)
    written = await run_once(club)
    assert {message.exchange for message in written} == {STATE}
    assert [message.routing_key for message in written] == [
        "table.1.menu",
        "table.2.menu",
        "user.revoke",
        "user.ban",
    ]
    assert await run_once(club) == [], "it has as long once more"

    read(other, *map(to_copy, written))
    assert shown(other, "1") == ["soup"]
    assert shown(other, "2") == ["cake"]
    for tenant, user, system in (("acme\0", "ann", None), ("", "bob", "club"), ("", "eve", None)):
        for instance in (club, other):
            verdict = (
                instance.revocations.get(f"{tenant}{user}", instance.clock.wall)
                if user == "ann"
                else instance.exclusions.get((system or "", user), instance.clock.wall)
            )
            assert (verdict is None) == (user == "eve")
            if verdict is not None:
                assert verdict.time == now
    awake(other)
    assert await run_once(other) == [], "the copies say when they were written"
    await other.clock.advance(HALF_AGE)
    again = await run_once(other)
    first, second = again[0].headers["origin"], written[0].headers["origin"]
    assert msgspec.json.decode(first)["message_id"] == msgspec.json.decode(second)["message_id"] == "m-1"


async def test_volume_behind_a_value_makes_it_due(club: Club) -> None:
    """Half of what the state keeps, be it valid or not."""
    club.downlink.handle([menu("soup", table="2")])
    for _ in range(32):
        club.downlink.handle([menu("x", body=b"no JSON" + b"x" * 1_000_000)])
    assert [message.routing_key for message in await run_once(club)] == ["table.2.menu"]


async def test_others_than_the_eldest_write_nothing_but_could(club: Club) -> None:
    """The next eldest goes on where the last one ended."""
    club.downlink.handle([menu("soup")])
    await club.clock.advance(HALF_AGE)
    assert await run_once(club, eldest=False) == []
    assert len(await run_once(club)) == 1


async def test_what_the_broker_does_not_take_is_due_again(club: Club) -> None:
    """Unless it can never be taken."""
    club.downlink.handle([menu("soup"), menu("tea", table="2")])
    await club.clock.advance(HALF_AGE)
    club.publisher.outcomes.extend([PublishOutcome.BROKER_UNAVAILABLE])
    assert len(await run_once(club)) == 1
    club.publisher.outcomes.extend([PublishOutcome.REJECTED, PublishOutcome.CONFIRMED])
    assert len(await run_once(club)) == 2
    assert await run_once(club) == []


async def test_a_value_that_came_while_the_old_one_was_written_is_written_behind_it(club: Club) -> None:
    """Else the state could end with the old one."""
    club.downlink.handle([menu("soup")])
    await club.clock.advance(HALF_AGE)
    club.publisher.holding = True
    assert len(await run_once(club)) == 1
    club.downlink.handle([menu("cake")])
    club.publisher.holding = False
    written = await run_once(club)
    assert [message.body for message in written] == [b'{"text":"cake"}']
    await club.clock.advance(20)
    club.downlink.handle([menu("tea")])
    assert await run_once(club) == []


async def test_an_order_without_a_time_is_given_one(club: Club, other: Club) -> None:
    """So that it does not grow younger with each start; the first reading is what is known."""
    club.downlink.handle([order("user.revoke", at=None, user="ann")])
    given = club.clock.wall
    await club.clock.advance(5)
    (written,) = await run_once(club)
    assert await run_once(club) == []
    await club.clock.advance(DAY)
    read(other, order("user.revoke", at=None, user="ann"), to_copy(written))
    verdict = other.revocations.get("ann", other.clock.wall)
    assert verdict is not None
    assert verdict.time == given
    awake(other)
    assert await run_once(other) == []


async def test_an_order_without_a_time_grows_no_younger_by_being_read_again(club: Club, other: Club) -> None:
    """From the log behind the state at a start, and from both after a gap: tokens issued since then hold."""
    unstamped = order("user.revoke", at=None, user="ann")
    club.downlink.handle([unstamped])
    given = club.clock.wall
    (written,) = await run_once(club)
    await club.clock.advance(60)
    ann = await club.connect("ann")
    await club.clock.advance(60)

    read(other, unstamped, to_copy(written))
    other.downlink.handle([unstamped])
    awake(other)
    read(club, unstamped, to_copy(written))
    club.downlink.handle([unstamped])
    assert not ann.is_gone
    for instance in (club, other):
        verdict = instance.revocations.get("ann", club.clock.wall)
        assert verdict is not None
        assert verdict.time == given


async def test_a_time_that_cannot_be_is_no_time(club: Club, other: Club) -> None:
    """Milliseconds, say: a copy tells when the order was given, and no start makes it younger."""
    orders = [
        order("user.revoke", at=club.clock.wall * 1000, user="ann"),
        order("user.ban", at=club.clock.wall * 1000, user="bob", seconds=60),
    ]
    club.downlink.handle(orders)
    given = club.clock.wall
    written = [to_copy(message) for message in await run_once(club)]
    assert [message.routing_key for message in written] == ["user.revoke", "user.ban"]
    await club.clock.advance(30)
    read(other, *orders, *written)
    verdict = other.revocations.get("ann", club.clock.wall)
    assert verdict is not None
    assert verdict.time == given
    assert other.exclusions.ends("hall", "bob", club.clock.wall) == given + 60


async def test_an_order_that_has_no_copy_yet_is_the_same_in_the_state(club: Club) -> None:
    """After a gap nobody's session ends for it again, and a ban is no longer than it was."""
    orders = [order("user.revoke", at=None, user="ann"), order("user.ban", at=None, user="bob", seconds=60)]
    club.downlink.handle(orders)
    await club.clock.advance(5)
    ann = await club.connect("ann")
    read(club, *orders)
    assert not ann.is_gone
    assert club.exclusions.ends("hall", "bob", club.clock.wall) == club.clock.wall + 55


async def test_the_same_order_given_anew_counts_anew(club: Club, other: Club) -> None:
    """In the state it stands behind the copy of the first; in the log behind what the state has told."""
    unstamped = order("user.revoke", at=None, user="ann")
    club.downlink.handle([unstamped])
    (written,) = await run_once(club)
    await club.clock.advance(60)
    read(other, unstamped, to_copy(written), unstamped)
    verdict = other.revocations.get("ann", club.clock.wall)
    assert verdict is not None
    assert verdict.time == club.clock.wall

    club.presence.new_epoch()
    read(club, unstamped, to_copy(written))
    await club.clock.advance(60)  # the log is read to where the epoch began
    ann = await club.connect("ann")
    club.downlink.handle([unstamped])
    assert ann.is_gone


@pytest.mark.parametrize("stamped", [True, False])
async def test_what_was_taken_back_stays_so_with_a_copy_behind_it(
    club: Club, other: Club, stamped: bool
) -> None:
    """Which was written in the moment in which the order was taken back."""
    revoke = order("user.revoke", at=club.clock.wall, user="ann")
    club.downlink.handle([revoke])
    await club.clock.advance(HALF_AGE)
    (copy,) = map(to_copy, await run_once(club))
    taken_back = order("user.revoke", at=club.clock.wall if stamped else None, user="ann", until=0)
    read(other, revoke, copy, taken_back, copy)
    awake(other)
    assert other.revocations.get("ann", other.clock.wall) is None


@pytest.mark.parametrize("stamped", [True, False])
async def test_a_taking_back_is_written_once_behind_every_copy(
    club: Club, other: Club, stamped: bool
) -> None:
    """Else the state could end with a copy, once it has dropped what took it back."""
    now = club.clock.wall
    club.downlink.handle([order("user.ban", at=now, user="ann", until=now + 60 * DAY)])
    await club.clock.advance(HALF_AGE)
    (copy,) = map(to_copy, await run_once(club))
    club.downlink.handle([order("user.ban", at=club.clock.wall if stamped else None, user="ann", seconds=0)])
    (written,) = map(to_copy, await run_once(club))
    assert await run_once(club) == []
    read(other, copy, written)
    awake(other)
    assert other.exclusions.ends("hall", "ann", other.clock.wall) is None
    assert await run_once(other) == []


async def test_what_the_state_has_lost_is_written_into_it_again(club: Club) -> None:
    """Its stream was deleted while instances run."""
    club.downlink.handle([menu("soup"), order("user.revoke", at=club.clock.wall, user="ann")])
    read(club)
    assert {message.routing_key for message in await run_once(club)} == {"table.1.menu", "user.revoke"}


async def test_values_of_unknown_age_are_written_again_once(other: Club) -> None:
    """Deliveries of a stream carry no time of their own: those behind a marker are younger than it."""
    now = other.clock.wall
    marker = Delivery(exchange=STATE, routing_key="state.end", body=b"{}", timestamp=now - DAY)
    read(other, menu("soup"), marker, menu("cake", table="2"))
    awake(other)
    assert [message.routing_key for message in await run_once(other)] == ["table.1.menu"]


async def test_verdicts_that_ended_are_let_go(club: Club) -> None:
    """The book does not grow with what need not last."""
    for number in range(1_500):
        now = club.clock.wall
        club.downlink.handle([order("user.ban", at=now, user=f"u{number}", seconds=1)])
    await club.clock.advance(5)
    club.exclusions.ends("", "nobody", club.clock.wall)
    for number in range(1_500):
        club.exclusions.get(("", f"u{number}"), club.clock.wall)
    await run_once(club, eldest=False)
    assert len(club.keeper._upkeep) == 0


async def test_a_message_that_cannot_be_read_stops_nothing(other: Club) -> None:
    """Neither a header that is none, nor what stands in it."""
    strange = [
        Delivery(exchange=STATE, routing_key="table.1.menu", body=b"{}", headers={"origin": origin})
        for origin in ("", "{}", "[1]", 7, '{"exchange":"club.events","written":"x"}')
    ]
    read(other, *strange, menu("soup"))
    assert shown(other) == ["soup"]


async def test_where_there_is_no_state_a_gap_makes_values_unknown(club: Club) -> None:
    """With a queue of its own an instance cannot read what it missed; with a stream it does."""
    config = club.rules.config
    queue = structs.replace(config, amqp=structs.replace(config.amqp, source="queue"))
    without = Club(structs.replace(club.rules, config=queue))
    without.clock = club.clock
    club.clock.drive_loop()
    for instance, values in ((club, ["soup"]), (awake(without), [])):
        instance.downlink.handle([menu("soup")])
        instance.keeper.begin_epoch()
        assert shown(instance) == values
    without.downlink.handle([menu("cake")])
    await club.clock.advance(HALF_AGE)
    assert await run_once(without) == [], "there is nothing to write into"
    await without.uplink.stop()
