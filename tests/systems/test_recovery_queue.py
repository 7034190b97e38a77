"""Recovery without a stream (`source: queue`): it is the instance's own, and says so when it cannot be."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.daemon import Daemon, edit_config
from tests.support.follower import Follower, Updates
from tests.support.js_client import JsClients
from tests.support.portal import Portal, visit


@pytest_asyncio.fixture(loop_scope="session")
async def portal(tmp_path: Path, amqp_urls: Iterator[str], js: JsClients) -> AsyncIterator[Portal]:
    """Browsers and services around a daemon that reads a queue of its own."""
    url = next(amqp_urls)
    amqp = {"amqp.source": "queue", "instance": "one"}
    daemon = Daemon(tmp_path, url, edit_config(tmp_path, bridge=amqp))
    await asyncio.to_thread(daemon.start)
    async with visit(daemon, url, js) as portal:
        yield portal
    await asyncio.to_thread(daemon.stop)


@pytest.fixture
def updates(portal: Portal) -> Updates:
    """The events of the test's project."""
    return Updates(portal)


async def test_a_client_recovers_on_its_instance(portal: Portal, updates: Updates) -> None:
    """Again and again, as with a stream; an age is reached back as far as this process has read."""
    follower = await Follower.connect(portal)
    await follower.has(await updates.publish(3))
    for _ in range(2):
        await follower.drop()
        await updates.publish(3)
        assert await follower.come_back()
        await follower.has(await updates.publish(1))
    young = await Follower.connect(portal, since="10m")
    assert young.client.recovered is False
    assert young.numbers == []


async def test_the_next_process_knows_no_cursor_of_this_one(portal: Portal, updates: Updates) -> None:
    """Its queue has kept what came meanwhile, but its numbers have nothing to do with those of before."""
    follower = await Follower.connect(portal)
    await follower.has(await updates.publish(3))
    assert await asyncio.to_thread(portal.daemon.stop) == 0
    await updates.publish(3)
    await asyncio.to_thread(portal.daemon.start)
    assert not await follower.come_back()
    late = await Follower.connect(portal, since=follower.cursors[-1])
    assert late.numbers == []
    await updates.publish(1)
    await follower.client.until(lambda: follower.numbers[-1:] == late.numbers[-1:] == [6])
    assert follower.numbers == [0, 1, 2, 6]
    assert late.numbers == [6]


async def test_a_lost_queue_is_told(portal: Portal, updates: Updates) -> None:
    """Somebody deletes it under the reader: clients that recover are sent back, and know."""
    follower = await Follower.connect(portal)
    await follower.has(await updates.publish(3))
    await portal.services.channel.queue_delete("bridge.events.one")
    await follower.client.until(lambda: bool(follower.client.disconnects), 15)
    assert not await follower.come_back()
    await updates.publish(1)
    await follower.client.until(lambda: follower.numbers[-1:] == [3])
