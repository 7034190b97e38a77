"""The broker is a cluster, and the node ends that leads the log: another one does so, and nothing is lost."""

import asyncio
from pathlib import Path
from typing import Final

import pytest

from dev.broker import PrivateBroker
from tests.support.cluster import run_cluster
from tests.support.stage import Figures, Stage, until_up
from tests.support.swarm import Swarm

_VHOST: Final = "test"


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_a_node_of_a_cluster_that_is_killed_loses_nothing(tmp_path: Path, figures: Figures) -> None:
    """Under load: clients and the bridge's connections stay, and an instance may start while it is down."""
    async with run_cluster(tmp_path / "nodes") as (ours, leading, services):
        ours.add_vhost(_VHOST)
        async with Stage(ours, f"{ours.url}/{_VHOST}", tmp_path, figures) as stage:
            await _declare_on(leading, stage)
            daemon = await stage.start_daemon()
            await stage.follow(daemon.url, 20)
            stage.amqp_url = f"{services.url}/{_VHOST}"
            async with stage.load(500) as load:
                await load.wait_for(1500)
                assert leading.node in await _leader_of_the_log(ours)
                leading.kill()
                await load.wait_for(load.confirmed + 1500, 60)
                assert leading.node not in await _leader_of_the_log(ours)
                other = await stage.start_daemon("two", amqp_url=f"{ours.url}/{_VHOST}")
                async with Swarm() as late:
                    await late.open(other.url, stage.tokens(5), stage.project, within=60)
                await asyncio.to_thread(leading.start)
                await load.wait_for(load.confirmed + 1500, 60)
            longest = f"the cluster took {load.longest:.1f} s at most for a confirm"
            report = await stage.conclude("node of a cluster killed", load, note=longest)
            assert not report.disconnects
            await until_up(daemon)
            assert "queue.down" in other.log
            assert "broker.lost" not in daemon.log


async def _declare_on(node: PrivateBroker, stage: Stage) -> None:
    """Have a node lead the streams: the one does so on which they are declared."""
    first = await stage.start_daemon("first", amqp_url=f"{node.url}/{_VHOST}")
    await asyncio.to_thread(first.stop)


async def _leader_of_the_log(node: PrivateBroker) -> str:
    listed = await asyncio.to_thread(node.rabbitmqctl, "list_queues", "-p", _VHOST, "name", "leader")
    [line] = [line for line in listed.splitlines() if line.startswith("bridge.events")]
    return line
