"""Clients lose their connections, all at once, one by one, or without noticing: they lose no event."""

import random

import pytest

from tests.support.proxy import Proxy
from tests.support.stage import Stage, pick


@pytest.mark.timeout(pick(120, 600))
async def test_clients_that_are_cut_off_lose_nothing(stage: Stage) -> None:
    """For 1-10 s (long: 1-110 s): every session is recovered, with all that was missed, once, in order."""
    daemon = await stage.start_daemon()
    clients, longest = pick((200, 10.0), (1000, 110.0))
    await stage.follow(daemon.url, clients // 10 * 9, within=120)
    await stage.follow(daemon.url, clients // 10, within=120, transports=["polling", "websocket"])
    seconds = random.Random(5)  # noqa: S311  no secret
    async with stage.load(pick(40, 20)) as load:
        await load.wait_for(100)
        await stage.swarm.cut([seconds.uniform(1, longest) for _ in range(clients)])
        await load.wait_for(load.confirmed + pick(400, 2400), 200)
        await stage.swarm.wait_joined(60)
    report = await stage.conclude("clients cut off", load, note=f"for 1-{longest:g} s")
    verdict = report.judge(load.confirmed)
    assert verdict.recovered == clients
    assert verdict.fresh == 0


@pytest.mark.timeout(120)
async def test_half_open_connections_to_clients_lose_nothing(stage: Stage) -> None:
    """What one side sends does not arrive: clients notice by the missing pings, come back, and recover."""
    daemon = await stage.start_daemon(http__ping_interval="1s", http__ping_timeout="2s")
    async with Proxy.before(daemon.url) as proxy:
        await stage.follow(proxy.url(daemon.url), 20)
        async with stage.load(100) as load:
            await load.wait_for(100)
            for direction in ("to_client", "to_server"):
                before = (await stage.swarm.progress()).connects
                accepted = proxy.accepted
                proxy.drop(direction)
                await load.wait_for(load.confirmed + 400)
                proxy.pass_on()
                await stage.swarm.wait_connects(before + 20, 30)
                assert proxy.accepted >= accepted + 20
            await stage.swarm.wait_for(load.confirmed)
        report = await stage.conclude("half-open to the clients", load)
        assert report.judge(load.confirmed).recovered >= 40
