"""The gateway: clients come, sign in, send and go; held commands, renewals, expiry, bans, shutting down."""

import asyncio

import pytest
from msgspec import Raw

from bridge.errors import Code
from bridge.flow.ports import ConnectRefused
from bridge.model import EVERYONE
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


async def test_a_client_that_has_not_signed_in_sees_nothing(club: Club) -> None:
    """It is in no room, also not in that of everybody, and is told to sign in after its time."""
    client = await club.connect_unsigned()
    assert club.memberships.member_count == 0
    await club.clock.advance(9.9)
    assert not client.is_gone
    await club.clock.advance(0.2)
    assert client.is_gone
    await club.clock.advance(60)
    assert club.left_over() == {}


async def test_held_commands_run_in_order_after_the_sign_in(club: Club) -> None:
    """Each is answered, after `authenticated`."""
    client = await club.connect_unsigned()
    for number in (1, 2, 3):
        client.send("say", {"table": str(number)}, ack=number)
    client.send("authenticate", {"token": club.token("ann"), "user_id": "ann"}, ack=9)
    await settle()
    assert client.names == ["authenticated", 9, 1, 2, 3]
    assert client.received("authenticated") == [{"user_id": "ann"}]
    assert club.publisher.keys == ["table.1.say", "table.2.say", "table.3.say"]


async def test_commands_beyond_the_hold_are_refused_once_each(club: Club) -> None:
    """In number and in bytes; an ack and, with `always`, one event for each, and the held ones still run."""
    client = await club.connect_unsigned()
    client.send("say", {"table": "1", "text": "x" * 60_000}, ack=1)
    client.send("say", {"table": "1", "text": "x" * 6_000}, ack=2)
    for number in (3, 4, 5):
        client.send("knock", ack=number)
    assert client.names == [2, "error", 5, "error"]
    client.send("authenticate", {"token": club.token()})
    await settle()
    assert client.names == [2, "error", 5, "error", "authenticated", 1, 3, 4]
    assert client.received(2) == [
        {"status": "error", "code": "NOT_AUTHENTICATED", "message": "Sign in first"}
    ]


async def test_who_does_not_sign_in_is_answered_and_ended(club: Club) -> None:
    """Each held command gets its one answer before the end."""
    client = await club.connect_unsigned()
    client.send("knock", ack=1)
    client.send("knock", ack=2)
    await club.clock.advance(10)
    assert client.names == [1, "error", 2, "error"]
    assert client.is_gone
    assert club.publisher.sent == []


async def test_five_failed_sign_ins_end_the_client(club: Club) -> None:
    """Each is answered; whoever is signed in stays whatever it tries."""
    client = await club.connect_unsigned()
    signed = await club.connect("ann")
    for number in range(5):
        assert not client.is_gone
        client.send("authenticate", {"token": "no"}, ack=number)
        signed.send("authenticate", {"token": "no"})
    signed.send("authenticate", {"token": "no"})
    assert client.is_gone
    assert client.names == ["authentication_failed", 0, "authentication_failed", 1] + [
        name for number in (2, 3, 4) for name in ("authentication_failed", number)
    ]
    assert not signed.is_gone


@pytest.mark.parametrize(
    "args",
    [
        (),
        (None,),
        ({},),
        ({"token": 7},),
        ({"token": "a", "user_id": 7},),
        ("token",),
        ({"token": "a"}, 2),
        (b'{"token": "a"}',),
        (Raw(b'{"token": "\xff"}'),),
        (Raw(b"[" * 5000),),
    ],
)
async def test_a_malformed_sign_in_is_a_validation_fault(club: Club, args: tuple[object, ...]) -> None:
    """Whatever is sent as its payload."""
    client = await club.connect_unsigned()
    client.send("authenticate", *args, ack=1)
    assert [ack["code"] for ack in client.received(1)] == ["VALIDATION_FAILED"]
    assert client.names == ["authentication_failed", 1]


async def test_a_renewal_keeps_the_session_and_leaves_forbidden_rooms(club: Club) -> None:
    """Rooms that the new claims permit, and those of on_connect, stay; the others learn of the leave."""
    client = await club.connect("ann", floor="ground")
    other = await club.seat("bob", "2")
    for table in ("1", "2"):
        client.send("sit", {"table": table})
    await settle()
    client.send("authenticate", {"token": club.token("ann", tables=["1"], floor="first")}, ack=1)
    assert club.memberships.rooms_of("/hall", client) == (EVERYONE, "user:ann", "table:1")
    assert client.received(1) == [{"status": "ok"}]
    await settle()
    assert other.received("went") == [{"user": "ann", "table": "2"}]


@pytest.mark.parametrize("change", [{"user": "bob"}, {"tenant": "acme"}, {"tables": ["2"]}, {"lifetime": -1}])
async def test_a_renewal_that_changes_who_it_is_is_refused(club: Club, change: dict[str, object]) -> None:
    """Another user or tenant, or claims that the namespace refuses; the session goes on as it was."""
    client = await club.connect("ann", "/table/1", tables=["1"])
    given = {"tables": ["1"], "user": "ann", **change}
    client.send("authenticate", {"token": club.token(**given)}, ack=1)
    assert client.names == ["authentication_failed", 1]
    client.send("sit", {"table": "1"}, ack=2)
    await settle()
    assert client.received(2) == [{"status": "ok"}]
    await club.clock.advance(3599)
    assert not client.is_gone


async def test_a_sign_in_names_the_user_of_its_token(club: Club) -> None:
    """Another `user_id` is refused."""
    client = await club.connect_unsigned()
    client.send("authenticate", {"token": club.token("ann"), "user_id": "bob"}, ack=1)
    assert [ack["code"] for ack in client.received(1)] == ["FORBIDDEN"]
    assert club.sessions.connections("shop", "ann", besides="") == 0


async def test_an_expired_token_ends_the_session(club: Club) -> None:
    """With the event before it; a renewal in time prevents it; waiting commands get an answer."""
    ann = await club.connect("ann", lifetime=100)
    bob = await club.connect("bob", lifetime=100)
    club.publisher.holding = True
    await club.clock.advance(50)
    bob.send("authenticate", {"token": club.token("bob", lifetime=100)})
    await club.clock.advance(49)
    for number in (1, 2):
        ann.send("say", {"table": "1"}, ack=number)
    await settle()
    await club.clock.advance(1)
    assert ann.is_gone
    assert ann.names == [2, "error", "token_expired"]
    assert not bob.is_gone
    await club.clock.advance(50)
    assert bob.names[-1] == "token_expired"


async def test_the_wall_clock_decides_when_a_token_ends(club: Club) -> None:
    """Set forward it ends the session at the next command, or within a minute; set back it lengthens it."""
    ann = await club.connect("ann", lifetime=1000)
    bob = await club.connect("bob", lifetime=1000)
    eve = await club.connect("eve", lifetime=100)
    club.clock.set_wall(2000)
    ann.send("say", {"table": "1"}, ack=1)
    assert ann.names == [1, "error", "token_expired"]
    assert ann.is_gone
    assert club.publisher.sent == []
    await club.clock.advance(60)
    assert bob.names == ["token_expired"]
    assert eve.is_gone
    late = await club.connect("ann", lifetime=100)
    club.clock.set_wall(-500)
    await club.clock.advance(101)
    assert not late.is_gone
    await club.clock.advance(500)
    assert late.is_gone


async def test_a_token_that_ends_during_the_sign_in_ends_the_session_at_once(club: Club) -> None:
    """It is valid when it is verified, and no timer is owed less than nothing."""
    token = club.token("ann", lifetime=10)
    client = await club.connect_unsigned()
    club.clock.set_wall(9.999)
    client.send("authenticate", {"token": token})
    club.clock.set_wall(0.002)
    client.send("say", {"table": "1"}, ack=1)
    await settle()
    assert client.names == ["authenticated", 1, "error", "token_expired"]
    assert client.is_gone


async def test_a_renewal_is_taken_although_the_old_token_has_just_ended(club: Club) -> None:
    """The wall clock may be past it before its timer fires."""
    client = await club.connect("ann", lifetime=100)
    club.clock.set_wall(100)
    client.send("authenticate", {"token": club.token("ann")})
    client.send("say", {"table": "1"}, ack=1)
    await settle()
    assert client.names == ["authenticated", 1]


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
