"""Signing in: late, with held commands, again with a newer token; and how long a token lasts."""

import pytest
from msgspec import Raw

from bridge.model import EVERYONE
from tests.support.club import Club
from tests.support.fakes import settle


async def test_a_client_that_has_not_signed_in_sees_nothing(club: Club) -> None:
    """It is in no room, also not in that of everybody, and is told to sign in after its time."""
    client = await club.connect_unsigned()
    assert club.memberships.room_count == 0
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
