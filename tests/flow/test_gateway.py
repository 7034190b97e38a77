"""The gateway: clients come, send and go; the inbox, bans, shutting down (signing in: test_sign_in.py)."""

import asyncio

import pytest

from bridge.errors import Code
from bridge.flow.ports import ConnectRefused
from bridge.model import EVERYONE
from bridge.rules.compile import Rules
from tests.support.club import Club
from tests.support.fakes import RecordingClient, settle


async def test_a_client_is_let_in_by_its_handshake(club: Club) -> None:
    """It sees the namespace and is in the rooms of on_connect; rooms whose value is missing are left out."""
    client = await club.connect("ann")
    assert club.memberships.rooms_of("/hall", client) == (EVERYONE, "user:ann")
    assert club.count("bridged_clients", namespace="/hall") == 1
    client.leave()
    assert club.count("bridged_clients", namespace="/hall") == 0
    await club.clock.advance(60)
    assert club.left_over() == {}


@pytest.mark.parametrize("namespace", ["/", "/table", "/table/1/2", "/hal", "hall"])
async def test_an_unknown_namespace_is_refused(club: Club, namespace: str) -> None:
    """With the code that tells so; nothing is kept."""
    refused = await club.try_connect(namespace, {"token": club.token()})
    assert isinstance(refused, ConnectRefused)
    assert refused.code is Code.UNKNOWN_NAMESPACE
    assert club.left_over() == {}


async def test_the_inbox_is_bounded(club: Club) -> None:
    """In number and in bytes; one answer for each refused command, the others run in order."""
    client = await club.connect("ann")
    club.publisher.holding = True
    client.send("say", {"table": "0"}, ack=0)
    await settle()
    client.send("say", {"table": "1", "text": "x" * 3900}, ack=1)
    client.send("say", {"table": "2", "text": "x" * 200}, ack=2)
    for number in (3, 4, 5, 6, 7):
        client.send("say", {"table": str(number)}, ack=number)
    assert client.names == [2, "error", 6, "error", 7, "error"]
    assert [ack["code"] for ack in client.received(2)] == ["RATE_LIMITED"]
    assert club.sessions.waiting_commands() == 4
    for _ in range(5):
        await club.publisher.release()
    assert client.names[6:] == [0, 1, 3, 4, 5]
    assert club.sessions.waiting_commands() == 0


async def test_a_disconnect_while_a_publish_is_in_flight(club: Club) -> None:
    """What was sent before is still carried out, in order; nobody is joined any more."""
    client = await club.connect("ann")
    club.publisher.holding = True
    client.send("order", {"table": "1"}, ack=1)
    client.send("say", {"table": "2"}, ack=2)
    await settle()
    client.drop()
    await club.publisher.release()
    await club.publisher.release()
    assert club.publisher.keys == ["table.1.order", "table.2.say"]
    await club.clock.advance(60)
    assert club.left_over() == {}


async def test_what_an_unsigned_client_held_is_gone_with_it(club: Club) -> None:
    """Nobody has vouched for it."""
    client = await club.connect_unsigned()
    client.send("say", {"table": "1"})
    client.drop()
    await settle()
    assert club.publisher.sent == []
    assert club.left_over() == {}


async def test_a_ban_ends_all_stays_while_commands_wait(club: Club) -> None:
    """Each waiting command is answered BANNED; whoever comes back before the end is refused."""
    bar = await club.connect("ann", "/bar", connection="one")
    second = await club.connect("ann", "/bar", connection="two")
    hall = await club.connect("ann", "/hall", connection="one")
    bar.send("sip", ack=1)
    bar.send("sip", ack=2)
    for number in (3, 4, 5):
        bar.send("sip", ack=number)
    assert bar.is_gone
    assert second.is_gone
    assert not hall.is_gone  # its limits are the system's
    assert [ack["code"] for number in (3, 4, 5) for ack in bar.received(number)] == ["RATE_LIMITED"] * 3
    assert [ack["code"] for number in (1, 2) for ack in bar.received(number)] == ["BANNED"] * 2
    assert second.received("error")[0]["code"] == "BANNED"
    refused = await club.try_connect("/bar", {"token": club.token("ann")})
    assert isinstance(refused, ConnectRefused)
    assert (refused.code, refused.retry_after) == (Code.BANNED, 300.0)
    unsigned = await club.connect_unsigned("/bar")
    unsigned.send("authenticate", {"token": club.token("ann")}, ack=1)
    assert unsigned.received(1)[0]["code"] == "BANNED"
    await club.clock.advance(300)
    assert isinstance(await club.try_connect("/bar", {"token": club.token("ann")}), RecordingClient)


async def test_nobody_is_banned_for_what_another_nameless_client_does(club: Club) -> None:
    """Clients without a token have no user that could be shut out."""
    fast = await club.connect_unsigned("/garden/1")
    other = await club.connect_unsigned("/garden/1")
    for number in range(4):
        fast.send("rest", ack=number)
    assert not fast.is_gone
    other.send("rest", ack=1)
    await settle()
    assert other.received(1) == [{"status": "ok"}]


async def test_while_it_drains_nobody_comes_and_nothing_is_taken(club: Club) -> None:
    """Commands that were taken before are answered."""
    client = await club.connect("ann")
    club.publisher.holding = True
    client.send("say", {"table": "1"}, ack=1)
    await settle()
    club.gateway.drain()
    client.send("say", {"table": "2"}, ack=2)
    refused = await club.try_connect("/hall", {"token": club.token("bob")})
    assert isinstance(refused, ConnectRefused)
    assert refused.code is Code.SHUTTING_DOWN
    await club.publisher.release()
    await club.uplink.drain()
    assert [ack.get("code", ack["status"]) for number in (1, 2) for ack in client.received(number)] == [
        "ok",
        "SHUTTING_DOWN",
    ]


async def test_who_waits_while_it_begins_to_drain_is_not_let_in(club_rules: Rules) -> None:
    """Its session would begin, or go on, where nothing is read any more."""
    club = Club(club_rules, ready=False)
    waiting = [
        asyncio.ensure_future(club.try_connect("/hall", {"token": club.token(user), **auth}))
        for user, auth in (("ann", {}), ("bob", {"pid": "of before"}), ("eve", {"since": "1m"}))
    ]
    await settle()
    club.gateway.drain()
    club.recoveries.caught_up()
    for refused in await asyncio.gather(*waiting):
        assert isinstance(refused, ConnectRefused)
        assert refused.code is Code.SHUTTING_DOWN
    assert club.left_over() == {}


async def test_draining_waits_for_what_is_not_confirmed_yet(club: Club) -> None:
    """Also for the commands that wait behind it."""
    client = await club.connect("ann")
    club.publisher.holding = True
    for number in (1, 2):
        client.send("say", {"table": "1"}, ack=number)
    await settle()
    draining = asyncio.create_task(club.uplink.drain())
    for number in (1, 2):
        await settle()
        assert not draining.done()
        assert client.received(number) == []
        await club.publisher.release()
    await draining
    assert [ack["status"] for number in (1, 2) for ack in client.received(number)] == ["ok", "ok"]


async def test_who_was_refused_is_unknown(club: Club) -> None:
    """Late calls for a client that is gone or never came change nothing."""
    client = await club.connect("ann")
    client.leave()
    club.gateway.connected(client)
    client.send("say", {"table": "1"})
    club.gateway.disconnected(client, reason="again", transport_lost=True)
    await club.clock.advance(60)
    assert club.left_over() == {}
    assert club.publisher.sent == []
