"""Without a stream (`source: queue`) an instance reads a queue of its own: it loses nothing, or says so."""

import asyncio
from typing import Final

import pytest

from tests.support.daemon import Daemon
from tests.support.proxy import Proxy
from tests.support.stage import Stage, pick, until_up, up

_CLIENTS: Final = 20


@pytest.mark.timeout(pick(120, 900))
async def test_a_reader_that_is_cut_off_again_and_again_loses_nothing(stage: Stage) -> None:
    """Under load, in the midst of what it is sent. What comes again is left out by its place in the queue:
    hardly any message id is remembered here."""
    forgetful = {"limits__duplicates": 1, "history": {"max_bytes": "10kB"}}
    async with Proxy.before(stage.amqp_url) as proxy:
        daemon = await _start(stage, amqp_url=proxy.url(stage.amqp_url), amqp__heartbeat="2s", **forgetful)
        await stage.follow(daemon.url, _CLIENTS)
        rounds = pick(3, 60)
        async with stage.load(1000) as load:
            for number in range(rounds):
                await load.wait_for(load.confirmed + pick(500, 3000), 60)
                if number == rounds // 2:
                    proxy.drop()
                    await daemon.until(lambda: up(daemon) == {0.0}, 15, "the daemon to notice")
                    proxy.pass_on()
                proxy.reset()
                await daemon.until(lambda: 0.0 in up(daemon), 15, "the daemon to notice")
                await until_up(daemon)
        report = await stage.conclude("queue: connections cut", load, note=f"{rounds} times")
        assert not report.disconnects
        resumed, epochs = _restarts(daemon)
        assert resumed >= rounds
        assert epochs == 0


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_a_broker_that_is_killed_keeps_the_queue(stage: Stage) -> None:
    """What it confirmed is on its disk: clients stay, and miss nothing."""
    daemon = await _start(stage)
    await stage.follow(daemon.url, _CLIENTS)
    try:
        async with stage.load(300) as load:
            for _ in range(3):
                await load.wait_for(load.confirmed + 500)
                stage.broker.kill()
                await daemon.until(lambda: up(daemon) == {0.0}, 10, "the daemon to notice")
                await asyncio.to_thread(stage.broker.start)
                await load.wait_for(load.confirmed + 500, 60)
    finally:
        await asyncio.to_thread(stage.broker.start)
    report = await stage.conclude("queue: broker killed (SIGKILL)", load)
    assert not report.disconnects
    await until_up(daemon)
    assert _restarts(daemon)[1] == 0


@pytest.mark.timeout(pick(120, 300))
async def test_clients_recover_on_their_instance_and_its_next_process_knows_none(stage: Stage) -> None:
    """Cut off they miss nothing; when the daemon is killed they are told that they may."""
    daemon = await _start(stage)
    await stage.follow(daemon.url, _CLIENTS)
    async with stage.load(200) as load:
        await load.wait_for(200)
        await stage.swarm.cut([pick(0.5, 20.0)] * _CLIENTS)
        await load.wait_for(load.confirmed + 200)
        await stage.swarm.wait_for(load.confirmed)
        cut_off = (await stage.swarm.report()).judge(0)
        daemon.kill()
        await load.wait_for(load.confirmed + 200)
        await asyncio.to_thread(daemon.start)
        await stage.swarm.wait_for(load.confirmed)
    verdict = (await stage.conclude("queue: bridge killed (SIGKILL)", load)).judge(load.confirmed)
    assert (cut_off.recovered, cut_off.fresh) == (_CLIENTS, 0)
    assert (verdict.recovered, verdict.fresh, verdict.gaps) == (_CLIENTS, _CLIENTS, _CLIENTS)


async def _start(stage: Stage, *, amqp_url: str | None = None, **bridge: object) -> Daemon:
    return await stage.start_daemon(amqp_url=amqp_url, amqp__source="queue", **bridge)


def _restarts(daemon: Daemon) -> tuple[float, float]:
    """How often reading went on, and how often it began anew."""
    metrics = daemon.metrics()
    how = [
        metrics.get(f'bridged_reader_restarts_total{{how="{how}"}}', 0) for how in ("resumed", "new_epoch")
    ]
    return how[0], how[1]
