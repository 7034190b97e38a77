"""The broker is killed, comes back, or is not there yet; the daemon is told to stop: nothing is lost."""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from dev.broker import PrivateBroker
from tests.support.broker import run_broker
from tests.support.daemon import Daemon, edit_config
from tests.support.js_client import JsClient, JsClients
from tests.support.load import Load
from tests.support.portal import Portal, visit

OUTAGE: Final = float(os.environ.get("BRIDGED_TEST_OUTAGE", "6"))
"""Seconds that the broker is away; set it to see a longer outage (over 30 s readiness fails)."""
_RATE: Final = 1000
_PATIENCE: Final = 30.0
_FORCED: Final = 6
_MESSAGE: Final = {"content": "hello", "type": "message"}


@pytest.fixture(scope="module")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateBroker]:
    """A node that only these tests kill."""
    yield from run_broker(tmp_path_factory.mktemp("killed"))


@pytest.fixture
def daemon(own_broker: PrivateBroker, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that is started by the test; its clients may send as much as they like."""
    unhurried = {"limits.rate": ["10000/s"], "limits.connections_per_user": 100}
    config = edit_config(tmp_path, bridge={"log.format": "json"}, portal=unhurried)
    daemon = Daemon(tmp_path, own_broker.url, config)
    yield daemon
    daemon.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def running(daemon: Daemon, own_broker: PrivateBroker, js: JsClients) -> AsyncIterator[Portal]:
    """Browsers and services around the started daemon."""
    await asyncio.to_thread(daemon.start)
    async with visit(daemon, own_broker.url, js) as portal:
        yield portal


def _numbers(client: JsClient) -> list[int]:
    """The numbers of the load's events, as they arrived."""
    return [args[0]["progress"] for args in client.received("task_update") if isinstance(args[0], dict)]


async def _follow(portal: Portal, count: int) -> list[JsClient]:
    """Clients that see the load: in the project, and in the portal by subscription."""
    clients = [await portal.project_client() for _ in range(count)]
    subscriber = await portal.connect("/portal")
    await subscriber.call("subscribe_to_events", {"events": ["task_update"]})
    return [*clients, subscriber]


async def _check_all_arrived(clients: list[JsClient], load: Load) -> None:
    """Every confirmed event reached every client once, in order, over its first connection."""
    wanted = list(range(load.confirmed))
    for client in clients:
        await client.until(
            lambda client=client: wanted[-1] in _numbers(client)[-1:], 30, lambda: "the last event"
        )
        arrived = Counter(_numbers(client))
        assert sorted(set(wanted) - arrived.keys()) == [], "lost"
        assert [number for number, times in arrived.items() if times > 1] == [], "doubled"
        assert _numbers(client) == wanted, "out of order"
        assert (client.connects, client.disconnects) == (1, [])


@pytest.mark.timeout(240)
async def test_killing_the_broker_under_load_loses_nothing(
        running.state_change("meanwhile"),  # the last one is for whoever comes
    running: Portal, own_broker: PrivateBroker
) -> None:
    """`kill -9`: no confirmed event is lost, doubled or out of order, no socket drops, all goes on soon."""
    daemon = running.daemon
    clients = await _follow(running, 2)
    chat = await running.chat_client()
    load = Load(own_broker.url, running.project, _RATE)
    publishing = asyncio.create_task(load.run())
    await load.wait_for(_RATE)

    own_broker.kill()
    killed = time.monotonic()
    before = load.confirmed
    await daemon.until(lambda: _up(daemon) == {0.0}, 10, "the daemon to notice")
    answer = await chat.call("send_message", _MESSAGE)
    assert isinstance(answer, dict)
    assert answer["code"] == "BROKER_UNAVAILABLE"
    while (away := time.monotonic() - killed) < OUTAGE:
        assert (await asyncio.to_thread(daemon.get, "/healthz"))[0] == 200
        ready, _ = await asyncio.to_thread(daemon.get, "/readyz")
        if abs(away - _PATIENCE) > 1:
            assert ready == (200 if away < _PATIENCE else 503)
        await asyncio.sleep(0.25)

    await asyncio.to_thread(own_broker.start)
    accepting = time.monotonic()
    await clients[0].wait_for("task_update", before + 200, timeout=20)
    back = time.monotonic() - accepting
    await load.wait_for(load.confirmed + _RATE)
    load.stop()
    await publishing

    await _check_all_arrived(clients, load)
    metrics = daemon.metrics()
    assert metrics['bridged_reader_restarts_total{how="resumed"}'] >= 1
    assert metrics.get('bridged_reader_restarts_total{how="new_epoch"}', 0) == 0
    print(f"{load.confirmed} events; the first after {back:.2f} s; {load.repeated} published again")
    assert back < 5
    await daemon.until(lambda: daemon.get("/readyz")[0] == 200 and _up(daemon) == {1.0}, 10, "readiness")
    assert chat.connects == 1


async def test_closed_connections_lose_nothing(running: Portal, own_broker: PrivateBroker) -> None:
    """`rabbitmqctl close_all_connections` under load, twice."""
    clients = await _follow(running, 1)
    load = Load(own_broker.url, running.project, _RATE)
    publishing = asyncio.create_task(load.run())
    for round_ in range(2):
        await load.wait_for((round_ + 1) * 500)
        await asyncio.to_thread(own_broker.rabbitmqctl, "close_all_connections", "test")
    await load.wait_for(load.confirmed + 500)
    load.stop()
    await publishing
    await _check_all_arrived(clients, load)


async def test_a_daemon_may_start_before_its_broker(
    daemon: Daemon, own_broker: PrivateBroker, js: JsClients
) -> None:
    """Without a broker it lives and is not ready; when the broker comes it begins to work by itself."""
    own_broker.kill()
    try:
        await asyncio.to_thread(daemon.start, ready=False)
        status, text = await asyncio.to_thread(daemon.get, "/readyz")
        assert status == 503
        assert [reason["reason"] for reason in json.loads(text)["reasons"]] == ["warming_up"]
    finally:
        await asyncio.to_thread(own_broker.start)
    await daemon.until(lambda: daemon.get("/readyz")[0] == 200, 30, "readiness")
    async with visit(daemon, own_broker.url, js) as portal:
        await portal.tell(await portal.project_client())


async def test_a_restarted_daemon_knows_what_was(running: Portal) -> None:
    """It reads the log before it is ready: states are known, old events stay old, clients return."""
    daemon = running.daemon
    client = await running.project_client()
    await running.tell(client, "before the restart")
    assert await asyncio.to_thread(daemon.stop) == 0
    await client.until(lambda: not client.connected)
    assert client.disconnects == ["transport close"]
    await running.publish("state_change", running.state_change("meanwhile"))
    await asyncio.to_thread(daemon.start)
    await client.until(lambda: client.connects == 2, timeout=15)
    await client.emit("join_project", {"project_name": running.project})
    ((joined,),) = await client.wait_for("joined_project")
    assert isinstance(joined, dict)
    assert joined["current_state"] == "meanwhile"
    assert isinstance(joined["last_activity"], str)
    await running.tell(client, "after")
    assert [args[0] for args in client.received("state_change")] == [
        running.state_change("before the restart"),
        running.state_change("after"),
    ]


async def test_sigterm_loses_no_acked_command(running: Portal) -> None:
    """Under load: what was acked is with the services, clients are told to reconnect, exit code 0 in time."""
    daemon = running.daemon
    commands = await running.take_commands()
    clients = [await running.chat_client(options={"reconnection": False}) for _ in range(10)]
    acked: set[str] = set()
    refused: list[str] = []

    async def send(client: JsClient) -> None:
        while client.connected:
            try:
                answer = await client.call("send_message", _MESSAGE, timeout=2)
            except RuntimeError:  # the connection closed before the ack: nothing was promised
                return
            assert isinstance(answer, dict)
            if answer["status"] == "ok":
                acked.add(str(answer["message_id"]))
            else:
                refused.append(str(answer["code"]))

    sending = [asyncio.create_task(send(client)) for client in clients]
    await commands.wait_for(200)
    began = time.monotonic()
    daemon.terminate()
    await asyncio.gather(*sending)
    assert await asyncio.to_thread(daemon.wait) == 0
    assert time.monotonic() - began < 30
    received = {message.message_id for message in commands.messages}
    await commands.wait_for(len(acked))
    assert acked <= {message.message_id for message in commands.messages}
    assert len(received) >= 200
    assert set(refused) <= {"SHUTTING_DOWN"}
    for client in clients:
        await client.until(lambda client=client: not client.connected)
        assert client.disconnects == ["transport close"]
    assert "Traceback" not in daemon.log


async def test_draining_is_seen_from_outside(running: Portal) -> None:
    """While it drains it lives, is not ready, takes no new connection; a second signal ends it at once."""
    daemon = running.daemon
    bystanders = [await running.project_client(options={"reconnection": False}) for _ in range(20)]
    daemon.terminate()
    await daemon.until(lambda: daemon.get("/readyz")[0] != 200, 5, "draining")
    status, text = await asyncio.to_thread(daemon.get, "/readyz")
    assert status == 503
    assert "shutting_down" in text
    assert (await asyncio.to_thread(daemon.get, "/healthz"))[0] == 200
    assert (await asyncio.to_thread(daemon.get, "/socket.io/?EIO=4&transport=polling"))[0] == 503
    daemon.terminate()
    assert await asyncio.to_thread(daemon.wait, 5) == _FORCED
    for client in bystanders:
        await client.until(lambda client=client: not client.connected)


def _up(daemon: Daemon) -> set[float | None]:
    metrics = daemon.metrics()
    return {metrics.get(f'bridged_broker_up{{connection="{name}"}}') for name in ("read", "publish")}
