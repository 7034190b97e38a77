"""The log window: what is recorded when, what time it has, and who waits for it."""

import asyncio

import pytest

from bridge.flow.log_window import LogWindow
from bridge.model import Delivery, Place
from bridge.state.history import History
from tests.support.club import HEARTBEAT, Club
from tests.support.fakes import Clock, RecordingClient
from tests.support.rules import deliver


def said(text: str, offset: int | None, table: str = "1", **fields: object) -> Delivery:
    """Somebody said something at a table, at a place in the log."""
    body = {"text": text}
    return deliver(
        f"table.{table}.said", body, exchange="club.events", offset=offset, checksum=offset or 0, **fields
    )


def blank(offset: int, timestamp: float | None = None) -> Delivery:
    """A delivery that leads to nothing."""
    return deliver("nobody.knows", {}, offset=offset, checksum=offset, timestamp=timestamp)


class Window:
    """A window whose time a test moves."""

    def __init__(self, max_age: float = 600.0) -> None:
        self.now = 1000.0
        self.history = History(1_000_000, max_age)
        self.window = LogWindow(self.history, lambda: self.now, HEARTBEAT)

    def record(self, *deliveries: Delivery) -> None:
        """Deliveries that led to nothing came in one batch."""
        times = self.window.date(deliveries)
        self.window.record(deliveries, times, [() for _ in deliveries])


async def test_everything_handled_is_recorded_with_its_place(club: Club) -> None:
    """Events, duplicates, invalid and unrouted ones, own messages; in the warm-up too. Not what is live."""
    club.downlink.handle([said("old", 1, message_id="m")])
    club.downlink.caught_up()
    client = await club.seat()
    club.downlink.handle(
        [
            said("old", 4, message_id="m"),
            deliver("table.1.said", {"text": 7}, exchange="club.events", offset=5, checksum=5),
            deliver("nobody.knows", {}, exchange="club.events", offset=6, checksum=6),
            deliver("nobody.knows", {}, exchange="bridge.log", offset=9, checksum=9),
            said("new", 12),
            said("round the log", None),
        ]
    )
    history = club.window.history
    assert all(history.holds(Place(offset, offset)) for offset in (1, 4, 5, 6, 9, 12))
    assert len(history) == 6
    assert history.head == Place(12, 12)
    assert club.window.head() == "12-0000000c"
    replayed = [
        (emission.place, emission.event) for emission, _ in history.replay("/hall", {"table:1": 0}).emissions
    ]
    assert replayed == [(Place(1, 1), "said"), (Place(12, 12), "said")]
    assert client.received("said") == [{"text": "new"}, {"text": "round the log"}]
    places = [emission.place for emission in club.fanout.sent if emission.event == "said"]
    assert places == [Place(12, 12), Place(12, 12), None, None]


async def test_the_head_moves_after_the_batch_was_sent(club: Club) -> None:
    """Who asks in between, since it gets something, must not be told of what is still on its way."""
    heads: list[str] = []

    class Asking(RecordingClient):
        def take(self, event: str, args: object, cursor: str) -> None:
            heads.append(club.window.head())
            super().take(event, args, cursor)  # type: ignore[arg-type]

    club.downlink.caught_up()
    club.downlink.handle([said("a", 1)])
    client = await club.seat()
    client.__class__ = Asking
    club.downlink.handle([said("b", 2), said("c", 3)])
    assert heads == ["1-00000001", "1-00000001"]
    assert club.window.head() == "3-00000003"


def test_before_anything_was_read_the_head_is_no_delivery() -> None:
    """A client that connects then has something to come back with, which is never held."""
    window = Window()
    assert window.window.head() == "0-00000000"
    window.record(blank(0))
    assert not window.history.holds(Place(0, 1))


def test_a_delivery_has_its_own_time_or_that_of_the_last_that_told_it() -> None:
    """Never one before that, nor one in the future; now, where the last that told it is a moment ago."""
    window = Window()
    own = [500.0, None, 450.0, 505.0, 700.0, 5000.0, 985.0, None, 996.0]
    times = window.window.date([blank(offset, time) for offset, time in enumerate(own)])
    assert times == [500.0, 500.0, 500.0, 505.0, 700.0, 700.0, 985.0, 1000.0, 1000.0]


def test_an_age_reaches_back_behind_what_may_be_as_old() -> None:
    """What does not say when it happened, in a backlog, may have happened long after the one before it."""
    window = Window()
    times = [(1, 500.0), (2, None), (3, 450.0), (4, 700.0), (5, 5000.0), (6, 999.0)]
    window.record(*(blank(offset, time) for offset, time in times))
    reached = [place and place.offset for place in map(window.window.reach_back, (5, 298, 300, 495, 600))]
    # 5 counts as of 700, 1 to 3 as of 500; a second is left for times in whole seconds.
    assert reached == [4, 4, None, None, None]


def test_deliveries_before_the_first_that_tells_its_time_are_as_old_as_that_one() -> None:
    """Or as the start, when none in the backlog does."""
    window = Window()
    window.record(blank(1), blank(2))
    window.record(blank(3), blank(4, 700.0), blank(5), blank(6, 800.0))
    assert window.window.age() == 300.0
    assert window.window.reach_back(250) is None
    assert window.window.reach_back(10) == Place(6, 6)
    window = Window()
    window.record(blank(0), blank(1))
    window.now += 5
    window.window.caught_up()
    window.now += 5
    window.record(blank(2))
    assert window.window.age() == 5.0
    assert window.window.reach_back(4) == Place(-1, 0)


def test_between_signs_of_life_what_does_not_tell_its_time_comes_now() -> None:
    """A service whose clock is wrong, or that tells none, hides nothing from a client that asks by age."""
    window = Window()
    window.record(blank(1, 995.0))
    window.window.caught_up()
    for offset, time in [(2, None), (3, 100.0), (4, 9000.0)]:
        window.now += 2
        window.record(blank(offset, time))
    window.now = 1050.0
    offsets = [place and place.offset for place in map(window.window.reach_back, (40, 44, 46, 48, 60))]
    assert offsets == [4, 3, 2, None, None]


def test_what_is_too_old_is_forgotten_with_the_next_batch() -> None:
    """By the time of the deliveries, not by when they were read."""
    window = Window(max_age=60)
    window.record(blank(1, 900.0), blank(2, 935.0), blank(3, 950.0))
    assert [window.history.holds(Place(offset, offset)) for offset in (1, 2, 3)] == [False, False, True]
    window.window.caught_up()
    window.now += 60
    window.record(blank(4, 1060.0))
    assert len(window.history) == 1


async def test_waiting_for_a_place_ends_when_it_was_read(club: Club) -> None:
    """Or after so many seconds; for one that was read already at once."""
    clock = Clock()
    clock.drive_loop()
    window = Window()
    window.record(blank(5))
    assert await window.window.wait_past(Place(5, 0), 5.0)
    waiting = [asyncio.create_task(window.window.wait_past(Place(offset, 0), 5.0)) for offset in (7, 8, 20)]
    await clock.advance(1)
    window.record(blank(6))
    await clock.advance(1)
    assert not any(task.done() for task in waiting)
    window.record(blank(9))
    await clock.advance(2)
    assert [task.done() for task in waiting] == [True, True, False]
    await clock.advance(2)
    assert [await task for task in waiting] == [True, True, False]
    assert not window.window._waiting


async def test_who_gives_up_waiting_is_forgotten() -> None:
    """Its connection is gone, say."""
    window = Window()
    waiting = asyncio.create_task(window.window.wait_past(Place(7, 0), 5.0))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not window.window._waiting


def test_a_new_epoch_forgets_what_was_before() -> None:
    """And offsets may begin anew."""
    window = Window()
    window.record(blank(100))
    window.window.begin_epoch()
    assert window.window.head() == "0-00000000"
    window.record(blank(3))
    assert window.history.holds(Place(3, 3))
    assert not window.history.holds(Place(100, 100))
