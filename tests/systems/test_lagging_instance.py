"""An instance that has read less than another: whoever comes to it with a cursor of the other is let wait."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest_asyncio

from tests.support.daemon import Daemon, edit_config
from tests.support.follower import Follower, Updates
from tests.support.js_client import JsClient, JsClients
from tests.support.portal import Portal
from tests.support.proxy import Proxy
from tests.support.services import Services

_UNHURRIED = {"limits.rate": ["1000/s"], "limits.connections_per_user": 100}


class Pair:
    """Two daemons around one log, of which the second may lag: what the broker sends it is held."""

    def __init__(self, first: Portal, second: Portal, broker: Proxy) -> None:
        self.first = first
        self.second = second
        self.broker = broker
        second.project, second.user = first.project, first.user
        self.updates = Updates(first)

    async def join(self, client: JsClient, since: object) -> dict[str, object]:
        """Follow the project; the ack."""
        watch = {"events": ["task_update"], "project_name": self.first.project, "since": since}
        answer = await client.call("subscribe_to_events", watch, timeout=20)
        assert isinstance(answer, dict)
        return answer

    async def read_ahead(self, watcher: Follower) -> object:
        """Let the first read what the second does not; its cursor there."""
        self.broker.hold("to_client")
        await watcher.has(await self.updates.publish(2))
        return (await self.join(watcher.client, "0s"))["offset"]


@pytest_asyncio.fixture(loop_scope="session")
async def pair(tmp_path: Path, amqp_urls: Iterator[str], js: JsClients) -> AsyncIterator[Pair]:
    """Both ready, on a broker of their own."""
    url = next(amqp_urls)
    config = edit_config(tmp_path, portal=_UNHURRIED)
    async with Proxy.before(url) as broker, Services(url) as services:
        daemons = [
            Daemon(tmp_path / "first", url, config),
            Daemon(tmp_path / "second", broker.url(url), config),
        ]
        await asyncio.gather(*(asyncio.to_thread(daemon.start) for daemon in daemons))
        yield Pair(*(Portal(daemon, js, services) for daemon in daemons), broker)
        await js.close_all()
        broker.pass_on()
        for daemon in daemons:
            await asyncio.to_thread(daemon.stop)


async def test_a_cursor_ahead_is_waited_for(pair: Pair) -> None:
    """By a join, and by a connection: answered once the reader has passed it, with all that follows."""
    watcher = Follower(await pair.first.connect("/portal"))
    await pair.join(watcher.client, "0s")
    joiner = Follower(await pair.second.connect("/portal"))
    bystander = await pair.second.connect("/portal")
    ahead = await pair.read_ahead(watcher)
    joining = asyncio.create_task(pair.join(joiner.client, ahead))
    namespace = f"{pair.second.daemon.url}/project/{pair.first.project}"
    auth = {"token": pair.second.token(), "recover": True, "since": ahead}
    connecting = Follower(
        await pair.second.js.connect(namespace, auth=auth, transports=["websocket"], wait=False)
    )
    assert (await pair.join(bystander, None))["status"] == "ok"  # others do not wait
    assert not joining.done()
    assert not connecting.client.connected
    await watcher.has(await pair.updates.publish(1))
    pair.broker.pass_on()
    answer = await joining
    assert answer["recovered"] is True
    await connecting.client.wait_connected()
    for each in (joiner, connecting):
        await each.has([2])
    await pair.updates.publish(1)
    for each in (joiner, connecting):
        await each.has([2, 3])


async def test_a_cursor_ahead_is_waited_for_five_seconds(pair: Pair) -> None:
    """Then the client is told, and gets what comes when it comes."""
    watcher = Follower(await pair.first.connect("/portal"))
    await pair.join(watcher.client, "0s")
    joiner = Follower(await pair.second.connect("/portal"))
    ahead = await pair.read_ahead(watcher)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    answer = await pair.join(joiner.client, ahead)
    assert 4.9 < loop.time() - begun < 10
    assert answer["recovered"] is False
    assert joiner.numbers == []
    pair.broker.pass_on()
    await pair.updates.publish(1)
    await joiner.client.until(lambda: joiner.numbers[-1:] == [2], 15)
