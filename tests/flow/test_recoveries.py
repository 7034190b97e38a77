"""Coming back to a session: its rooms, and what was missed, once and in order; or the client is told."""

from __future__ import annotations

import asyncio

import pytest

from bridge.errors import Code
from bridge.flow.ports import Admitted, ConnectRefused, ConnectRequest
from bridge.model import EVERYONE
from tests.support.club import Club
from tests.support.fakes import RecordingClient, settle
from tests.support.visits import BIG, Log, Page, cursor, sit


@pytest.fixture
async def page(club: Club) -> Page:
    """Ann's page."""
    return Page(club)


async def test_a_client_that_wants_to_come_back_is_given_a_secret(club: Club, log: Log, page: Page) -> None:
    """And the cursor of now; whoever does not ask for it gets neither."""
    client = await page.connect()
    assert client.payload.keys() == {"pid", "offset"}
    assert client.payload["offset"] == cursor(16)
    assert len(str(client.payload["pid"])) >= 22
    plain = await club.connect("bob")
    assert plain.payload == {}
    assert not plain.recovers


async def test_a_lost_session_goes_on(club: Club, log: Log, page: Page) -> None:
    """With its sid and its rooms; what was missed comes in order, once, before what is new."""
    first = await page.connect()
    await sit(first)
    await log.say("d")
    page.drop()
    await log.say("e", "f")
    back = await page.connect()
    assert back.payload == {"pid": page.pid, "recovered": True, "offset": cursor(19)}
    assert back.sid == first.sid
    assert club.memberships.rooms_of("/hall", back) == (EVERYONE, "user:ann", "table:1")
    assert page.texts == ["e", "f"]
    await log.say("g")
    assert page.texts == ["e", "f", "g"]
    assert club.count("bridged_recoveries_total", by="session", recovered="true") == 1


async def test_a_session_that_received_nothing_comes_back_from_its_start(log: Log, page: Page) -> None:
    """The official client names no offset then."""
    await page.connect()
    page.drop()
    await log.say("d", key="any")
    back = await page.connect()
    assert page.recovered
    assert back.payload["offset"] == cursor(16)
    assert len(back.log) == 1


async def test_again_and_again(log: Log, page: Page) -> None:
    """Also with nothing missed in between, and with replayed events alone."""
    await page.connect()
    await sit(page.client)
    for number in range(6):
        page.drop()
        if number % 2:
            await log.say(f"missed {number}")
        await page.connect()
        assert page.recovered
        assert page.texts == ([f"missed {number}"] if number % 2 else [])


async def test_the_greeting_comes_before_what_was_missed(club: Club, log: Log, page: Page) -> None:
    """Its cursor is what the client had: cut behind it, the client still misses all of it."""
    page.namespace = "/lobby"
    await page.connect()
    assert page.client.names == ["welcome"]
    page.drop()
    await log.say("d", "e", key="any")
    back = await page.connect()
    assert back.names == ["welcome", "any", "any"]
    page.drop(received=1)
    back = await page.connect()
    assert page.recovered
    assert back.names == ["welcome", "any", "any"]


@pytest.mark.parametrize(
    "offset", ["19-00000000", "nonsense", "", 5, [], {}, "x" * 10_000, "9" * 17 + "-abcd0009"]
)
async def test_an_offset_that_is_none_begins_anew(club: Club, log: Log, page: Page, offset: object) -> None:
    """With a new secret: nothing is missed unseen."""
    await page.connect()
    await sit(page.client)
    await log.say("d")
    page.drop()
    old = page.pid
    connecting = asyncio.ensure_future(page.try_connect(offset=offset))
    await settle()
    await club.clock.advance(5)  # for the one that is ahead of the log
    page.take(await connecting)
    assert not page.recovered
    assert page.pid != old
    assert club.memberships.rooms_of("/hall", page.client) == (EVERYONE, "user:ann")


async def test_a_wrong_offset_does_not_use_the_session_up(log: Log, page: Page) -> None:
    """Nor does a token that allows less: whoever has the right ones gets all of it."""
    await page.connect()
    await sit(page.client)
    await log.say("d")
    page.drop()
    await log.say("e")
    pid, offset = page.pid, page.offset
    for wrong in ({"offset": "19-00000000"}, {"offset": 5}, {"token": page.club.token("ann", tables=["2"])}):
        page.pid, page.offset = pid, offset
        await page.connect(**wrong)
        assert not page.recovered
        page.client.leave()
    page.pid, page.offset = pid, offset
    await page.connect()
    assert page.recovered
    assert page.texts == ["e"]


async def test_an_offset_of_before_the_session_is_as_none(log: Log, page: Page) -> None:
    """The official client keeps the one that could not be recovered, until it receives another."""
    await page.connect()
    page.drop()
    await log.say("d", key="any")
    page.offset = "4-00000000"
    await page.connect()
    assert page.recovered
    assert len(page.client.log) == 1


@pytest.mark.parametrize("pid", ["", "x", 5, [], {}, True, "x" * 10_000, "\ud800"])
async def test_a_pid_that_is_none_begins_anew(club: Club, log: Log, page: Page, pid: object) -> None:
    """Whatever its type."""
    client = await page.connect(pid=pid)
    assert client.payload["recovered"] is False
    assert isinstance(client.payload["pid"], str)


async def test_what_the_ring_does_not_reach_is_said(club: Club, log: Log, page: Page) -> None:
    """Older than the history: a new session, of which the client is told."""
    await page.connect()
    await sit(page.client)
    page.drop()
    for number in range(400):
        await log.say(f"{number} {BIG}")
    await page.connect()
    assert not page.recovered
    assert page.texts == []


async def test_a_session_is_kept_for_its_window(club: Club, log: Log, page: Page) -> None:
    """Two minutes, unless the configuration says otherwise."""
    await page.connect()
    page.drop()
    await club.clock.advance(119)
    await page.connect()
    assert page.recovered
    page.drop()
    await club.clock.advance(121)
    await page.connect()
    assert not page.recovered


async def test_who_leaves_on_purpose_does_not_come_back_to_it(log: Log, page: Page) -> None:
    """A disconnect of the namespace, by either side."""
    await page.connect()
    page.client.leave()
    await page.connect()
    assert not page.recovered
    page.client.disconnect()
    await page.connect()
    assert not page.recovered


async def test_a_session_is_its_users(club: Club, log: Log, page: Page) -> None:
    """Whoever else shows its pid gets and takes nothing; nor does another tenant or namespace."""
    await page.connect()
    await sit(page.client)
    page.drop()
    await log.say("d")
    for other in (Page(club, "eve"), Page(club, "ann", tenant="t"), Page(club, "ann", "/lobby")):
        other.pid = page.pid
        await other.connect()
        assert not other.recovered
        assert other.texts == []
    await page.connect()
    assert page.recovered
    assert page.texts == ["d"]


async def test_a_stolen_pid_does_not_end_the_connection_of_its_user(club: Club, log: Log, page: Page) -> None:
    """Only who may have the session takes the place of its connection."""
    await page.connect()
    thief = Page(club, "eve")
    thief.pid = page.pid
    await thief.connect()
    assert not page.client.is_gone


async def test_the_stale_connection_gives_way(club: Club, log: Log, page: Page) -> None:
    """The client is back before the server has missed it: one of both is left, which has everything once."""
    first = await page.connect()
    await sit(first)
    await log.say("d")
    stale_log = list(first.log)
    await log.say("e")
    del first.log[len(stale_log) :]  # it never arrived
    page.offset = stale_log[-1][1][-1]
    back = await page.connect()
    assert page.recovered
    assert first.is_gone
    assert page.texts == ["e"]
    assert back.sid == first.sid
    assert len(club.sessions) == 1
    assert club.memberships.members("/hall", "table:1") == (back,)


async def test_the_stale_connection_does_not_count_against_the_users_number(club: Club, log: Log) -> None:
    """Somebody with as many connections as there may be comes back to any of them."""
    pages = [Page(club), Page(club)]
    for page in pages:
        await page.connect()
    third = await Page(club).try_connect()
    assert isinstance(third, ConnectRefused)
    assert third.code is Code.TOO_MANY_CONNECTIONS
    await pages[0].connect()
    assert pages[0].recovered
    assert len(club.sessions) == 2


async def test_access_is_asked_anew(club: Club, log: Log, page: Page) -> None:
    """Whoever has lost one of its rooms gets nothing of them, and a new session."""
    await page.connect()
    await sit(page.client)
    page.drop()
    await log.say("secret")
    page.claims = {"tables": ["2"]}
    await page.connect()
    assert not page.recovered
    assert page.texts == []
    assert club.memberships.rooms_of("/hall", page.client) == (EVERYONE, "user:ann")


async def test_another_token_of_the_same_user_will_do(club: Club, log: Log, page: Page) -> None:
    """Rooms that its claims name by themselves are entered, as of now."""
    await page.connect()
    await sit(page.client)
    page.drop()
    await log.say("d")
    page.claims = {"tables": ["1", "3"], "floor": "attic"}
    await page.connect()
    assert page.recovered
    assert page.texts == ["d"]
    assert set(club.memberships.rooms_of("/hall", page.client)) == {
        EVERYONE,
        "user:ann",
        "table:1",
        "floor:attic",
    }


async def test_an_expired_token_is_refused(club: Club, log: Log, page: Page) -> None:
    """Coming back is connecting: admission is asked as ever, and the session waits for a good token."""
    await page.connect()
    page.drop()
    refused = await page.try_connect(token="nonsense")
    assert isinstance(refused, ConnectRefused)
    assert refused.code is Code.INVALID_TOKEN
    await page.connect()
    assert page.recovered


async def test_a_room_that_was_left_stays_left(club: Club, log: Log, page: Page) -> None:
    """What came in it meanwhile is nobody's business any more."""
    await page.connect()
    await sit(page.client)
    page.client.send("stand", {"table": "1"}, ack=2)
    await settle()
    page.drop()
    await log.say("d")
    await page.connect()
    assert page.recovered
    assert page.texts == []
    assert not club.memberships.contains("/hall", "table:1", page.client)


async def test_what_was_before_a_join_is_not_missed(club: Club, log: Log, page: Page) -> None:
    """A client whose last event is older than its join has no right to what came in between."""
    await page.connect()
    await log.say("heard", key="any")
    await log.say("before")
    await sit(page.client)
    page.drop(received=1)
    await log.say("after")
    await page.connect()
    assert page.recovered
    assert page.texts == ["after"]


async def test_an_open_namespace_has_sessions_too(club: Club, log: Log) -> None:
    """Nobody has a name there: the secret alone will do."""
    page = Page(club, "nobody", "/garden/1")
    await page.connect()
    page.drop()
    await page.connect()
    assert page.recovered


async def test_a_late_sign_in_begins_anew(club: Club, log: Log) -> None:
    """Nobody knows whose session it would be; it gets cursors from its sign-in on."""
    page = Page(club)
    await page.connect()
    page.drop()
    page.user = "nobody"
    client = await page.connect()
    assert not page.recovered
    client.send("authenticate", {"token": club.token("ann")})
    await settle()
    await sit(client)
    await log.say("d")
    page.drop()
    page.user = "ann"
    await log.say("e")
    await page.connect()
    assert page.recovered
    assert page.texts == ["e"]


async def test_a_client_that_has_seen_more_than_its_session_has_another(
    club: Club, log: Log, page: Page
) -> None:
    """It was connected elsewhere since: what is here says nothing of the rooms that it is in by now."""
    await page.connect()
    await sit(page.client)
    await log.say("d")
    page.drop()
    await log.say("e")
    page.offset = cursor(22)
    await page.connect()
    assert not page.recovered


async def test_a_big_gap_is_filled_in_portions(club: Club, log: Log, page: Page) -> None:
    """Commands wait behind it, and a second drop in the middle of it loses nothing."""
    await page.connect()
    await sit(page.client)
    await log.say("first")
    page.drop()
    big = [f"{number} {BIG}" for number in range(60)]
    for text in big:
        await log.say(text)
    page.is_slow = True
    await page.connect()
    assert page.recovered
    heard = page.texts
    assert 0 < len(heard) < 60
    page.drop()
    client = await page.connect()
    assert page.recovered
    client.send("knock", ack=7)
    await settle()
    while 7 not in client.names:
        await log.say("live")
        client.gate.set()
        await settle()
    heard += page.texts
    assert heard[:60] == big
    assert set(heard[60:]) == {"live"}
    await log.say("end")
    assert page.texts[-1] == "end"
    page.client.leave()
    await club.clock.advance(300)
    assert club.left_over() == {}


async def test_since_on_connect_is_for_the_rooms_that_one_is_in_by_itself(club: Club, log: Log) -> None:
    """With or without cursors; the CONNECT packet says so, and where it begins."""
    await log.say("d", "e", key="any")
    for recover in (False, True):
        auth = {"token": club.token(), "since": cursor(19), "recover": recover}
        client = await club.try_connect("/hall", auth, connection="one")
        assert isinstance(client, RecordingClient)
        assert (client.payload["recovered"], client.payload["offset"]) == (True, cursor(19))
        assert ("pid" in client.payload) == recover
        assert [args[0] for _, args in client.log] == [{"text": "e"}]
        assert set(club.memberships.marks("/hall", client).values()) == {19}
        client.leave()


@pytest.mark.parametrize("since", ["19-00000000", "9-00000000", "1h"])
async def test_what_cannot_be_had_on_connect_is_said(club: Club, log: Log, since: str) -> None:
    """The client is let in all the same."""
    connecting = asyncio.ensure_future(club.try_connect("/hall", {"token": club.token(), "since": since}))
    await settle()
    await club.clock.advance(5)  # for the one that is ahead of the log
    client = await connecting
    assert isinstance(client, RecordingClient)
    assert client.payload == {"recovered": False, "offset": cursor(16)}


@pytest.mark.parametrize("since", ["", "30", 5, [], {}, True, "x" * 10_000])
async def test_a_since_that_is_none_refuses_the_connection(club: Club, since: object) -> None:
    """With a code, before anybody looks at the token."""
    refused = await club.try_connect("/hall", {"since": since})
    assert isinstance(refused, ConnectRefused)
    assert refused.code is Code.VALIDATION_FAILED
    assert club.left_over() == {}


async def test_since_counts_when_there_is_no_session_to_come_back_to(
    club: Club, log: Log, page: Page
) -> None:
    """A page may name both."""
    page.pid = "unknown"
    await log.say("d", key="any")
    client = page.client = await page.try_connect(since=cursor(16))  # type: ignore[assignment]
    assert isinstance(client, RecordingClient)
    assert client.payload["recovered"] is True
    assert client.payload["pid"] != "unknown"
    assert [args[0] for _, args in client.log] == [{"text": "d"}]


async def test_with_another_log_all_begin_anew(club: Club, log: Log, page: Page) -> None:
    """Those that are connected are cut, so that they know; those that are away find nothing."""
    away = Page(club, "bob")
    await away.connect()
    away.drop()
    await page.connect()
    club.lost_and_found.begin_epoch()
    assert page.client.is_gone
    for each in (page, away):
        await each.connect()
        assert not each.recovered


async def test_joins_with_since_do_not_stand_in_the_way_of_recovery(log: Log, page: Page) -> None:
    """Neither where the log stands still afterwards, nor where other events are sent meanwhile."""
    await page.connect()
    await sit(page.client, "1", ack=1, since=cursor(10))
    await sit(page.client, "2", ack=2, since=cursor(10))
    page.client.send("nonsense")  # refused by an event, which has the cursor of now
    await settle()
    for _ in range(3):
        page.drop()
        await page.connect()
        assert page.recovered
        assert page.texts == []
    page.drop()
    await log.say("d")
    await page.connect()
    assert page.texts == ["d"]


async def test_a_join_whose_answer_was_lost_is_asked_again(log: Log, page: Page) -> None:
    """With the same since: what had not arrived comes then, and comes once."""
    await page.connect()
    page.client.send("nonsense")
    await settle()
    await sit(page.client, since=cursor(10))
    page.drop(received=1)
    await log.say("d")
    await page.connect()
    assert page.recovered
    assert page.texts == ["d"]
    await sit(page.client, since=cursor(10))
    assert page.texts == ["d", "b", "c"]


async def test_who_is_gone_before_it_is_connected_uses_nothing_up(club: Club, log: Log, page: Page) -> None:
    """It was admitted, and its connection broke before the CONNECT packet: nothing is used up."""
    await page.connect()
    await sit(page.client)
    page.drop()
    await log.say("d")
    gone = RecordingClient(club.gateway, "/hall", "connection-gone", "sid-gone", head=club.window.head)
    auth = {"token": club.token("ann"), "pid": page.pid, "offset": page.offset}
    request = ConnectRequest(auth=auth, headers={}, query={}, remote="192.0.2.1")
    assert isinstance(await club.gateway.connect(gone, request), Admitted)
    gone.drop()
    await page.connect()
    assert page.recovered
    assert page.texts == ["d"]
    page.client.leave()
    await club.clock.advance(60)
    assert club.left_over() == {}
