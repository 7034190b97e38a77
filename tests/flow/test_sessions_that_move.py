"""Sessions that go from one instance to another: as they are by then, to one of them alone."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bridge.rules.compile import Rules
from tests.flow.test_recoveries import Page
from tests.flow.test_replays import sit
from tests.support.club import Club
from tests.support.fakes import settle
from tests.support.row import Row


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
    for session in list(club.sessions):
        session.client.evict()
    await club.handovers.hand_over()
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
    assert {user: page.recovered for user, page in pages.items()} == {"ann": True, "bob": True, "eve": False}
    assert {user: is_at_table(page) for user, page in pages.items()} == {
        "ann": False,
        "bob": True,
        "eve": False,
    }


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
    assert {user: page.recovered for user, page in pages.items()} == {"ann": True, "bob": True, "eve": False}
    assert {user: is_at_table(page) for user, page in pages.items()} == {
        "ann": False,
        "bob": True,
        "eve": False,
    }


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
