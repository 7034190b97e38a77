"""Sessions that go on at another instance, or at the next run of the same; and after `kill -9`, `since`."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest_asyncio

from tests.support.daemon import Daemon, edit_config
from tests.support.follower import Follower, Updates
from tests.support.js_client import JsClients
from tests.support.portal import Portal
from tests.support.proxy import Proxy
from tests.support.services import Services

_UNHURRIED = {"limits.rate": ["1000/s"], "limits.connections_per_user": 100}


class Pair:
    """Two daemons around one log, and an address that leads to either."""

    def __init__(self, first: Portal, second: Portal, proxy: Proxy) -> None:
        self.first = first
        self.second = second
        self._proxy = proxy
        second.project, second.user = first.project, first.user
        self.updates = Updates(first)

    async def follow(self, **auth: object) -> Follower:
        """A client that comes through the address."""
        return await Follower.connect(self.first, url=f"http://127.0.0.1:{self._proxy.port}", **auth)

    def lead_to(self, portal: Portal) -> None:
        """Where the address leads from now on."""
        self._proxy.lead_to(portal.daemon.port)


@pytest_asyncio.fixture(loop_scope="session")
async def pair(tmp_path: Path, amqp_urls: Iterator[str], js: JsClients) -> AsyncIterator[Pair]:
    """Two daemons on a broker of their own; the address leads to the first."""
    url = next(amqp_urls)
    config = edit_config(tmp_path, portal=_UNHURRIED)
    daemons = [Daemon(tmp_path / name, url, config) for name in ("first", "second")]
    await asyncio.gather(*(asyncio.to_thread(daemon.start) for daemon in daemons))
    for daemon in daemons:
        await daemon.until(lambda daemon=daemon: daemon.metrics().get("bridged_instances") == 2, 20, "both")
    async with Services(url) as services, Proxy(daemons[0].port) as proxy:
        yield Pair(*(Portal(daemon, js, services) for daemon in daemons), proxy)
        await js.close_all()
    for daemon in daemons:
        await asyncio.to_thread(daemon.stop)


async def test_a_session_goes_on_at_another_instance(pair: Pair) -> None:
    """There and back again: the one asks the other, and nobody who looks on sees it come or go."""
    follower = await pair.follow()
    sid = follower.client.sid
    await follower.has(await pair.updates.publish(2))
    for portal in (pair.second, pair.first, pair.second):
        pair.lead_to(portal)
        await follower.drop()
        await pair.updates.publish(2)
        assert await follower.come_back()
        assert follower.client.sid == sid
        await follower.has(await pair.updates.publish(1))


async def test_the_old_connection_is_cut_when_the_session_goes_on_elsewhere(pair: Pair) -> None:
    """Its instance had not missed it yet."""
    stale = await pair.follow()
    await stale.has(await pair.updates.publish(2))
    pid, offset = await stale.client.session()
    pair.lead_to(pair.second)
    back = await pair.follow(pid=pid, offset=offset)
    assert back.client.sid == stale.client.sid
    await stale.client.until(lambda: bool(stale.client.disconnects))


async def test_sessions_survive_a_graceful_stop(pair: Pair) -> None:
    """Of one of two, and then of both: the last one leaves them to whoever starts next."""
    followers = [await pair.follow() for _ in range(5)]
    wanted = await pair.updates.publish(2)
    for follower in followers:
        await follower.has(wanted)
    pair.lead_to(pair.second)
    assert await asyncio.to_thread(pair.first.daemon.stop) == 0
    wanted = await pair.updates.publish(2)
    for follower in followers:
        assert await follower.come_back()
        await follower.has(wanted)
    stopping = asyncio.to_thread(pair.second.daemon.stop)
    assert await stopping == 0
    wanted = await pair.updates.publish(2)
    await asyncio.to_thread(pair.second.daemon.start)
    for follower in followers:
        assert await follower.come_back()
        await follower.has(wanted)
    wanted = await pair.updates.publish(1)
    for follower in followers:
        await follower.has(wanted)


async def test_after_a_kill_the_client_is_told_and_since_loses_nothing(pair: Pair) -> None:
    """What only the killed instance knew is gone; the log is not."""
    follower = await pair.follow()
    watcher = await pair.first.connect("/portal", options={"reconnection": False})
    watch = {"events": ["task_update"], "project_name": pair.first.project}
    answer = await watcher.call("subscribe_to_events", {**watch, "since": "0s"})
    assert isinstance(answer, dict)
    await follower.has(await pair.updates.publish(2))
    pair.lead_to(pair.second)
    await asyncio.to_thread(pair.first.daemon.kill)
    await watcher.wait_disconnected()
    await pair.updates.publish(2)
    assert not await follower.come_back()
    await asyncio.to_thread(pair.first.daemon.start)
    for portal in (pair.first, pair.second):
        client = await portal.connect("/portal")
        again = await client.call("subscribe_to_events", {**watch, "since": answer["offset"]})
        assert isinstance(again, dict)
        assert again["recovered"] is True
        assert Follower(client).numbers == [0, 1, 2, 3]
    namesake = await Follower.connect(pair.second, since=follower.cursors[1])
    await namesake.has([*range(2, 4)])
