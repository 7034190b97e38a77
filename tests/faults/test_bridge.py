"""The daemon dies, restarts, freezes, finds its log trimmed, is given another time: clients lose nothing."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Final

import pytest

from tests.support.balancer import Balancer
from tests.support.js_client import JsClient, JsClients, JsConnectError
from tests.support.portal import Portal
from tests.support.services import Services
from tests.support.stage import Stage, find_faketime, pick

_KILLS: Final = pick(1, 5)
_ROUNDS: Final = pick(1, 5)
_HOUR: Final = 3600


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


async def test_clients_of_a_killed_daemon_lose_nothing_at_the_other(stage: Stage) -> None:
    """`kill -9` of one of two: its clients go on by their cursors, all others stay as they are."""
    daemons = [await stage.start_daemon(name) for name in ("one", "two")]
    with Balancer([daemon.port for daemon in daemons]) as balancer:
        await stage.follow(balancer.url, 100)
        async with stage.load(100) as load:
            await load.wait_for(200)
            daemons[0].kill()
            await stage.swarm.wait_connects(150)
            await load.wait_for(load.confirmed + 200)
        report = await stage.conclude("one of two killed (SIGKILL)", load)
    verdict = report.judge(load.confirmed)
    assert (verdict.fresh, verdict.since, verdict.recovered) == (50, 50, 0)


@pytest.mark.timeout(pick(180, 1200))
async def test_a_rolling_restart_under_load_loses_nothing(stage: Stage) -> None:
    """500 clients at two daemons behind a balancer, one daemon restarted after the other."""
    daemons = [await stage.start_daemon(name) for name in ("one", "two")]
    with Balancer([daemon.port for daemon in daemons]) as balancer:
        await stage.follow(balancer.url, 500, within=120)
        async with stage.load(20) as load:
            for _ in range(_ROUNDS):
                for daemon in daemons:
                    await load.wait_for(load.confirmed + 60)
                    assert await asyncio.to_thread(daemon.stop) == 0
                    await load.wait_for(load.confirmed + 40)
                    await asyncio.to_thread(daemon.start)
                    await stage.swarm.wait_for(load.confirmed, 120)
        report = await stage.conclude("rolling restart of two", load)
        verdict = report.judge(load.confirmed)
        assert verdict.gaps == 0
        returns = verdict.recovered + verdict.fresh
        assert returns >= 500 * _ROUNDS
        assert verdict.recovered >= 0.95 * returns


async def test_what_the_log_has_lost_is_told(stage: Stage) -> None:
    """The stream is trimmed past what clients have, while their daemon is away: none is left to guess."""
    daemon = await stage.start_daemon(amqp__stream={"name": "bridge.events", "max_bytes": "1MB"})
    await stage.follow(daemon.url, 50)
    async with stage.load(1500) as load:
        await load.wait_for(300)
        await stage.swarm.wait_for(0)
        daemon.kill()
        await load.wait_for(load.confirmed + pick(9_000, 40_000), 120)
        load.rate = 50
        await asyncio.to_thread(daemon.start)
        await stage.swarm.wait_for(load.confirmed)
    report = await stage.conclude("log trimmed past all clients", load)
    verdict = report.judge(load.confirmed)
    assert verdict.gaps == verdict.fresh == 50
    assert verdict.told > 0


async def test_a_frozen_daemon_whose_log_is_trimmed_tells_it(stage: Stage) -> None:
    """SIGSTOP for so short a time that its connections live: what it never read is missing, and told."""
    daemon = await stage.start_daemon(amqp__stream={"name": "bridge.events", "max_bytes": "1MB"})
    await stage.follow(daemon.url, 20)
    async with stage.load(2000) as load:
        await load.wait_for(1000)
        await stage.swarm.wait_for(1)
        os.kill(daemon.pid, signal.SIGSTOP)
        try:
            await load.wait_for(load.confirmed + 9_000, 15)
            load.rate = 50
        finally:
            os.kill(daemon.pid, signal.SIGCONT)
        await stage.swarm.wait_for(load.confirmed)
    verdict = (await stage.conclude("bridge frozen, log trimmed", load)).judge(load.confirmed)
    assert verdict.gaps == verdict.fresh
    assert verdict.fresh in (20, 40)  # all of them; once more where it is trimmed again meanwhile
    assert verdict.told > 0


@pytest.mark.timeout(180)
async def test_a_clock_that_jumps_disturbs_nobody(stage: Stage, tmp_path: Path) -> None:
    """An hour ahead, two back: clients stay, sessions recover, ages and keys of retries hold, nobody leaves;
    tokens end by it."""
    clock, jumps = tmp_path / "clock", (0, _HOUR, -_HOUR, 0)
    daemon = await stage.start_daemon(environ=_fake_clock(clock))
    await stage.follow(daemon.url, 20)
    async with JsClients() as js, stage.load(100) as load, Services(stage.amqp_url) as services:
        portal = Portal(daemon, js, services)
        portal.project = stage.project
        commands = await portal.take_commands()
        watcher = await _present(portal, "watcher", users=1)
        await _present(portal, "other", users=2)
        for cuts, jump in enumerate(jumps):
            published = load.confirmed
            _set_clock(clock, jump)
            await load.wait_for(load.confirmed + 200)
            assert (await stage.swarm.report()).disconnects.total() == cuts * 20
            await _check_age(portal, published)
            await _check_token(portal, ended=jump > 0)
            await _send_again(portal)
            await stage.swarm.cut([0.2] * 20)
            await load.wait_for(load.confirmed + 100)
            await stage.swarm.wait_joined()
        await _present(portal, "last", users=3)
        joined = await watcher.wait_for("user_joined", 2)
        assert [args[0]["user_id"] for args in joined] == ["other", "last"]
        assert watcher.received("user_left") == []
        assert len(commands.messages) == 1
    report = await stage.conclude("clock jumps", load, note="by hours, ahead and back")
    verdict = report.judge(load.confirmed)
    assert (verdict.recovered, verdict.fresh) == (20 * len(jumps), 0)


async def _present(portal: Portal, user: str, *, users: int) -> JsClient:
    """A client in the project's room, which counts so many users then."""
    client = await portal.connect("/portal", user=user, token=portal.token(3 * _HOUR, user=user))
    await client.call("join_project", {"project_name": portal.project})
    ((joined,),) = await client.wait_for("joined_project")
    assert isinstance(joined, dict)
    assert joined["active_users"] == users
    return client


async def _check_age(portal: Portal, first: int) -> None:
    """An age reaches back by time that has passed, whatever the clock says."""
    client = await portal.connect("/portal", user="reader", token=portal.token(3 * _HOUR, user="reader"))
    since = {"events": ["task_update"], "project_name": portal.project, "since": "10s"}
    answer = await client.call("subscribe_to_events", since)
    assert isinstance(answer, dict)
    assert answer["recovered"] is True
    numbers = [args[0]["progress"] for args in client.received("task_update")]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[0] <= first
    await client.close()


async def _check_token(portal: Portal, *, ended: bool) -> None:
    """A token of half an hour is as the clock says."""
    token = portal.token(_HOUR / 2, user="brief")
    if ended:
        with pytest.raises(JsConnectError, match="INVALID_TOKEN"):
            await portal.connect("/portal", token=token)
    else:
        await (await portal.connect("/portal", token=token)).close()


async def _send_again(portal: Portal) -> None:
    """The same command, under a key that makes it one for five minutes."""
    client = await portal.chat_client(token=portal.token(3 * _HOUR))
    sent = {"content": "hello", "type": "message", "idempotency_key": "the-first"}
    answer = await client.call("send_message", sent)
    assert isinstance(answer, dict)
    assert answer["status"] == "ok"
    await client.close()


def _fake_clock(file: Path) -> dict[str, str]:
    """Variables that let a process read the wall clock's distance from a file; other clocks go on."""
    _set_clock(file, 0)
    return {
        "LD_PRELOAD": find_faketime(),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


def _set_clock(file: Path, offset: int) -> None:
    """Have the clock go so many seconds ahead."""
    new = file.with_suffix(".new")
    new.write_text(f"{offset:+d}s", encoding="ascii")
    new.replace(file)
