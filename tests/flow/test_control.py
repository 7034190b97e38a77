"""Orders of operators: who is meant, what becomes of their clients, and how long it holds."""

from __future__ import annotations

import msgspec
import pytest
from structlog.testing import capture_logs

from bridge.errors import Code
from bridge.flow.control import Covers
from bridge.flow.ports import ConnectRefused
from bridge.model import CONTROL_EXCHANGE, Delivery
from bridge.rules.compile import Rules
from tests.support.club import Club
from tests.support.fakes import RecordingClient, settle


@pytest.fixture
def club(club: Club) -> Club:
    """A club that has read its log."""
    club.downlink.caught_up()
    club.control.caught_up()
    return club


async def order(club: Club, key: str, *, at: float | None = None, **body: object) -> None:
    """An order as it comes from the log; it was given now unless `at` says otherwise, 0 for not at all."""
    delivery = Delivery(
        exchange=CONTROL_EXCHANGE,
        routing_key=key,
        body=msgspec.json.encode(body),
        timestamp=None if at == 0 else (at or club.clock.wall),
    )
    club.downlink.handle([delivery])
    await settle()


async def refusal(club: Club, token: str, namespace: str = "/hall") -> ConnectRefused | None:
    """Why a token is not let in; None when it is."""
    found = await club.try_connect(namespace, {"token": token})
    if isinstance(found, RecordingClient):
        found.leave()
        return None
    return found


async def test_a_revoked_user_is_told_and_disconnected(club: Club) -> None:
    """In all namespaces, and nobody else; what waits is answered."""
    ann, hall, other = (
        await club.connect("ann", "/table/1"),
        await club.connect("ann"),
        await club.connect("bob"),
    )
    club.publisher.holding = True
    hall.send("say", {"table": "1"}, ack=1)
    hall.send("say", {"table": "1"}, ack=2)
    await settle()
    await order(club, "user.revoke", user="ann")
    assert ann.is_gone
    assert hall.is_gone
    assert not other.is_gone
    assert ann.received("token_revoked") == [{"message": "The token has been revoked"}]
    assert hall.names == [2, "error", "token_revoked"]
    assert hall.received(2)[0]["code"] == "INVALID_TOKEN"  # type: ignore[index]


async def test_a_token_from_before_the_revocation_is_refused_and_a_later_one_welcome(club: Club) -> None:
    """In the handshake and in `authenticate`."""
    old = club.token("ann")
    await order(club, "user.revoke", user="ann")
    refused = await refusal(club, old)
    assert refused is not None
    assert (refused.code, refused.message) == (Code.INVALID_TOKEN, "The token has been revoked.")
    late = await club.connect_unsigned()
    late.send("authenticate", {"token": old}, ack=1)
    assert late.received(1)[0]["code"] == "INVALID_TOKEN"  # type: ignore[index]
    await club.clock.advance(1)
    late.send("authenticate", {"token": club.token("ann")}, ack=2)
    assert late.received(2) == [{"status": "ok"}]
    assert await refusal(club, club.token("ann")) is None
    assert await refusal(club, old) is not None
    assert await refusal(club, club.token("bob")) is None


async def test_a_session_with_a_later_token_outlives_an_earlier_revocation(club: Club) -> None:
    """The order was given before the token was issued, and is read after it."""
    given = club.clock.wall
    await club.clock.advance(5)
    ann = await club.connect("ann")
    await order(club, "user.revoke", at=given, user="ann")
    assert not ann.is_gone
    assert ann.names == []


async def test_a_revocation_holds_until_its_end_or_until_it_is_taken_back(club: Club) -> None:
    """`until` is epoch seconds or RFC 3339; one that is past takes it back."""
    old = club.token("ann")
    await order(club, "user.revoke", user="ann", until=club.clock.wall + 60)
    await club.clock.advance(59)
    assert await refusal(club, old) is not None
    await club.clock.advance(1)
    assert await refusal(club, old) is None
    await order(club, "user.revoke", user="ann")
    await club.clock.advance(10)
    assert await refusal(club, old) is not None
    await order(club, "user.revoke", user="ann", until="2020-01-01T00:00:00Z")
    assert await refusal(club, old) is None


async def test_a_time_a_little_ahead_is_believed(club: Club) -> None:
    """The clock of this instance may be the slow one: a token from before the order must not slip through."""
    given = club.clock.wall + 3
    await order(club, "user.revoke", at=given, user="ann")
    await club.clock.advance(2)
    assert await refusal(club, club.token("ann")) is not None
    await club.clock.advance(2)
    assert await refusal(club, club.token("ann")) is None


async def test_an_order_that_says_no_time_was_given_when_it_is_read(club: Club) -> None:
    """One far from the future too: the operator's clock is wrong."""
    for at in (0, club.clock.wall + 9_999):
        old = club.token("ann")
        await order(club, "user.revoke", at=at, user="ann")
        assert await refusal(club, old) is not None
        await club.clock.advance(1)
        assert await refusal(club, club.token("ann")) is None


async def test_users_are_told_apart_by_their_tenants(club: Club) -> None:
    """An order without a tenant is about the user whose token names none."""
    plain, acme = await club.connect("ann"), await club.connect("ann", tenant="acme")
    await order(club, "user.disconnect", user="ann")
    assert (plain.is_gone, acme.is_gone) == (True, False)
    await order(club, "user.disconnect", user="ann", tenant="acme")
    assert acme.is_gone


async def test_a_banned_user_is_out_of_all_systems_until_the_ban_ends(club: Club) -> None:
    """With the code and the time that a ban for haste has."""
    ann, bob = await club.connect("ann"), await club.connect("bob")
    await order(club, "user.ban", user="ann", seconds=60)
    assert ann.is_gone
    assert not bob.is_gone
    (error,) = ann.received("error")
    assert error["code"] == "BANNED"  # type: ignore[index]
    await club.clock.advance(20)
    refused = await refusal(club, club.token("ann"))
    assert refused is not None
    assert (refused.code, refused.retry_after) == (Code.BANNED, 40.0)
    await club.clock.advance(40)
    assert await refusal(club, club.token("ann")) is None


async def test_a_ban_may_be_of_one_system_and_may_be_lifted(club: Club) -> None:
    """`seconds: 0` lifts it."""
    (system,) = {namespace.system for namespace in club.rules.namespaces}
    ann = await club.connect("ann")
    await order(club, "user.ban", user="ann", seconds=60, system="elsewhere")
    assert not ann.is_gone
    await order(club, "user.ban", user="ann", until=club.clock.wall + 60, system=system)
    assert ann.is_gone
    await order(club, "user.ban", user="ann", seconds=0)  # of all systems, of which it was never banned
    assert await refusal(club, club.token("ann")) is not None
    await order(club, "user.ban", user="ann", seconds=0, system=system)
    assert await refusal(club, club.token("ann")) is None


async def test_a_disconnected_user_may_come_again(club: Club) -> None:
    """In one namespace, by its name or its pattern, or in all."""
    hall, one, two = (
        await club.connect("ann", "/hall"),
        await club.connect("ann", "/table/1", connection="same"),
        await club.connect("ann", "/table/2", connection="same"),
    )
    await order(club, "user.disconnect", user="ann", namespace="/table/1")
    assert (hall.is_gone, one.is_gone, two.is_gone) == (False, True, False)
    (error,) = one.received("error")
    assert (error["code"], error["message"]) == ("FORBIDDEN", "Disconnected by an operator")  # type: ignore[index]
    await order(club, "user.disconnect", user="ann", namespace="/table/{table}")
    assert (hall.is_gone, two.is_gone) == (False, True)
    await order(club, "user.disconnect", user="ann")
    assert hall.is_gone
    assert await refusal(club, club.token("ann")) is None


async def test_an_evicted_room_is_left_by_all_or_by_one_user(club: Club) -> None:
    """The others of the room learn it; whoever may, may join again."""
    ann, bob = await club.seat("ann"), await club.seat("bob")
    ann.log.clear()
    await order(club, "room.evict", room="table:1", user="ann")
    assert club.memberships.members("/hall", "table:1") == (bob,)
    assert bob.received("went") == [{"user": "ann", "table": "1"}]
    assert not ann.is_gone
    ann.send("sit", {"table": "1"})
    await settle()
    assert set(club.memberships.members("/hall", "table:1")) == {ann, bob}
    await order(club, "room.evict", room="table:1", namespace="/elsewhere")
    await order(club, "room.evict", room="table:1", system="elsewhere")
    await order(club, "room.evict", room="table:2")
    assert set(club.memberships.members("/hall", "table:1")) == {ann, bob}
    await order(club, "room.evict", room="table:1", namespace="/hall")
    assert club.memberships.members("/hall", "table:1") == ()


async def test_those_who_are_away_are_not_awaited_any_more(club: Club) -> None:
    """Whoever keeps sessions of clients that may come back is told whose; in the warm-up too."""
    ended: list[Covers] = []
    evicted: list[tuple[Covers, str]] = []
    (system,) = {namespace.system for namespace in club.rules.namespaces}
    for instance in (club, Club(club.rules)):
        ended.clear()
        evicted.clear()
        instance.control.on_ended = lambda covers, _: ended.append(covers)
        instance.control.on_evicted = lambda covers, room, _: evicted.append((covers, room))
        await order(instance, "user.revoke", user="ann")
        await order(instance, "user.ban", user="ann", seconds=5, system=system)
        await order(instance, "user.disconnect", user="ann", namespace="/table/{table}")
        await order(instance, "room.evict", room="table:1")
        revoked, banned, disconnected = ended
        ((inside, room),) = evicted
        assert room == "table:1"
        cases = [("ann", "/hall"), ("ann", "/table/1"), ("bob", "/hall"), ("ann", "/elsewhere")]
        for covers, meant in [
            (revoked, [True, True, False, False]),
            (banned, [True, True, False, False]),
            (disconnected, [False, True, False, False]),
            (inside, [True, True, True, False]),
        ]:
            assert [covers(*case) for case in cases] == meant


async def test_a_disconnected_user_cannot_come_back_to_the_session(club: Club) -> None:
    """It begins a new one; a client that is away when its room is emptied comes back without it."""
    said = Delivery(exchange="club.events", routing_key="table.1.said", body=b'{"text":"hi"}', offset=0)
    club.downlink.handle([said])
    for key, body in [("user.disconnect", {"user": "ann"}), ("room.evict", {"room": "table:1"})]:
        auth = {"token": club.token("ann"), "recover": True}
        first = await club.try_connect("/hall", auth)
        assert isinstance(first, RecordingClient)
        first.send("sit", {"table": "1"})
        await settle()
        pid = first.payload["pid"]
        first.drop()
        await order(club, key, **body)
        again = await club.try_connect("/hall", {**auth, "pid": pid})
        assert isinstance(again, RecordingClient)
        assert (again.payload["pid"] == pid) is (key == "room.evict")
        assert not club.memberships.contains("/hall", "table:1", again)
        again.leave()


async def test_of_what_the_log_holds_from_before_the_start_only_revocations_and_bans_count(
    club_rules: Rules,
) -> None:
    """An old disconnection is over: it is not about those who have come since."""
    fresh = Club(club_rules)
    try:
        ann, bob = await fresh.connect("ann"), await fresh.connect("bob")
        await order(fresh, "user.disconnect", user="bob")
        await order(fresh, "room.evict", room="user:bob")
        await order(fresh, "user.revoke", user="ann")
        assert ann.is_gone
        assert not bob.is_gone
        assert fresh.memberships.contains("/hall", "user:bob", bob)
    finally:
        await fresh.uplink.stop()
        fresh.presence.stop()


@pytest.mark.parametrize(
    ("key", "body"),
    [
        ("user.revoke", {}),
        ("user.revoke", {"user": ""}),
        ("user.revoke", {"user": "x" * 129}),
        ("user.revoke", {"user": 7}),
        ("user.revoke", {"user": "ann", "until": "tomorrow"}),
        ("user.revoke", {"user": "ann", "until": "2030-01-01T00:00:00"}),
        ("user.ban", {"user": "ann"}),
        ("user.ban", {"user": "ann", "seconds": -1}),
        ("user.ban", {"user": "ann", "seconds": 5, "until": 9e9}),
        ("user.disconnect", {"user": "ann", "systm": "portal"}),
        ("room.evict", {"room": ""}),
        ("room.evict", {"room": "table:1", "tenant": "acme"}),
        ("user.bann", {"user": "ann", "seconds": 5}),
    ],
)
async def test_an_order_that_cannot_be_read_is_not_obeyed_in_part(
    club: Club, key: str, body: dict[str, object]
) -> None:
    """A field that is misspelt would widen it; the log says why it was not obeyed."""
    ann = await club.seat("ann")
    with capture_logs() as logs:
        await order(club, key, **body)
    assert not ann.is_gone
    assert club.memberships.members("/hall", "table:1") == (ann,)
    assert [record["event"] for record in logs] == ["own_message.unreadable"]
    assert await refusal(club, club.token("ann")) is None


async def test_each_obeyed_order_is_a_line_for_the_audit(club: Club) -> None:
    """What, about whom, and how many clients of this instance it met."""
    await club.connect("ann")
    with capture_logs() as logs:
        await order(club, "user.disconnect", user="ann")
    (line,) = [record for record in logs if record["event"] == "control.obeyed"]
    assert line == {
        "event": "control.obeyed",
        "log_level": "info",
        "key": "user.disconnect",
        "user": "ann",
        "clients": 1,
    }
