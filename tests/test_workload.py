"""The workload: turns of a few milliseconds, in the order in which the work came."""

import asyncio
import time

from structlog.testing import capture_logs

from bridge.workload import Workload


def spend(seconds: float) -> None:
    """Keep the processor busy."""
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        pass


async def test_work_is_done_at_once_while_the_turn_has_time_left() -> None:
    """A lone client waits for nothing."""
    workload = Workload()
    done: list[int] = []
    for number in range(100):
        assert workload.do(lambda number=number: done.append(number))
    assert done == list(range(100))
    async with asyncio.timeout(1):
        await workload.wait(0.001)


async def test_what_is_too_much_for_a_turn_waits_for_the_next_in_order() -> None:
    """And the loop goes on in between: nobody waits for all of it."""
    workload = Workload()
    done: list[str] = []
    turns = 0

    def work(name: str) -> None:
        spend(0.002)
        done.append(name)

    async def count_turns() -> None:
        nonlocal turns
        while len(done) < 30:
            turns += 1
            await asyncio.sleep(0)

    async def wait() -> None:
        await workload.wait(0.002)
        done.append("waited")

    at_once = [workload.do(lambda number=number: work(str(number))) for number in range(20)]
    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    late = [workload.do(lambda number=number: work(str(number))) for number in range(20, 29)]
    assert 1 <= at_once.count(True) <= 3
    assert at_once == sorted(at_once, reverse=True)
    assert not any(late)
    await asyncio.gather(count_turns(), waiting)
    assert done.index("waited") >= 20
    assert [name for name in done if name != "waited"] == [str(number) for number in range(29)]
    assert turns >= 5


async def test_waiting_counts_what_it_is_for() -> None:
    """Of what takes long, a turn has few."""
    workload = Workload()
    waiting = [asyncio.create_task(workload.wait(0.002)) for _ in range(9)]
    await asyncio.sleep(0)
    assert sum(task.done() for task in waiting) == 3
    await asyncio.gather(*waiting)


async def test_who_gives_up_waiting_takes_nobodys_turn() -> None:
    """Its connection is gone, say."""
    workload = Workload()
    waiting = [asyncio.create_task(workload.wait(0.01)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    await asyncio.wait(waiting)
    assert [task.cancelled() for task in waiting] == [False, True, False]


async def test_a_fault_with_one_connection_stops_no_other() -> None:
    """It is logged, and the work behind it is done."""
    workload = Workload()
    done: list[str] = []

    def fail() -> None:
        raise ValueError("no")

    with capture_logs() as logs:
        workload.do(fail)
        workload.do(lambda: spend(0.01))
        workload.do(fail)
        workload.do(lambda: done.append("behind it"))
        while not done:  # noqa: ASYNC110  nothing announces it
            await asyncio.sleep(0)
    assert [line["event"] for line in logs] == ["connection.failed"] * 2
