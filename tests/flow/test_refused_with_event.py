"""Clients that are refused with an event, tokens in the query, and open namespaces."""

from collections.abc import AsyncIterator, Mapping

import pytest
from msgspec import Raw

from bridge.errors import Code
from bridge.flow.ports import Admitted, ConnectRefused, ConnectRequest
from bridge.model import EVERYONE, Emission
from bridge.rules.compile import Rules
from tests.support.club import BODIES, CONFIG, Club
from tests.support.fakes import RecordingClient, settle
from tests.support.rules import compile_project

ROUTES = """
exchange: club.events
commands_exchange: club.commands
schemas: shop
auth:
  query_token: true
  refuse_with:
    connection_error: {error_code: "{error.code}", error_message: "{error.message}", connection_id: null}
errors: {names: {NOT_AUTHENTICATED: AUTH_MISSING, INVALID_TOKEN: AUTH_FAILED}}
limits: {connections_per_user: 1, rate: [1/s], ban: {after: 2, within: 60s, duration: 300s}}
namespaces:
  /ws:
    allow: {roles: member}
    on_connect: {join: ["user:{user.sub}"], emit: {welcome: "{user.sub}"}}
    commands: {knock: {ack: {who: "{user.sub}"}}}
  /closed:
    auth: {refuse_with: {connection_error: "{error.code}"}}
  /board:
    auth: {required: false, refuse_with: {connection_error: 1}}
    allow: {roles: nobody}
    limits: {}
    on_connect: {join: ["table:0"], emit: {welcome: {sid: "{sid}", who: "{user.sub:-null}"}}}
    rooms: {"table:{table}": {allow: {tables: "{table}"}}}
    commands:
      sit: {schema: Table, allow: {roles: nobody}, join: "table:{body.table}"}
      say: {schema: Table, inside: "table:{body.table}", publish: "table.{body.table}.say"}
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    """A club that tells at the door why one may not come in."""
    return compile_project(tmp_path_factory.mktemp("door"), ROUTES, bodies=BODIES, config=CONFIG)


@pytest.fixture
async def door(rules: Rules) -> AsyncIterator[Club]:
    """That club, in which time stands still."""
    club = Club(rules)
    yield club
    await club.uplink.stop()
    club.presence.stop()


async def refused(club: Club, auth: object, query: Mapping[str, str] | None = None) -> object:
    """The one event that a refused client receives before it is disconnected."""
    client = await club.try_connect("/ws", auth, query=query)
    assert isinstance(client, RecordingClient)
    assert client.is_gone
    [(event, [payload])] = client.log
    assert event == "connection_error"
    return payload


def member(club: Club, user: str = "ann") -> dict[str, str]:
    """The handshake of a member."""
    return {"token": club.token(user, roles=["member"])}


async def test_the_event_says_why(door: Club) -> None:
    """No token, a bad one, claims that do not fit: each under the name of its code."""
    assert await refused(door, None) == {
        "error_code": "AUTH_MISSING",
        "error_message": "A token is required",
        "connection_id": None,
    }
    for auth in ({"token": "nonsense"}, {"token": 7}, {"token": door.token(lifetime=-1)}):
        payload = await refused(door, auth)
        assert isinstance(payload, dict)
        assert payload["error_code"] == "AUTH_FAILED"
    payload = await refused(door, {"token": door.token(roles=["guest"])})
    assert isinstance(payload, dict)
    assert payload["error_code"] == "FORBIDDEN"
    assert door.left_over() == {}


async def test_it_counts_as_refused(door: Club) -> None:
    """Under the bridge's own code, and never as a client of the namespace."""
    await refused(door, None)
    await refused(door, {"token": "no"})
    assert door.count("bridged_refused_total", reason="NOT_AUTHENTICATED") == 1
    assert door.count("bridged_refused_total", reason="INVALID_TOKEN") == 1
    assert door.count("bridged_clients", namespace="/ws") == 0


async def test_too_many_connections_and_bans_are_told_so(door: Club) -> None:
    """As everything that may be refused at the door."""
    ann = await door.try_connect("/ws", member(door))
    assert isinstance(ann, RecordingClient)
    assert ann.names == ["welcome"]
    payload = await refused(door, member(door))
    assert isinstance(payload, dict)
    assert payload["error_code"] == "TOO_MANY_CONNECTIONS"
    for _ in range(3):
        ann.send("knock")
    await settle()
    assert ann.is_gone
    payload = await refused(door, member(door))
    assert isinstance(payload, dict)
    assert payload["error_code"] == "BANNED"


async def test_nothing_else_reaches_such_a_client(door: Club) -> None:
    """It is in no room, and nothing that it sends is read, also not before it is told."""
    client = RecordingClient(door.gateway, "/ws", "connection", "sid")
    request = ConnectRequest(auth=None, headers={}, query={}, remote="192.0.2.1")
    assert await door.gateway.connect(client, request) == Admitted()
    door.gateway.received(client, "knock", (), 1)
    door.gateway.received(client, "authenticate", (Raw(b'{"token":"x"}'),), 2)
    door.fanout.send([Emission(route="r", namespace="/ws", event="e", args=(), rooms=(EVERYONE, "user:ann"))])
    await settle()
    assert client.log == []
    assert door.memberships.room_count == 0
    door.gateway.connected(client)
    assert client.names == ["connection_error"]
    assert client.is_gone
    door.gateway.received(client, "knock", (), 3)
    door.gateway.connected(client)
    assert client.names == ["connection_error"]
    assert door.left_over() == {}


async def test_one_that_goes_before_it_is_told_leaves_nothing(door: Club) -> None:
    """Its connection broke meanwhile."""
    client = RecordingClient(door.gateway, "/ws", "connection", "sid")
    request = ConnectRequest(auth=None, headers={}, query={}, remote="192.0.2.1")
    assert await door.gateway.connect(client, request) == Admitted()
    client.drop()
    assert door.left_over() == {}


async def test_shutting_down_refuses_the_connection_itself(door: Club) -> None:
    """Nobody has looked at the namespace by then."""
    door.gateway.drain()
    found = await door.try_connect("/ws", None)
    assert isinstance(found, ConnectRefused)
    assert found.code is Code.SHUTTING_DOWN


async def test_a_token_may_come_in_the_query(door: Club) -> None:
    """Behind those of the handshake and the header, and only where the YAML says so."""
    token = member(door)["token"]
    found = await door.try_connect("/ws", None, query={"token": token})
    assert isinstance(found, RecordingClient)
    assert found.received("welcome") == ["ann"]
    found.leave()
    payload = await refused(door, {"token": "nonsense"}, query={"token": token})
    assert isinstance(payload, dict)
    assert payload["error_code"] == "AUTH_FAILED"
    found = await door.try_connect("/ws", {"token": ""}, bearer="Bearer ", query={"token": token})
    assert isinstance(found, RecordingClient)
    assert found.names == ["welcome"]
    found.leave()
    closed = await door.try_connect("/closed", None, query={"token": token})
    assert isinstance(closed, RecordingClient)
    assert closed.log == [("connection_error", ["AUTH_MISSING"])]


@pytest.mark.parametrize("auth", [None, {"token": "nonsense"}, {"token": 7}])
async def test_an_open_namespace_lets_everyone_in(door: Club, auth: object) -> None:
    """No token is looked at, no `allow` asked: of the namespace, its commands, its rooms."""
    client = await door.try_connect("/board", auth)
    assert isinstance(client, RecordingClient)
    assert client.received("welcome") == [{"sid": client.sid, "who": None}]
    client.send("sit", {"table": "7"}, ack=1)
    client.send("authenticate", {"token": "nonsense"}, ack=2)
    await settle()
    assert door.memberships.rooms_of("/board", client) == (EVERYONE, "table:0", "table:7")
    assert client.received(1) == [{"status": "ok"}]
    [refusal] = client.received(2)
    assert isinstance(refusal, dict)
    assert refusal["code"] == "UNKNOWN_COMMAND"


async def test_a_token_that_is_shown_in_the_open_changes_nothing(door: Club) -> None:
    """Its user is not known there, and is not counted."""
    for _ in range(3):
        found = await door.try_connect("/board", member(door))
        assert isinstance(found, RecordingClient)
        assert found.received("welcome") == [{"sid": found.sid, "who": None}]
        client = found
    client.send("sit", {"table": "7"})
    client.send("say", {"table": "7"})
    await settle()
    [message] = door.publisher.sent
    assert message.headers == {"x-sid": client.sid, "x-namespace": "/board"}
