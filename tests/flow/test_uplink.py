"""The trip of a command: order, an ack that says what the broker said, retries under an idempotency key."""

import asyncio

import pytest

from bridge.model import PublishOutcome
from tests.support.club import Club
from tests.support.fakes import settle


async def test_a_command_is_published_and_acknowledged_after_the_confirm(club: Club) -> None:
    """Not before; with the id of the message."""
    client = await club.connect("ann")
    club.publisher.holding = True
    client.send("say", {"table": "1", "text": "hi"}, ack=1)
    await settle()
    assert client.log == []
    await club.publisher.release()
    [message] = club.publisher.sent
    assert client.received(1) == [{"status": "ok", "message_id": message.message_id}]
    assert (message.exchange, message.routing_key, message.type) == ("club.commands", "table.1.say", "say")
    assert message.headers == {"x-sid": client.sid, "x-namespace": "/hall", "x-user": "ann"}
    assert message.body == b'{"table":"1","text":"hi","by":"ann"}'


async def test_commands_of_one_client_keep_their_order_and_clients_do_not_wait_for_each_other(
    club: Club,
) -> None:
    """The second of a client is sent when the first is answered."""
    ann, bob = await club.connect("ann"), await club.connect("bob")
    club.publisher.holding = True
    ann.send("say", {"table": "1"})
    ann.send("say", {"table": "2"})
    bob.send("say", {"table": "3"})
    await settle()
    assert club.publisher.keys == ["table.1.say", "table.3.say"]
    await club.publisher.release(2)
    assert club.publisher.keys == ["table.1.say", "table.3.say", "table.2.say"]
    await club.publisher.release()


@pytest.mark.parametrize("outcome", [outcome for outcome in PublishOutcome if outcome != "confirmed"])
async def test_the_ack_tells_what_became_of_the_message(club: Club, outcome: PublishOutcome) -> None:
    """A code for each outcome; the rest of the command is not carried out."""
    client = await club.connect("ann")
    club.publisher.outcomes.append(outcome)
    client.send("order", {"table": "1"}, ack=1)
    await settle()
    assert [ack["code"] for ack in client.received(1)] == [outcome.value.upper()]
    assert [error["code"] for error in client.received("error")] == [outcome.value.upper()]
    assert not club.memberships.contains("/hall", "table:1", client)
    assert club.count("bridged_commands_total", command="/hall order", outcome=outcome.value.upper()) == 1


async def test_a_fault_of_one_command_does_not_stop_the_next(club: Club) -> None:
    """It is answered INTERNAL, without a word of what it was."""
    client = await club.connect("ann")
    club.publisher.outcomes.append(ValueError("secret"))
    client.send("say", {"table": "1"}, ack=1)
    client.send("say", {"table": "2"}, ack=2)
    await settle()
    assert client.received(1) == [
        {"status": "error", "code": "INTERNAL", "message": "The command could not be carried out"}
    ]
    assert client.received(2)[0]["status"] == "ok"


async def test_bad_commands_are_refused_and_the_connection_goes_on(club: Club) -> None:
    """Unknown, malformed, forbidden: one answer each, counted under a name of ours."""
    client = await club.connect("ann")
    client.send("nope", ack=1)
    client.send("say", {"table": "1"}, {}, ack=2)
    client.send("say", {"table": "a.b"}, ack=3)
    client.send("sit", {"table": "7"}, ack=4)
    await settle()
    client.send("knock", ack=5)
    await settle()
    codes = [client.received(number)[0].get("code") for number in (1, 2, 3, 4)]
    assert codes == ["UNKNOWN_COMMAND", "VALIDATION_FAILED", "VALIDATION_FAILED", "FORBIDDEN"]
    assert client.received(5) == [{"who": "ann"}]
    assert len(client.received("error")) == 4
    assert club.count("bridged_commands_total", command="/hall -", outcome="UNKNOWN_COMMAND") == 1
    assert club.publisher.sent == []


async def test_a_client_is_in_so_many_rooms_at_most(club: Club) -> None:
    """A further join is refused, one of the same room is not."""
    client = await club.connect("ann")
    for name in ("a", "b", "c", "d", "a"):
        client.send("hide", {"table": name}, ack=ord(name))
        await settle()
    assert client.received(ord("d"))[0]["code"] == "FORBIDDEN"
    assert [ack["status"] for ack in client.received(ord("a"))] == ["ok", "ok"]
    assert len(club.memberships.rooms_of("/hall", client)) == 5  # EVERYONE besides


async def test_a_retry_gets_the_first_answer(club: Club) -> None:
    """For five minutes, from any connection of the user; nothing is published again."""
    first, second = await club.connect("ann"), await club.connect("ann")
    first.send("say", {"table": "1", "idempotency_key": "k"}, ack=1)
    await settle()
    second.send("say", {"table": "2", "idempotency_key": "k"}, ack=1)
    await settle()
    assert second.received(1) == first.received(1)
    assert len(club.publisher.sent) == 1
    await club.clock.advance(300)
    second.send("say", {"table": "1", "idempotency_key": "k"}, ack=2)
    await settle()
    assert len(club.publisher.sent) == 2
    assert second.received(2) != first.received(1)


@pytest.mark.parametrize("jump", [600, -600])
async def test_a_retry_after_the_clock_was_set_is_no_second_command(club: Club, jump: float) -> None:
    """However far: the five minutes are those that have passed, also after an outcome that was open."""
    client = await club.connect("ann")
    club.publisher.outcomes.append(PublishOutcome.UNKNOWN_OUTCOME)
    for number in (1, 2, 3):
        client.send("say", {"table": "1", "idempotency_key": "k"}, ack=number)
        await settle()
        club.clock.set_wall(jump)
    assert client.received(2) == client.received(3)
    assert len(club.publisher.sent) == 2
    assert len({message.message_id for message in club.publisher.sent}) == 1


async def test_a_user_of_another_tenant_is_another_user(club: Club) -> None:
    """Two tenants may each have an ann: neither gets the other's answers, nor uses up her connections."""
    first, second = await club.connect("ann", tenant="red"), await club.connect("ann", tenant="blue")
    for client in (first, second):
        client.send("say", {"table": "1", "idempotency_key": "k"}, ack=1)
    await settle()
    assert len(club.publisher.sent) == 2
    assert second.received(1) != first.received(1)
    for _ in range(2):  # connections_per_user
        await club.connect("ann", tenant="green")


async def test_a_refusal_by_the_broker_is_an_answer_too(club: Club) -> None:
    """A retry gets it again."""
    client = await club.connect("ann")
    club.publisher.outcomes.append(PublishOutcome.UNROUTABLE)
    for number in (1, 2):
        client.send("say", {"table": "1", "idempotency_key": "k"}, ack=number)
    await settle()
    assert [client.received(number)[0]["code"] for number in (1, 2)] == ["UNROUTABLE", "UNROUTABLE"]
    assert len(club.publisher.sent) == 1


async def test_a_retry_while_the_first_try_runs_waits_for_it(club: Club) -> None:
    """Both get the same answer, also when the first client is gone by then."""
    first, second = await club.connect("ann"), await club.connect("ann")
    club.publisher.holding = True
    first.send("say", {"table": "1", "idempotency_key": "k"}, ack=1)
    await settle()
    second.send("say", {"table": "1", "idempotency_key": "k"}, ack=1)
    await settle()
    first.drop()
    assert second.log == []
    await club.publisher.release()
    [message] = club.publisher.sent
    assert second.received(1) == [{"status": "ok", "message_id": message.message_id}]


@pytest.mark.parametrize("outcome", [PublishOutcome.UNKNOWN_OUTCOME, PublishOutcome.BROKER_UNAVAILABLE])
async def test_an_open_outcome_is_tried_again_under_the_same_message_id(
    club: Club, outcome: PublishOutcome
) -> None:
    """As often as it takes; then the answer stands."""
    client = await club.connect("ann")
    club.publisher.outcomes.extend([outcome, outcome])
    for number in (1, 2, 3, 4):
        client.send("say", {"table": "1", "idempotency_key": "k"}, ack=number)
        await settle()
    assert len(club.publisher.sent) == 3
    assert len({message.message_id for message in club.publisher.sent}) == 1
    statuses = [client.received(number)[0]["status"] for number in (1, 2, 3, 4)]
    assert statuses == ["error", "error", "ok", "ok"]
    assert client.received(3)[0]["message_id"] == club.publisher.sent[0].message_id


async def test_a_fault_of_ours_is_tried_again_too(club: Club) -> None:
    """And whoever waited for the first try is told of it."""
    first, second = await club.connect("ann"), await club.connect("ann")
    club.publisher.holding = True
    club.publisher.outcomes.append(ValueError("secret"))
    for client in (first, second):
        client.send("say", {"table": "1", "idempotency_key": "k"}, ack=1)
    await settle()
    await club.publisher.release()
    assert [client.received(1)[0]["code"] for client in (first, second)] == ["INTERNAL", "INTERNAL"]
    club.publisher.holding = False
    second.send("say", {"table": "1", "idempotency_key": "k"}, ack=2)
    await settle()
    assert second.received(2)[0]["status"] == "ok"
    assert len({message.message_id for message in club.publisher.sent}) == 1


async def test_keys_of_others_are_their_own(club: Club) -> None:
    """Of another user, of another command, in another namespace."""
    ann, bob = await club.connect("ann"), await club.connect("bob")
    body = {"table": "1", "idempotency_key": "k"}
    ann.send("say", body)
    bob.send("say", body)
    ann.send("order", body)
    await settle()
    assert len({message.message_id for message in club.publisher.sent}) == 3


async def test_bad_input_is_not_remembered(club: Club) -> None:
    """The corrected command runs."""
    client = await club.connect("ann")
    client.send("say", {"table": 7, "idempotency_key": "k"}, ack=1)
    client.send("say", {"table": "7", "idempotency_key": "k"}, ack=2)
    await settle()
    assert client.received(1)[0]["code"] == "VALIDATION_FAILED"
    assert client.received(2)[0]["status"] == "ok"


async def test_a_retry_from_a_new_connection_enters_the_room(club: Club) -> None:
    """The first one's place in the room went with it; what was published is not published again."""
    first = await club.connect("ann")
    first.send("order", {"table": "1", "idempotency_key": "k"})
    await settle()
    first.drop()
    second = await club.connect("ann")
    second.send("order", {"table": "1", "idempotency_key": "k"}, ack=1)
    second.send("sit", {"table": "2", "idempotency_key": "k"}, ack=2)
    second.send("sit", {"table": "2", "idempotency_key": "k"}, ack=3)
    await settle()
    assert club.memberships.contains("/hall", "table:1", second)
    assert second.received(1)[0]["message_id"] == club.publisher.sent[0].message_id
    assert second.received(3) == [{"status": "ok"}]
    assert len(club.publisher.sent) == 1


async def test_a_join_is_asked_again_after_the_publish(club: Club) -> None:
    """The client may have renewed its token with less in it meanwhile."""
    client = await club.connect("ann")
    club.publisher.holding = True
    client.send("order", {"table": "2"}, ack=1)
    await settle()
    client.send("authenticate", {"token": club.token("ann", tables=["1"])})
    await club.publisher.release()
    assert client.received(1)[0]["code"] == "FORBIDDEN"
    assert not club.memberships.contains("/hall", "table:2", client)


async def test_stopping_gives_up_what_is_under_way(club: Club) -> None:
    """No task is left, and whoever waits for a first try is not left waiting."""
    ann, other = await club.connect("ann"), await club.connect("ann")
    club.publisher.holding = True
    for client in (ann, other):
        client.send("say", {"table": "1", "idempotency_key": "k"})
    await settle()
    async with asyncio.timeout(5):
        await club.uplink.stop()
    assert "workers" not in club.left_over()
