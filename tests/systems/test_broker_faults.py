"""The broker is not there yet; the daemon restarts, or is told to stop. How both die: tests/faults."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from dev.broker import PrivateBroker
from tests.support.broker import run_broker
from tests.support.daemon import Daemon, edit_config
from tests.support.js_client import JsClient, JsClients
from tests.support.portal import Portal, visit

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
        running.state_change("meanwhile"),  # the last one is for whoever comes
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
