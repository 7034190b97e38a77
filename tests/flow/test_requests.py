"""Commands that a service answers, and commands that only members of a room may send."""

from collections.abc import AsyncIterator

import pytest

from bridge.model import PublishOutcome, Reply
from bridge.rules.compile import Rules
from tests.support.club import BODIES, CONFIG, Club
from tests.support.fakes import RecordingClient, settle
from tests.support.rules import compile_project

ROUTES = """
exchange: club.events
commands_exchange: club.commands
schemas: shop
namespaces:
  /hall:
    rooms: {"table:{table}": {allow: {tables: "{table}"}}}
    commands:
      sit: {schema: Table, join: "table:{body.table}"}
      stand: {schema: Table, leave: "table:{body.table}"}
      say:
        schema: Table
        inside: "table:{body.table}"
        publish: "table.{body.table}.say"
        to: events
        headers: {floor: "{user.floor}"}
      ask: {schema: Table, request: "table.{body.table}.ask", timeout: 2s}
      enter:
        schema: Table
        request: table.{body.table}.enter
        join: table:{body.table}
        emit: {entered: {name: "{reply.name}", users: "{room.users}"}}
        ack: {name: "{reply.name}"}
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    """A club whose waiters answer."""
    return compile_project(tmp_path_factory.mktemp("ask"), ROUTES, bodies=BODIES, config=CONFIG)


@pytest.fixture
async def hall(rules: Rules) -> AsyncIterator[Club]:
    """That club, in which time stands still."""
    club = Club(rules)
    yield club
    await club.uplink.stop()
    club.presence.stop()


async def ask(club: Club, client: RecordingClient, event: str = "ask", **fields: str) -> object:
    """Send a command about a table and return its ack."""
    client.log.clear()
    client.send(event, {"table": "1", **fields}, ack=1)
    await settle()
    [ack] = client.received(1)
    return ack


async def test_the_reply_is_the_ack(hall: Club) -> None:
    """JSON as JSON, bytes as bytes."""
    client = await hall.connect("ann")
    hall.requester.replies += [
        Reply(body=b'{"name": "ann"}', content_type="application/json"),
        Reply(body=b"\x00", content_type="application/octet-stream"),
    ]
    assert await ask(hall, client) == {"name": "ann"}
    assert await ask(hall, client) == b"\x00"
    [first, _] = hall.requester.sent
    assert (first.timeout, first.message.routing_key, first.message.exchange) == (
        2.0,
        "table.1.ask",
        "club.commands",
    )
    assert first.message.headers["x-user"] == "ann"
    assert hall.publisher.sent == []


@pytest.mark.parametrize("outcome", [outcome for outcome in PublishOutcome if outcome != "confirmed"])
async def test_no_reply_is_told_by_its_reason(hall: Club, outcome: PublishOutcome) -> None:
    """A code for each; the rest of the command is not carried out."""
    client = await hall.connect("ann")
    hall.requester.replies.append(outcome)
    refusal = await ask(hall, client, "enter")
    assert isinstance(refusal, dict)
    assert refusal["code"] == outcome.value.upper()
    assert not hall.memberships.contains("/hall", "table:1", client)


async def test_a_service_refuses_in_its_own_words(hall: Club) -> None:
    """REJECTED, with its text."""
    client = await hall.connect("ann")
    hall.requester.replies.append(Reply(body=b"", error="The table is taken"))
    assert await ask(hall, client, "enter") == {
        "status": "error",
        "code": "REJECTED",
        "message": "The table is taken",
    }


async def test_an_unreadable_reply_is_no_answer(hall: Club) -> None:
    """The client does not receive what it could not read either."""
    client = await hall.connect("ann")
    hall.requester.replies.append(Reply(body=b"{"))
    refusal = await ask(hall, client)
    assert isinstance(refusal, dict)
    assert refusal["code"] == "INTERNAL"


async def test_after_the_reply_comes_the_rest(hall: Club) -> None:
    """Joins, and templates that read both."""
    client = await hall.connect("ann")
    hall.requester.replies.append(Reply(body=b'{"name": "Table one"}'))
    assert await ask(hall, client, "enter") == {"name": "Table one"}
    assert client.received("entered") == [{"name": "Table one", "users": 0}]
    assert hall.memberships.contains("/hall", "table:1", client)


async def test_a_retry_gets_the_first_reply_but_a_timeout_is_asked_again(hall: Club) -> None:
    """Under the same message id, by which the service can tell."""
    client = await hall.connect("ann")
    hall.requester.replies += [PublishOutcome.TIMEOUT, Reply(body=b"1"), Reply(body=b"2")]
    timeout = await ask(hall, client, idempotency_key="k")
    assert isinstance(timeout, dict)
    assert timeout["code"] == "TIMEOUT"
    assert [await ask(hall, client, idempotency_key="k") for _ in range(2)] == [1, 1]
    assert len({request.message.message_id for request in hall.requester.sent}) == 1
    assert len(hall.requester.sent) == 2


async def test_only_members_of_the_room_may_send(hall: Club) -> None:
    """From the join to the leave; nobody else's command is published."""
    ann, bob = await hall.connect("ann", floor="2"), await hall.connect("bob")
    outside = {"status": "error", "code": "FORBIDDEN", "message": "You are not in this room"}
    assert await ask(hall, ann, "say") == outside
    await ask(hall, ann, "sit")
    assert await ask(hall, bob, "say") == outside
    assert await ask(hall, ann, "say", text="hi") != outside
    await ask(hall, ann, "stand")
    assert await ask(hall, ann, "say") == outside
    [message] = hall.publisher.sent
    assert (message.exchange, message.headers["floor"]) == ("club.events", "2")
    assert message.headers["x-sid"] == ann.sid
