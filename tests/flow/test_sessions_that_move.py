"""Sessions that go from one instance to another: as they are by then, to one of them alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from bridge.rules.compile import Rules
from tests.support.club import Club
from tests.support.fakes import settle
from tests.support.row import Row
from tests.support.visits import Page, sit


@pytest.fixture
async def row(club_rules: Rules) -> AsyncIterator[Row]:
    """No club yet."""
    row = Row(club_rules)
    yield row
    await row.close()


async def visit(club: Club, user: str = "ann") -> Page:
    """A page whose user sits at a table."""
    page = Page(club, user)
    await page.connect()
    await sit(page.client)
    return page


async def stop(row: Row, club: Club) -> None:
    """End a club in good order, as `App.drain` does."""
    club.gateway.drain()
    row.lag(club)
    await club.uplink.drain()
    await club.lost_and_found.hand_over()
    for session in list(club.sessions):
        session.client.evict()
    await club.lost_and_found.hand_over()
    await club.instances.say_stopped()
    await settle()


def is_at_table(page: Page) -> bool:
    """Whether the page is in the room of its table."""
    return page.club.memberships.contains("/hall", "table:1", page.client)


async def test_orders_that_a_stopping_instance_does_not_read_are_obeyed(row: Row) -> None:
    """The others read them before they have its sessions, whoever starts later in that order too."""
    one, two = await row.open(), await row.open()
    pages = {user: await visit(one, user) for user in ("ann", "bob", "eve")}
    await row.say("a")
    row.lag(one)
    await row.order("room.evict", room="table:1", user="ann")
    await row.order("user.disconnect", user="eve")
    await stop(row, one)
    three = await row.open()
    for club in (two, three):
        assert {session.identity for _, session in club.lost.aged(row.clock.steady)} == {"ann", "bob"}
    for user, club in (("ann", two), ("bob", two), ("eve", two)):
        pages[user].club = club
        await pages[user].connect()
    assert [page for page in pages.values() if page.recovered] == [pages["ann"], pages["bob"]]
    assert [page for page in pages.values() if is_at_table(page)] == [pages["bob"]]


async def test_orders_that_an_instance_which_lags_has_not_read_are_obeyed(row: Row) -> None:
    """It is asked for the sessions, and gives them as they were."""
    one, two = await row.open(), await row.open()
    pages = {user: await visit(one, user) for user in ("ann", "bob", "eve")}
    await row.say("a")
    row.lag(one)
    await row.order("room.evict", room="table:1", user="ann")
    await row.order("user.revoke", user="eve")
    await row.clock.advance(1)  # a token that is issued now is a later one
    for page in pages.values():
        page.club = two
        await page.connect()
    assert [page for page in pages.values() if page.recovered] == [pages["ann"], pages["bob"]]
    assert [page for page in pages.values() if is_at_table(page)] == [pages["bob"]]


async def test_orders_of_before_the_loss_were_obeyed_there(row: Row) -> None:
    """Whoever has come again since is not sent away a second time."""
    one, two = await row.open(), await row.open()
    ann, eve = await visit(one), await visit(one, "eve")
    await row.order("room.evict", room="table:1", user="ann")
    await row.order("user.disconnect", user="eve")
    assert not is_at_table(ann)
    eve = await visit(one, "eve")
    await sit(ann.client, ack=2)
    for page in (ann, eve):
        page.club = two
        await page.connect()
        assert page.recovered
        assert is_at_table(page)


async def test_a_cursor_ahead_of_the_reader_is_waited_for(row: Row) -> None:
    """The instance that the client comes to lags behind the one that it was connected to."""
    one, two = await row.open(), await row.open()
    page = await visit(one)
    row.lag(two)
    await row.say("a", "b")
    page.drop(received=len(page.client.log) - 1)
    page.club = two
    connecting = asyncio.ensure_future(page.try_connect())
    await settle()
    assert not connecting.done()
    await row.go_on(two)
    page.take(await connecting)
    assert page.recovered
    assert page.texts == ["b"]


async def test_a_session_is_there_before_its_client_is_sent_away(row: Row) -> None:
    """Whoever comes at once finds it, however busy the instance is that stops."""
    one, two = await row.open(), await row.open()
    page = await visit(one)
    one.gateway.drain()
    row.lag(one)
    await one.lost_and_found.hand_over()
    assert not page.client.is_gone
    row.wire.deaf.append(one.peer_messages)
    page.club = two
    connecting = asyncio.ensure_future(page.try_connect())
    await settle()
    await row.clock.advance(0.5)
    page.take(await connecting)
    assert page.recovered
    assert is_at_table(page)


async def test_the_connection_to_an_instance_that_stops_is_cut_when_its_client_is_elsewhere(
    row: Row,
) -> None:
    """Though what all were given is as good as what it has."""
    one, two = await row.open(), await row.open()
    page = await visit(one)
    stale = page.client
    one.gateway.drain()
    row.lag(one)
    await one.lost_and_found.hand_over()
    page.club = two
    await page.connect()
    assert page.recovered
    assert stale.is_gone


async def test_who_leaves_on_purpose_while_its_instance_stops_does_not_come_back_to_it(row: Row) -> None:
    """Though all others were given the session already."""
    one, two = await row.open(), await row.open()
    page = await visit(one)
    one.gateway.drain()
    row.lag(one)
    await one.lost_and_found.hand_over()
    page.client.leave()
    await settle()
    page.club = two
    await page.connect()
    assert not page.recovered


async def test_a_session_goes_on_as_it_is_by_now_not_as_it_was_given_to_all(row: Row) -> None:
    """Whoever has a copy asks for what is newer, since the claim may not have come."""
    one, two, three = await row.open(), await row.open(), await row.open()
    page = await visit(one)
    await stop(row, one)
    row.lag(three)
    page.club = two
    await page.connect()
    assert page.recovered
    page.client.send("stand", {"table": "1"}, ack=2)
    await settle()
    page.club = three
    await page.connect()
    assert page.recovered
    assert not is_at_table(page)
    await row.go_on(three)
    page.drop()
    await page.connect()
    assert page.recovered
    assert not is_at_table(page)


async def test_a_copy_is_not_relied_on_when_nobody_can_be_asked(row: Row) -> None:
    """The session may have gone on elsewhere; with the broker away nobody is told of that either."""
    one, two, three = await row.open(), await row.open(), await row.open()
    page = await visit(one)
    await stop(row, one)
    row.away = row.wire.away = True
    for club in (two, three):
        page.club = club
        await page.connect()
        assert not page.recovered


async def test_a_copy_is_good_when_one_of_those_that_are_asked_is_dead(row: Row) -> None:
    """It would have claimed the session in the log."""
    one, two, three = await row.open(), await row.open(), await row.open()
    page = await visit(one)
    await stop(row, one)
    await row.kill(three)
    page.club = two
    connecting = asyncio.ensure_future(page.try_connect())
    await settle()
    await row.clock.advance(0.5)
    page.take(await connecting)
    assert page.recovered


async def test_an_old_copy_does_not_take_the_place_of_what_came_by_a_question(row: Row) -> None:
    """The instance lags, and reads of the handing over when the session has gone on, and is lost again."""
    one, two = await row.open(), await row.open()
    page, other = await visit(one), await visit(one, "bob")
    row.lag(two)
    one.gateway.drain()
    row.lag(one)
    await one.lost_and_found.hand_over()
    for each in (page, other):
        each.club = two
        await each.connect()
        assert each.recovered
        each.client.send("stand", {"table": "1"}, ack=2)
    await settle()
    page.drop()
    await row.go_on(two)
    for each in (page, other):
        each.client.drop()
        await each.connect()
        assert each.recovered
        assert not is_at_table(each)


async def test_strangers_do_not_have_all_instances_work(row: Row) -> None:
    """In an open namespace anybody may show any secret; who is signed in is looked for all the same."""
    one, two = await row.open(), await row.open()
    for number in range(300):
        stranger = Page(two, "nobody", f"/garden/{number}")
        stranger.pid = f"made up {number}"
        await stranger.connect()
        assert not stranger.recovered
    asked = [message for message in row.wire.published if message.routing_key == "all"]
    assert len(asked) == 200
    page = await visit(one)
    page.club = two
    await page.connect()
    assert page.recovered
    known = Page(one, "nobody", "/garden/1")
    await known.connect()
    await row.clock.advance(1)
    known.club = two
    await known.connect()
    assert known.recovered
