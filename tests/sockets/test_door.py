"""The door: who comes alone goes in at once, a crowd goes in over many turns of the loop, in order."""

import asyncio

from bridge.sockets.door import Door


async def test_who_comes_alone_goes_in_at_once() -> None:
    """Without a turn of the loop."""
    door = Door()
    entering = door.enter()
    try:
        entering.send(None)
    except StopIteration:
        return
    raise AssertionError("it had to wait")


async def test_a_crowd_goes_in_over_many_turns() -> None:
    """A few in each, in the order in which they came, whatever else there is to do."""
    door = Door()
    turn = 0
    entered: list[tuple[int, int]] = []

    async def enter(number: int) -> None:
        await door.enter()
        entered.append((turn, number))

    async with asyncio.TaskGroup() as crowd:
        for number in range(200):
            crowd.create_task(enter(number))
        while len(entered) < 200:
            await asyncio.sleep(0)
            turn += 1
    assert [number for _, number in entered] == list(range(200))
    turns = [turn for turn, _ in entered]
    assert max(turns.count(one) for one in turns) <= 32
    assert len(set(turns)) > 6


async def test_who_gives_up_is_passed_over() -> None:
    """And takes no place."""
    door = Door()
    crowd = [asyncio.create_task(door.enter()) for _ in range(100)]
    await asyncio.sleep(0)
    for task in crowd[40:90]:
        task.cancel()
    results = await asyncio.gather(*crowd, return_exceptions=True)
    assert [isinstance(one, asyncio.CancelledError) for one in results] == [40 <= n < 90 for n in range(100)]
    await asyncio.wait_for(door.enter(), 1)
