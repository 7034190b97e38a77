"""Pace: exact rates per connection and limits, refusals that ban, and how long to wait, never too short."""

import pytest

from bridge.flow.pace import Pace, banned, too_fast
from tests.support.club import Club
from tests.support.fakes import RecordingClient, settle


def answers(client: RecordingClient) -> list[object]:
    """The code of each ack, or "ok", in the order of the commands."""
    acks = {name: args[0] for name, args in client.log if isinstance(name, int)}
    return [acks[name].get("code", "ok") for name in sorted(acks)]


async def test_a_rate_holds_over_the_namespaces_that_share_limits(club: Club) -> None:
    """One connection is one count, another one another."""
    small = await club.connect("ann", "/garden/1", connection="one")
    large = await club.connect("ann", "/garden/2", connection="one")
    other = await club.connect("ann", "/garden/1", connection="two")
    for number, client in enumerate((small, large, other)):
        client.send("rest", ack=number)
    await settle()
    assert [answers(client) for client in (small, large, other)] == [["ok"], ["RATE_LIMITED"], ["ok"]]


async def test_a_client_that_waits_as_told_is_let_through(club: Club) -> None:
    """`retry_after` is in seconds, rounded up; the longer of two windows decides."""
    session = club.sessions.get(await club.connect("ann", "/bar"))
    assert session is not None
    waits = []
    for _ in range(20):
        refuse = club.pace.take(session, "sip")
        if refuse is None:
            await club.clock.advance(0.3)
            continue
        assert refuse.retry_after is not None
        waits.append(refuse.retry_after)
        await club.clock.advance(refuse.retry_after)
        assert club.pace.take(session, "sip") is None
        await club.clock.advance(0.3)
    assert waits[:3] == pytest.approx([0.4, 0.4, 57.7], abs=0.002)


async def test_leaving_and_coming_back_does_not_start_the_count_anew(club: Club) -> None:
    """The connection is the same; it is forgotten once nothing would count any more."""
    client = await club.connect("ann", "/bar", connection="one")
    client.send("sip", ack=1)
    client.send("sip", ack=2)
    await settle()
    client.leave()
    again = await club.connect("ann", "/bar", connection="one")
    again.send("sip", ack=3)
    assert again.received(3)[0]["code"] == "RATE_LIMITED"
    again.leave()
    assert club.left_over() == {"lanes": 1}
    await club.clock.advance(60)
    assert club.left_over() == {}


async def test_a_limit_of_a_command_is_on_top(club: Club) -> None:
    """It counts that command alone."""
    client = await club.connect("ann")
    for number in (1, 2, 3):
        client.send("knock", ack=number)
    client.send("say", {"table": "1"}, ack=4)
    await settle()
    assert answers(client) == ["ok", "ok", "RATE_LIMITED", "ok"]


async def test_refusals_ban_a_user_over_all_connections(club: Club) -> None:
    """Three within a minute, on whichever connection; refusals longer ago do not count."""
    clients = [await club.connect("ann", "/bar") for _ in range(2)]
    for client in clients:
        client.send("sip")
        client.send("sip")
        client.send("sip")
    assert not any(client.is_gone for client in clients)
    await club.clock.advance(61)
    for number in range(4):
        clients[0].send("sip", ack=number)
    assert not clients[0].is_gone
    clients[1].send("sip")
    clients[1].send("sip")
    clients[1].send("sip")
    assert all(client.is_gone for client in clients)
    assert club.pace.ban_left("shop /bar", "ann") == 300
    assert club.pace.ban_left("shop", "ann") is None


async def test_counted_users_are_bounded(club: Club, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one whose last refusal is longest ago is forgotten first."""
    monkeypatch.setattr("bridge.flow.pace.COUNTED_USERS", 2)
    pace = Pace(club.sessions, lambda: 0.0)
    sessions = [club.sessions.get(await club.connect(user, "/bar")) for user in ("ann", "bob", "eve")]
    for index in (0, 1, 0, 2):
        assert pace.note_refusal(sessions[index]) == []
    assert [user for _, user in pace._refusals] == ["ann", "eve"]


@pytest.mark.parametrize("seconds", [0.0000001, 0.3, 1 / 3, 0.0014999, 56.7004])
def test_a_wait_is_rounded_up(seconds: float) -> None:
    """To milliseconds: whoever waits so long is not refused again."""
    for refuse in (too_fast(seconds), banned(seconds)):
        assert refuse.retry_after is not None
        assert seconds <= refuse.retry_after <= seconds + 0.00101
