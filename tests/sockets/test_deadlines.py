"""Deadlines: many items, one timer."""

import asyncio
import itertools

from structlog.testing import capture_logs

from bridge.sockets.deadlines import Deadlines


async def test_items_expire_in_the_order_of_starting() -> None:
    """A restarted item moves to the end; a cancelled one never expires."""
    done = asyncio.Event()
    expired: list[str] = []

    def expire(item: str) -> None:
        expired.append(item)
        if item == "a":
            done.set()

    deadlines = Deadlines[str](0.02, expire)
    for item in ("a", "b", "c"):
        deadlines.start(item)
    assert deadlines.cancel("c")
    assert not deadlines.cancel("c")
    deadlines.start("a")
    await asyncio.wait_for(done.wait(), 5)
    assert expired == ["b", "a"]


async def test_an_item_may_be_started_again_when_it_expires() -> None:
    """So that heartbeats go on."""
    done = asyncio.Event()
    times: list[float] = []

    def expire(item: str) -> None:
        times.append(asyncio.get_running_loop().time())
        deadlines.start(item)
        if len(times) == 3:
            done.set()

    deadlines = Deadlines[str](0.02, expire)
    deadlines.start("a")
    await asyncio.wait_for(done.wait(), 5)
    deadlines.clear()
    assert all(later - earlier >= 0.019 for earlier, later in itertools.pairwise(times))


async def test_one_that_expires_may_cancel_another() -> None:
    """Also when both are due in the same turn of the loop."""
    done = asyncio.Event()
    expired: list[str] = []

    def expire(item: str) -> None:
        expired.append(item)
        deadlines.cancel("b")
        done.set()

    deadlines = Deadlines[str](0.0, expire)
    deadlines.start("a")
    deadlines.start("b")
    await asyncio.wait_for(done.wait(), 5)
    deadlines.start("c")
    done.clear()
    await asyncio.wait_for(done.wait(), 5)
    assert expired == ["a", "c"]


async def test_a_fault_with_one_item_stops_nobody_elses_time() -> None:
    """Else a single client could end the heartbeats of all; the log has the traceback."""
    done = asyncio.Event()
    expired: list[str] = []

    def expire(item: str) -> None:
        if item == "bad":
            raise ValueError("a fault of the bridge's own")
        expired.append(item)
        done.set()

    deadlines = Deadlines[str](0.01, expire)
    with capture_logs() as logs:
        deadlines.start("bad")
        deadlines.start("a")
        await asyncio.wait_for(done.wait(), 5)
        done.clear()
        deadlines.start("b")
        await asyncio.wait_for(done.wait(), 5)
    assert expired == ["a", "b"]
    assert [(entry["event"], entry["exc_info"]) for entry in logs] == [("deadline.failed", True)]
