"""Presence over two daemons: users count once over both, and only who has gone is told to have gone."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Final

import aio_pika
import pytest
import pytest_asyncio

from dev.broker import PrivateBroker
from tests.support.broker import run_broker, save_directory
from tests.support.daemon import Daemon, edit_config
from tests.support.js_client import JsClient, JsClients
from tests.support.portal import Portal, names
from tests.support.proxy import Proxy
from tests.support.services import Commands, Services

OUTAGE: Final = float(os.environ.get("BRIDGED_TEST_OUTAGE", "6"))
"""Seconds that the broker is away: more heartbeats than make an instance dead."""
GRACE: Final = 2.0
_ROOM: Final = "namespaces./portal.rooms.project:{project}"


class Pair:
    """Two daemons of one broker, and the clients of one portal at each."""

    def __init__(self, one: Portal, two: Portal) -> None:
        self.one, self.two = one, two
        two.project = one.project

    async def join(self, portal: Portal, user: str, **options: object) -> JsClient:
        """A client of a user that is in the project."""
        client = await portal.connect("/portal", user=user, options=dict(options))
        await client.emit("join_project", {"project_name": portal.project})
        await client.wait_for("joined_project")
        return client

    async def count(self, portal: Portal) -> object:
        """`active_users` as a user who is there already is told it."""
        client = await self.join(portal, "bob")
        [[body]] = client.received("joined_project")
        await client.disconnect()
        assert isinstance(body, dict)
        return body["active_users"]


async def run_pair(
    folder: Path, url: str, js: JsClients, bridge: Mapping[str, object] | None = None
) -> AsyncIterator[Pair]:
    """Daemons with quick heartbeats and a short grace."""
    config = edit_config(
        folder,
        bridge={"instances": {"heartbeat": "300ms"}, **(bridge or {})},
        portal={
            f"{_ROOM}.presence.grace": f"{GRACE:g}s",
            f"{_ROOM}.occupancy": True,
            "limits.connections_per_user": 100,
        },
    )
    daemons = [Daemon(folder / name, url, config) for name in ("one", "two")]
    for daemon in daemons:
        await asyncio.to_thread(daemon.start)
    async with Services(url) as services:
        yield Pair(*(Portal(daemon, js, services) for daemon in daemons))
        await js.close_all()
    for daemon in daemons:
        await asyncio.to_thread(daemon.stop)


@pytest_asyncio.fixture(loop_scope="session")
async def pair(tmp_path: Path, amqp_urls: Iterator[str], js: JsClients) -> AsyncIterator[Pair]:
    """On the broker of all tests."""
    async for pair in run_pair(tmp_path, next(amqp_urls), js):
        yield pair


@pytest_asyncio.fixture(loop_scope="session")
async def streamless(tmp_path: Path, amqp_urls: Iterator[str], js: JsClients) -> AsyncIterator[Pair]:
    """With a queue for each."""
    async for pair in run_pair(tmp_path, next(amqp_urls), js, {"amqp.source": "queue"}):
        yield pair


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateBroker]:
    """A node that only these tests kill."""
    yield from run_broker(tmp_path_factory.mktemp("killed"))


@pytest_asyncio.fixture(loop_scope="session")
async def doomed(tmp_path: Path, own_broker: PrivateBroker, js: JsClients) -> AsyncIterator[Pair]:
    """On a broker that is killed."""
    async for pair in run_pair(tmp_path, own_broker.url, js):
        yield pair


def told(client: JsClient) -> list[tuple[str, object]]:
    """Who came and who went, as a client was told it."""
    return [
        (name, args[0]["user_id"])
        for name, args in client.events
        if name in ("user_joined", "user_left") and isinstance(args[0], dict)
    ]


async def hear(client: JsClient, *wanted: tuple[str, str], within: float = 10) -> None:
    """Wait until a client was told exactly this."""
    await client.until(lambda: len(told(client)) >= len(wanted), within, lambda: f"{wanted}")
    assert told(client) == list(wanted)


async def test_active_users_count_over_both_daemons(pair: Pair) -> None:
    """A user with a tab at each counts once, comes once and goes once, to the clients of both."""
    bob = await pair.join(pair.one, "bob")
    eve = await pair.join(pair.two, "eve")
    await hear(bob, ("user_joined", "eve"))
    ann = await pair.join(pair.two, "ann")
    await hear(bob, ("user_joined", "eve"), ("user_joined", "ann"))
    second = await pair.join(pair.one, "ann")
    assert await pair.count(pair.one) == await pair.count(pair.two) == 3
    await ann.disconnect()
    assert await pair.count(pair.one) == await pair.count(pair.two) == 3
    await second.emit("leave_project", {"project_name": pair.one.project})
    await hear(bob, ("user_joined", "eve"), ("user_joined", "ann"), ("user_left", "ann"))
    await hear(eve, ("user_joined", "ann"), ("user_left", "ann"))
    assert await pair.count(pair.one) == await pair.count(pair.two) == 2
    assert (told(ann), told(second)) == ([], [])


async def test_users_count_over_daemons_without_a_stream(streamless: Pair) -> None:
    """Each reads the same messages from a queue of its own."""
    bob = await streamless.join(streamless.one, "bob")
    await streamless.join(streamless.two, "ann")
    await hear(bob, ("user_joined", "ann"))
    second = await streamless.join(streamless.one, "ann")
    streamless.two.daemon.kill()
    assert await streamless.count(streamless.one) == 2
    await second.disconnect()
    await hear(bob, ("user_joined", "ann"), ("user_left", "ann"))


async def test_a_daemon_that_starts_knows_who_is_there(pair: Pair) -> None:
    """And those that come to it are told to the others."""
    await asyncio.to_thread(pair.two.daemon.stop)
    bob, _ = await pair.join(pair.one, "bob"), await pair.join(pair.one, "ann")
    await asyncio.to_thread(pair.two.daemon.start)
    eve = await pair.join(pair.two, "eve")
    assert eve.received("joined_project")[0][0]["active_users"] == 3  # type: ignore[index]
    await hear(bob, ("user_joined", "ann"), ("user_joined", "eve"))


async def test_the_users_of_a_daemon_that_is_killed_leave(pair: Pair) -> None:
    """After four heartbeats and the grace (60 s at most as shipped), but for those who have come back."""
    bob = await pair.join(pair.one, "bob")
    for user in ("ann", "eve"):
        await pair.join(pair.two, user, reconnection=False)
    await hear(bob, ("user_joined", "ann"), ("user_joined", "eve"))
    pair.two.daemon.kill()
    await pair.join(pair.one, "eve")
    await hear(bob, ("user_joined", "ann"), ("user_joined", "eve"), ("user_left", "ann"))
    assert await pair.count(pair.one) == 2


async def test_a_rolling_restart_is_told_to_nobody(pair: Pair) -> None:
    """Clients go over to the other daemon within the grace; who stays away is told to have left."""
    watcher = await pair.join(pair.two, "bob")
    for user in ("ann", "eve"):
        await pair.join(pair.one, user, reconnection=False)
    await hear(watcher, ("user_joined", "ann"), ("user_joined", "eve"))
    stopping = asyncio.create_task(asyncio.to_thread(pair.one.daemon.stop))
    await pair.join(pair.two, "ann", reconnection=False)
    assert await stopping == 0
    await asyncio.to_thread(pair.one.daemon.start)
    await hear(watcher, ("user_joined", "ann"), ("user_joined", "eve"), ("user_left", "eve"))
    assert await pair.count(pair.one) == await pair.count(pair.two) == 2


async def test_a_session_that_goes_on_elsewhere_was_never_gone(pair: Pair) -> None:
    """Nobody is told; and it is told, once, who came and went meanwhile."""
    bob = await pair.join(pair.two, "bob")
    async with Proxy(pair.one.daemon.port) as proxy:
        ann = await pair.one.js.connect(
            f"http://127.0.0.1:{proxy.port}/portal",
            auth={"token": pair.one.token(user="ann"), "recover": True},
            transports=["websocket"],
            reconnectionDelay=50,
            reconnectionDelayMax=500,
        )
        await ann.call("join_project", {"project_name": pair.one.project})
        await hear(bob, ("user_joined", "ann"))
        proxy.lead_to(pair.two.daemon.port)
        await ann.drop()
        zoe = await pair.join(pair.one, "zoe", reconnection=False)
        await ann.wait_connected(2)
        assert ann.recovered
        await hear(ann, ("user_joined", "zoe"))
        assert await asyncio.to_thread(pair.one.daemon.stop) == 0
        await hear(bob, ("user_joined", "ann"), ("user_joined", "zoe"), ("user_left", "zoe"))
        await hear(ann, ("user_joined", "zoe"), ("user_left", "zoe"))
        assert await pair.count(pair.two) == 2
    assert names(zoe) == ["joined_project"]


@pytest.mark.timeout(240)
async def test_nobody_leaves_while_the_broker_is_away(doomed: Pair, own_broker: PrivateBroker) -> None:
    """Killed, and away for longer than an instance may be silent; who leaves meanwhile is told afterwards."""
    bob = await doomed.join(doomed.one, "bob")
    await doomed.join(doomed.two, "ann")
    eve = await doomed.join(doomed.two, "eve")
    came = [("user_joined", "ann"), ("user_joined", "eve")]
    await hear(bob, *came)
    await asyncio.to_thread(save_directory, own_broker)
    own_broker.kill()
    daemons = (doomed.one.daemon, doomed.two.daemon)
    for daemon in daemons:
        await daemon.until(lambda daemon=daemon: not _is_up(daemon), 20, "it to notice")
    assert await doomed.count(doomed.one) == await doomed.count(doomed.two) == 3
    await asyncio.sleep(OUTAGE)
    await eve.emit("leave_project", {"project_name": doomed.two.project})
    await asyncio.to_thread(own_broker.start)
    await hear(bob, *came, ("user_left", "eve"), within=30)
    for daemon in daemons:
        await daemon.until(lambda daemon=daemon: _is_up(daemon), 30, "the broker to be back")
    mark = await doomed.join(doomed.two, "zoe")
    await hear(bob, *came, ("user_left", "eve"), ("user_joined", "zoe"), within=20)
    assert await doomed.count(doomed.one) == await doomed.count(doomed.two) == 3
    assert names(mark) == ["joined_project"]


async def test_a_service_learns_which_projects_have_users(pair: Pair) -> None:
    """Once each, over both daemons; one that starts later asks."""
    services, project = pair.one.services, pair.one.project
    changes = Commands()
    exchange = await services.channel.get_exchange("bridge.presence")
    queue = await services.channel.declare_queue(exclusive=True)
    await queue.bind(exchange, "portal.*")
    await queue.consume(changes.take, no_ack=True)
    ann, bob = await pair.join(pair.one, "ann"), await pair.join(pair.two, "bob")
    await exchange.publish(aio_pika.Message(b"{}"), "query")
    await changes.wait_for(2)
    await ann.disconnect()
    await bob.disconnect()
    messages = await changes.wait_for(3)
    bodies = [json.loads(message.body) for message in messages]
    assert [(message.routing_key, body["users"]) for message, body in zip(messages, bodies, strict=True)] == [
        ("portal.occupied", 1),
        ("portal.occupied", 2),
        ("portal.vacated", 0),
    ]
    assert all(body["room"] == f"project:{project}" for body in bodies)
    assert all(body["words"] == {"project": project} for body in bodies)
    assert [body["offset"] for body in bodies] == sorted(body["offset"] for body in bodies)


def _is_up(daemon: Daemon) -> bool:
    metrics = daemon.metrics()
    return all(metrics.get(f'bridged_broker_up{{connection="{name}"}}') == 1 for name in ("read", "publish"))
