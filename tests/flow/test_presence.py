"""Presence over instances: users count once, all agree, and only who has gone is told to have gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.flow.presence import STRANGER_SECONDS
from bridge.flow.presence_messages import GONE_KEY, JOINED_KEY, LEFT_KEY, SNAPSHOT_KEY, Gone
from bridge.model import LOG_EXCHANGE, PublishMessage, PublishOutcome, RoomRef
from bridge.rules.compile import Rules
from tests.support.fakes import settle
from tests.support.house import HEARTBEAT
from tests.support.inn import GRACE, TABLE, Inn, Street


@pytest.fixture
async def street(club_rules: Rules) -> AsyncIterator[Street]:
    """No instance runs yet."""
    street = Street(club_rules)
    yield street
    await street.close()


async def test_users_count_over_all_instances(street: Street) -> None:
    """Each once, however many clients it has wherever; all hear of the first and of the last one."""
    one, two = await street.open(), await street.open()
    first = one.come("ann")
    assert (one.users(), two.users()) == (1, 0)  # the others know it when they read it
    await settle()
    second = two.come("ann", "another tab")
    two.come("bob")
    await settle()
    assert (one.users(), two.users()) == (2, 2)
    assert one.hear() == two.hear() == [("came", "ann"), ("came", "bob")]
    one.go(first)
    await settle()
    assert one.hear() == two.hear() == []
    two.go(second)
    await settle()
    assert one.hear() == two.hear() == [("went", "ann")]
    assert one.places == two.places == [offset for offset in one.places if offset is not None]


async def test_others_hear_in_their_own_namespace_whoever_comes(street: Street) -> None:
    """Where the room's words name the namespace nobody needs to be in it: somebody may come back to it."""
    one = await street.open()
    one.come("ann")
    await settle()
    assert one.told == [
        ("/hall", "came", {"user": "ann", "table": "1"}),
        ("/table/1", "came", {"user": "ann", "table": "1"}),
    ]


async def test_the_log_carries_the_claims_that_are_shown_and_no_others(street: Street) -> None:
    """Whoever may read `bridge.log` does not learn what no client is told."""
    one = await street.open()
    one.come("ann")
    await settle()
    [message] = [message for message in street.log.messages if message.routing_key == JOINED_KEY]
    assert msgspec.json.decode(message.body)["members"][0]["claims"] == {"sub": "ann"}


async def test_one_that_starts_is_told_who_is_there(street: Street) -> None:
    """Also when the log does not hold it any more; nobody's clients hear of it."""
    one = await street.open()
    one.come("ann")
    await settle()
    street.log.messages.clear()
    two = await street.open()
    assert two.users() == 1
    assert two.hear() == []
    two.come("ann", "another tab")
    await settle()
    assert one.hear() == [("came", "ann")]
    assert two.hear() == []


async def test_a_long_list_comes_in_parts(street: Street) -> None:
    """And is one list."""
    one = await street.open()
    for number in range(1000):
        one.come(f"user-{number}")
    await settle()
    street.log.messages.clear()
    two = await street.open()
    assert street.log.keys.count(SNAPSHOT_KEY) > 2
    assert max(len(message.body) for message in street.log.messages) < 70_000
    assert two.users() == one.users() == 1000


async def test_a_client_that_comes_back_within_the_grace_was_never_gone(street: Street) -> None:
    """To the same instance, or with the same sid to another one."""
    one, two = await street.open(), await street.open()
    sid = one.come("ann")
    one.lose(sid)
    await street.pass_time(GRACE - 1)
    one.come("ann", sid)
    await street.pass_time(GRACE + 1)
    one.lose(sid)
    two.come("ann", sid)
    await street.pass_time(GRACE + 1)
    assert one.hear() == two.hear() == [("came", "ann")]
    assert (one.users(), two.users()) == (1, 1)
    two.lose(sid)
    await street.pass_time(GRACE + 1)
    assert one.hear() == two.hear() == [("went", "ann")]
    assert one.presence.left_over() == two.presence.left_over() == 0


async def test_the_first_connection_of_a_session_that_is_found_dead_later_takes_nobody_away(
    street: Street,
) -> None:
    """Its second one is there."""
    one = await street.open()
    sid = one.come("ann")
    one.come("ann", sid)
    one.lose(sid)
    await street.pass_time(GRACE + 1)
    assert one.users() == 1
    assert one.hear() == [("came", "ann")]
    one.go(sid)
    await settle()
    assert one.hear() == [("went", "ann")]
    assert one.presence.left_over() == 0


async def test_the_users_of_an_instance_that_dies_leave_within_a_minute(street: Street) -> None:
    """All that stay hear the same, in the same order; whoever came back elsewhere stays."""
    one, two, three = [await street.open() for _ in range(3)]
    for user in ("ann", "bob", "eve"):
        one.come(user)
    await settle()
    two.come("bob", "bob's second tab")
    await street.kill(one)
    await street.pass_time(30)
    three.come("eve")
    await settle()
    assert two.hear() == three.hear() == [("came", "ann"), ("came", "bob"), ("came", "eve")]
    await street.pass_time(30)
    assert two.hear() == three.hear() == [("went", "ann")]
    assert two.users() == three.users() == 2
    assert two.places == three.places
    assert street.log.keys.count(GONE_KEY) == 1


async def test_the_eldest_may_die_before_it_has_said_who_went(street: Street) -> None:
    """Its successor does."""
    one, two, three = [await street.open() for _ in range(3)]
    two.come("ann")
    await settle()
    await street.stop(two)
    await street.kill(one)
    await street.pass_time(60)
    assert three.hear() == [("came", "ann"), ("went", "ann")]


async def test_nobody_leaves_while_the_broker_is_away(street: Street) -> None:
    """However long; who has gone meanwhile is told to have gone when it is back."""
    one, two = await street.open(), await street.open()
    one.come("ann")
    two.come("bob")
    await settle()
    street.log.away = True
    gone = one.come("eve")
    await street.pass_time(300)
    assert one.users() == 3
    one.go(gone)
    one.go("sid of ann")
    assert one.users() == 1
    street.log.away = False
    await street.pass_time(HEARTBEAT)
    assert (
        one.hear()
        == two.hear()
        == [("came", "ann"), ("came", "bob"), ("came", "eve"), ("went", "eve"), ("went", "ann")]
    )
    assert one.users() == two.users() == 1


async def test_a_confirm_that_does_not_come_makes_nobody_come_twice(street: Street) -> None:
    """The message is published again; its first copy says the same."""
    one, two = await street.open(), await street.open()
    one.come("ann")
    await settle()
    [joined] = [message for message in street.log.messages if message.routing_key == JOINED_KEY]
    one.go("sid of ann")
    await settle()
    await street.log.publish(joined)  # as a broken connection's buffer may bring it late
    assert one.users() == two.users() == 0
    assert one.hear() == two.hear() == [("came", "ann"), ("went", "ann")]
    street.log.refusing = [PublishOutcome.UNKNOWN_OUTCOME, PublishOutcome.BROKER_UNAVAILABLE]
    one.come("bob")
    for _ in range(3):
        await street.pass_time(1)
    assert two.hear() == [("came", "bob")]


async def test_what_the_broker_refuses_is_told_again(street: Street) -> None:
    """And before what comes behind it."""
    one, two = await street.open(), await street.open()
    street.log.refusing = [PublishOutcome.REJECTED] * 2
    one.come("ann")
    await settle()
    one.go("sid of ann")
    one.come("bob")
    for _ in range(5):
        await street.pass_time(1)
    assert two.hear() == [("came", "ann"), ("went", "ann"), ("came", "bob")]


async def test_a_graceful_restart_is_told_to_nobody(street: Street) -> None:
    """Whoever is back within the grace was never gone, wherever; who stays away has gone after it."""
    one, two = await street.open("one"), await street.open("two")
    for user in ("ann", "bob", "eve"):
        one.come(user)
    await settle()
    for user in ("ann", "bob", "eve"):
        one.lose(f"sid of {user}")  # as it closes their connections
    two.come("ann")
    await street.stop(one)
    await street.pass_time(1)
    again = await street.open("one")
    again.come("bob", "a new sid")
    await street.pass_time(GRACE - 2)
    assert two.hear() == [("came", "ann"), ("came", "bob"), ("came", "eve")]
    assert two.users() == again.users() == 3
    await street.pass_time(10)
    assert two.hear() == [("went", "eve")]
    assert two.users() == again.users() == 2
    assert ("went", "eve") in again.hear()


async def test_clients_sent_away_by_a_stop_are_not_told_to_have_gone(street: Street) -> None:
    """Neither those whose time of grace ran already when it began, nor those that it cut."""
    one, two = await street.open("one"), await street.open("two")
    ann, bob = one.come("ann"), one.come("bob")
    await settle()
    one.lose(ann)
    one.presence.close()
    one.lose(bob)
    one.come("eve")
    await street.pass_time(GRACE + 1)
    assert two.hear() == [("came", "ann"), ("came", "bob")]
    await street.stop(one)
    await street.pass_time(GRACE + 5)
    assert two.hear() == [("went", "ann"), ("went", "bob")]


async def test_a_single_instance_that_is_killed_and_restarted_finds_its_users_again(street: Street) -> None:
    """It reads them from the log; those who do not come back have gone after the grace."""
    one = await street.open("one")
    one.come("ann")
    one.come("bob")
    await settle()
    await street.kill(one)
    again = await street.open("one")
    again.hear()  # what the log tells while it warms up
    assert again.users() == 2
    again.come("ann", "a new sid")
    await street.pass_time(GRACE + 5)
    assert again.hear() == [("went", "bob")]
    assert again.users() == 1


@pytest.mark.parametrize("back_in_time", [True, False])
async def test_an_instance_that_was_held_for_dead_keeps_its_users(street: Street, back_in_time: bool) -> None:
    """It was cut off from the broker: back within the grace nobody has gone, back later they come again."""
    one, two = await street.open(), await street.open()
    sid = one.come("ann")
    await settle()
    two.line.cut = one.line.cut = True
    await street.pass_time(300)  # all are silent alike
    two.line.mend()
    while not two.ended:
        await street.pass_time(1)
    await street.pass_time(GRACE - 2 if back_in_time else 60)
    one.line.mend()
    await street.pass_time(30)
    again = [] if back_in_time else [("went", "ann"), ("came", "ann")]
    assert one.hear() == two.hear() == [("came", "ann"), *again]
    assert one.users() == two.users() == 1
    one.go(sid)
    await settle()
    assert one.hear() == two.hear() == [("went", "ann")]


async def test_members_of_an_instance_that_gave_no_sign_of_life_go(street: Street) -> None:
    """The log began in the middle of its life, and it died before the next sign."""
    one = await street.open()
    one.come("ann")
    await settle()
    await street.kill(one)
    [joined] = [message for message in street.log.messages if message.routing_key == JOINED_KEY]
    street.log.messages[:] = [joined]
    two = await street.open()
    assert two.users() == 1
    await street.pass_time(STRANGER_SECONDS + 10)
    assert two.users() == 0


async def test_after_a_gap_in_the_log_all_say_who_is_there(street: Street) -> None:
    """Who came and who went meanwhile is told to the clients of the instance that missed it."""
    one, two = await street.open(), await street.open()
    one.come("ann")
    await settle()
    two.line.cut = True
    one.go("sid of ann")
    one.come("bob")
    await settle()
    assert two.hear() == [("came", "ann")]
    two.miss()
    await settle()
    assert two.users() == one.users() == 1
    assert sorted(two.hear()) == [("came", "bob"), ("went", "ann")]
    assert one.hear() == [("came", "ann"), ("went", "ann"), ("came", "bob")]


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_who_missed_the_end_of_an_instance_and_of_its_members_finds_it_out(
    street: Street, end: str
) -> None:
    """The eldest, which said it within the gap, has nothing left to say: whoever waits for it says it."""
    eldest, other, late = await street.open(), await street.open(), await street.open()
    other.come("ann")
    await settle()
    late.line.cut = True
    await (street.stop if end == "stop" else street.kill)(other)
    await street.pass_time(120)
    assert (eldest.users(), late.users()) == (0, 1)
    late.miss()
    await street.pass_time(90)
    assert late.users() == eldest.users() == 0
    assert late.hear() == eldest.hear() == [("came", "ann"), ("went", "ann")]
    assert street.log.keys.count(GONE_KEY) == 2  # and nobody goes on saying it


async def test_an_end_that_is_said_twice_or_by_mistake_takes_nobody_away(street: Street) -> None:
    """Of an instance that lives, and whose members nobody waits to see gone."""
    one, two = await street.open(), await street.open()
    one.come("ann")
    await settle()
    await two.writer.write(GONE_KEY, Gone(incarnation=one.instances.incarnation, at=street.clock.wall))
    await settle()
    assert one.users() == two.users() == 1
    assert one.hear() == two.hear() == [("came", "ann")]


async def test_rooms_without_presence_are_told_to_nobody(club_rules: Rules, street: Street) -> None:
    """The flow does not tell of them, and a message that does is harmless."""
    one = await street.open()
    one.come("ann", room=RoomRef(system="shop", room="quiet:x"))
    one.come("ann", room=RoomRef(system="nowhere", room="x"))
    await settle()
    assert one.told == []


async def test_hostile_or_broken_messages_change_nothing(street: Street) -> None:
    """Whatever stands in `bridge.log`."""
    one = await street.open()
    one.come("ann")
    await settle()
    for key in (JOINED_KEY, LEFT_KEY, SNAPSHOT_KEY, GONE_KEY):
        for body in (b"", b"{}", b"[]", b'{"incarnation":1}', b"\xff"):
            message = PublishMessage(
                exchange=LOG_EXCHANGE, routing_key=key, body=body, message_id="x", type=key, timestamp=0
            )
            await street.log.publish(message)
    assert one.users() == 1


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["come", "go", "lose", "wait", "kill", "stop", "open", "outage", "cut", "miss"]),
        st.integers(0, 2),
        st.sampled_from(["ann", "bob"]),
        st.sampled_from(["1", "2"]),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(actions=ACTIONS)
def test_all_instances_agree_and_the_truth_wins(
    club_rules: Rules, actions: list[tuple[str, int, str, str]]
) -> None:
    """Instances die, stop, start, miss parts of the log; the broker goes and comes; in the end who is there
    is there, told once."""
    asyncio.run(_act(club_rules, actions))


async def _act(rules: Rules, actions: list[tuple[str, int, str, str]]) -> None:
    street = Street(rules)
    watcher = await street.open("watcher")
    there: dict[str, set[tuple[str, str]]] = {"watcher": set()}
    for action, number, user, tab in actions:
        inn = street.inns[number % len(street.inns)]
        seats, sid = there[inn.name], f"{user}-{tab}"
        match action:
            case "come" if (user, sid) not in seats:
                inn.come(user, sid)
                seats.add((user, sid))
            case "go" | "lose" if (user, sid) in seats:
                (inn.go if action == "go" else inn.lose)(sid)
                seats.remove((user, sid))
            case "wait":
                await street.pass_time(number * 7)
            case "outage" | "cut" | "miss":
                _break(street, inn, action)
            case "kill" | "stop" if inn is not watcher and (
                action == "kill" or not (street.log.away or inn.line.cut)
            ):
                await (street.kill if action == "kill" else street.stop)(inn)
                del there[inn.name]
            case "open" if not street.log.away and len(street.inns) < 3:
                there[(await street.open()).name] = set()
    street.log.away = False
    for inn in street.inns:
        _break(street, inn, "miss")
    await street.pass_time(120)
    users = {user for seats in there.values() for user, _ in seats}
    told: set[object] = set()
    for event, user in watcher.hear():
        assert (event == "came") == (user not in told)
        (told.add if event == "came" else told.discard)(user)
    assert told == users
    for inn in street.inns:
        assert inn.users() == len(users)
        assert dict(inn.table.occupied()).get(TABLE, 0) == len(users)
    await street.close()


def _break(street: Street, inn: Inn, how: str) -> None:
    """The broker goes or comes, or one instance's way to it does."""
    if how == "outage":
        street.log.away = not street.log.away
    elif how == "cut":
        inn.line.cut = True
    elif inn.line.cut:
        inn.miss()
