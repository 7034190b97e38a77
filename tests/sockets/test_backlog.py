"""The backlog: who is cut, and who is not."""

import asyncio

from structlog.testing import capture_logs

from bridge.sockets.backlog import Backlog
from tests.support.fakes import Clock


class Debtor:
    """A connection whose waiting bytes the test sets."""

    def __init__(self) -> None:
        self.waiting = 0
        self.tolerated = 10
        self.ended = asyncio.Event()
        self.is_cut = False

    def cut(self) -> None:
        self.is_cut = True
        self.ended.set()

    def caught_up(self) -> None:
        self.ended.set()


async def test_too_many_bytes_are_refused() -> None:
    """The message that would pass the bound is not queued, and its client is cut."""
    debtor, backlog = Debtor(), Backlog(100, 10, lambda total: None)
    debtor.waiting = 60
    assert backlog.owe(debtor, 40)
    debtor.waiting = 100
    assert not backlog.owe(debtor, 1)
    assert debtor.is_cut
    backlog.clear()


async def test_one_message_of_any_size_is_taken() -> None:
    """A client that has everything so far may be sent something larger than the bound."""
    debtor, backlog = Debtor(), Backlog(100, 10, lambda total: None)
    assert backlog.owe(debtor, 1000)
    assert not debtor.is_cut
    backlog.clear()


async def test_bytes_that_wait_too_long_cut_the_client() -> None:
    """Measured for the oldest byte; what waits meanwhile is reported."""
    totals: list[int] = []
    debtor, backlog = Debtor(), Backlog(1000, 1.5, totals.append)
    assert backlog.owe(debtor, 50)
    debtor.waiting = 50
    await asyncio.wait_for(debtor.ended.wait(), 5)
    assert debtor.is_cut
    assert totals == [50, 0] or totals == [50]


async def test_a_client_that_takes_its_bytes_is_left_alone() -> None:
    """Always behind, but never by the same bytes for long."""
    clock = Clock()
    clock.drive_loop()
    debtor, backlog = Debtor(), Backlog(1000, 1.5, lambda total: None)
    debtor.waiting = 20
    for _ in range(30):
        assert backlog.owe(debtor, 20)
        debtor.waiting = 20  # it took those before
        await clock.advance(0.1)
    assert not debtor.is_cut
    debtor.waiting = 5
    await clock.advance(5)
    assert debtor.ended.is_set()
    assert not debtor.is_cut


async def test_a_fault_with_one_client_leaves_the_others_their_bounds() -> None:
    """The books of all others are looked at, now and in a second."""

    class Broken(Debtor):
        def cut(self) -> None:
            raise ValueError("a fault of the bridge's own")

    clock = Clock()
    clock.drive_loop()
    broken, debtor, later = Broken(), Debtor(), Debtor()
    backlog = Backlog(1000, 1.5, lambda total: None)
    with capture_logs() as logs:
        for each in (broken, debtor):
            assert backlog.owe(each, 50)
            each.waiting = 50
        await clock.advance(2.5)
        assert backlog.owe(later, 50)
        await clock.advance(1.5)
    assert debtor.is_cut
    assert later.ended.is_set()
    assert [entry["event"] for entry in logs] == ["backlog.failed"]
