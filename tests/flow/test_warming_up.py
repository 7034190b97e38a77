"""Clients that come while an instance reads what its log held at the start: no gap stays unseen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bridge.rules.compile import Rules
from tests.support.club import Club
from tests.support.fakes import RecordingClient, settle
from tests.support.visits import Log, Page, cursor, sit, texts


@pytest.fixture
async def club(club_rules: Rules) -> AsyncIterator[Club]:
    """One that reads its log."""
    club = Club(club_rules, ready=False)
    yield club
    await club.uplink.stop()
    club.presence.stop()


@pytest.fixture
async def log(club: Club) -> Log:
    """Of which it has read the first events."""
    log = Log(club, caught_up=False)
    await log.say("a", "b", "c")
    return log


@pytest.fixture
async def page(club: Club) -> Page:
    """Ann's page."""
    return Page(club)


async def come(club: Club, page: Page, **auth: object) -> RecordingClient:
    """Connect, however long one is let wait."""
    connecting = asyncio.ensure_future(page.try_connect(**auth))
    await settle()
    await club.clock.advance(5)
    return page.take(await connecting)


async def test_whoever_comes_has_its_rooms_from_the_end_of_the_log_on(
    club: Club, log: Log, page: Page
) -> None:
    """Nothing of what the log held at the start was sent to it: it counts neither as had nor as missed."""
    await come(club, page)
    await sit(page.client)
    await log.say("older than the start")
    club.catch_up()
    assert set(club.memberships.marks("/hall", page.client).values()) == {19}
    page.drop()
    await log.say("new")
    await page.connect()
    assert page.recovered
    assert page.texts == ["new"]


async def test_those_who_come_back_are_let_wait(club: Club, page: Page) -> None:
    """The instance learns of their sessions, and of what they missed, from the log."""
    page.pid = "of another run"
    connecting = asyncio.ensure_future(page.try_connect())
    await settle()
    assert not connecting.done()
    club.recoveries.caught_up()
    page.take(await connecting)


async def test_a_join_with_since_is_told_that_it_cannot_be_had(club: Club, log: Log, page: Page) -> None:
    """The place is there, but what follows it is not yet, and will not be sent when it is read."""
    await come(club, page)
    page.client.send("sit", {"table": "1", "since": cursor(10)}, ack=1)
    await settle()
    assert page.client.received(1) == []
    await club.clock.advance(5)
    assert page.client.received(1) == [{"status": "ok", "recovered": False, "offset": cursor(16)}]
    await log.say("read, and not sent")
    club.catch_up()
    await log.say("new")
    assert page.texts == ["new"]


async def test_so_is_a_connection_with_since(club: Club, log: Log) -> None:
    """In its CONNECT packet; by a cursor and by an age."""
    for since in (cursor(10), "0s"):
        auth = {"token": club.token(), "since": since}
        connecting = asyncio.ensure_future(club.try_connect("/hall", auth, connection="one"))
        await settle()
        for _ in range(2):
            await club.clock.advance(5)
        client = await connecting
        assert isinstance(client, RecordingClient)
        assert client.payload == {"recovered": False, "offset": cursor(16)}
        client.leave()


async def test_a_session_is_not_gone_on_with_before_the_log_is_read(
    club_rules: Rules, club: Club, log: Log, page: Page
) -> None:
    """The client would be told that it has all, up to where the reading is; the session stays for later."""
    page.club = Club(club_rules)
    other = Log(page.club)
    await other.say("a", "b")
    await page.connect()
    await sit(page.client)
    await other.say("c")
    page.drop()
    ((_, session),) = page.club.lost.aged(page.club.clock.steady)
    page.club, pid = club, page.pid
    club.clock.drive_loop()
    club.lost.put(session, club.clock.steady)  # as the log tells it
    await come(club, page)
    assert not page.recovered
    assert page.texts == []
    page.client.leave()
    await log.say("read, and not sent to anybody")
    club.catch_up()
    await log.say("new")
    page.pid = pid
    await page.connect()
    assert page.recovered
    assert texts(page.client) == ["read, and not sent to anybody", "new"]
