"""The daemon dies, and is there again: its clients lose nothing."""

import asyncio
from typing import Final

import pytest

from tests.support.stage import Stage, pick

_KILLS: Final = pick(1, 5)


@pytest.mark.timeout(pick(120, 600))
async def test_a_killed_daemon_loses_nothing_to_since(stage: Stage) -> None:
    """`kill -9` and a restart: the session is gone and says so, the cursor loses nothing."""
    daemon = await stage.start_daemon()
    await stage.follow(daemon.url, pick(100, 500))
    async with stage.load(pick(100, 50)) as load:
        for _ in range(_KILLS):
            await load.wait_for(load.confirmed + 200)
            daemon.kill()
            await load.wait_for(load.confirmed + 100)
            await asyncio.to_thread(daemon.start)
            await stage.swarm.wait_for(load.confirmed)
    report = await stage.conclude("bridge killed (SIGKILL)", load)
    verdict = report.judge(load.confirmed)
    assert verdict.recovered == 0
    assert verdict.gaps == 0
    assert verdict.since == verdict.fresh >= stage.swarm.size * _KILLS
