"""Several workers on one port, as unmodified clients see them: one daemon."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
import socketio

from tests.support.daemon import Daemon
from tests.support.js_client import JsClient, JsClients
from tests.support.swallowtail import CONFIG, Swallowtail, visit_swallowtail

WORKERS = 4


@pytest.fixture(scope="module")
def workers_url(amqp_urls: Iterator[str]) -> str:
    """The virtual host of the daemon with four workers."""
    return next(amqp_urls)


@pytest.fixture(scope="module")
def workers_daemon(tmp_path_factory: pytest.TempPathFactory, workers_url: str) -> Iterator[Daemon]:
    """Swallowtail's daemon as shipped, but for its four workers."""
    environ = {"JWT_SECRET": ""}
    daemon = Daemon(tmp_path_factory.mktemp("workers"), workers_url, CONFIG, environ, workers=WORKERS)
    daemon.start()
    yield daemon
    assert daemon.stop() == 0


@pytest_asyncio.fixture(loop_scope="session")
async def many(workers_daemon: Daemon, workers_url: str, js: JsClients) -> AsyncIterator[Swallowtail]:
    """Browsers and services around the four workers."""
    async with visit_swallowtail(workers_daemon, workers_url, js) as many:
        yield many


def total(daemon: Daemon, name: str, labels: str = "") -> float:
    """A metric, summed over the workers."""
    return sum(value for sample, value in daemon.metrics().items() if sample.startswith(f"{name}{{{labels}"))


def spread(daemon: Daemon) -> list[float]:
    """The connections of each worker."""
    metrics = daemon.metrics()
    return [metrics[f'bridged_connections{{worker="{n}"}}'] for n in range(1, WORKERS + 1)]


def find_worker(daemon: Daemon, number: int) -> int:
    """The process of a worker, before any was started again."""
    children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children")
    return int(children.read_text(encoding="ascii").split()[number - 1])


def has_dropped(client: JsClient) -> bool:
    """Whether it was ever disconnected."""
    return bool(client.disconnects)


async def connect(many: Swallowtail, **options: object) -> JsClient:
    """A client with the defaults of the official one, unless told otherwise; it has subscribed."""
    client = await many.js.connect(many.daemon.url, **options)  # type: ignore[arg-type]
    answer = await client.call("subscribe_instance", {"instance_id": many.instance})
    assert answer == {"status": "ok", "instance_id": many.instance}
    return client


async def test_default_clients_upgrade_whatever_worker_they_reach(many: Swallowtail) -> None:
    """They begin with polling and change to a websocket; each event comes once."""
    clients = await asyncio.gather(*(connect(many) for _ in range(40)))
    for client in clients:
        await client.until(lambda client=client: client.transport == "websocket")  # type: ignore[misc]
    await many.publish("task_update", many.task_update())
    await many.publish("task_update", many.task_update(progress=100))
    for client in clients:
        updates = await client.wait_for("task_update", 2)
        assert [body[0]["data"]["progress"] for body in updates] == [75, 100]  # type: ignore[index, call-overload]
        assert (client.connects, client.errors, client.disconnects) == (1, [], [])
    assert sum(spread(many.daemon)) == 40
    assert min(spread(many.daemon)) > 0
    given = total(many.daemon, "bridged_handovers_total", 'outcome="given"')
    assert given == total(many.daemon, "bridged_handovers_total", 'outcome="taken"') > 20
    assert total(many.daemon, "bridged_handovers_total", 'outcome="lost"') == 0


async def test_polling_alone_works_too(many: Swallowtail) -> None:
    """Of the JavaScript client, whose polls and posts come over several connections."""
    clients = await asyncio.gather(*(connect(many, transports=["polling"]) for _ in range(20)))
    large = {"instance_id": "x" * 200_000}
    for client in clients:
        assert client.transport == "polling"
        await client.call("subscribe_instance", large)
    await many.publish("task_update", many.task_update())
    for client in clients:
        await client.wait_for("task_update")
        assert (client.connects, client.errors) == (1, [])


async def test_python_clients_poll(many: Swallowtail) -> None:
    """python-socketio's, one session each."""
    clients = [socketio.AsyncClient(reconnection=False) for _ in range(10)]
    came: asyncio.Queue[object] = asyncio.Queue()
    for client in clients:
        client.on("task_update", came.put)
        await client.connect(many.daemon.url, transports=["polling"])
        answer = await client.call("subscribe_instance", {"instance_id": many.instance}, timeout=5)
        assert answer["status"] == "ok"
    await many.publish("task_update", many.task_update())
    async with asyncio.timeout(10):
        for _ in clients:
            await came.get()
    for client in clients:
        await client.disconnect()


async def test_a_client_that_vanishes_during_a_poll_is_noticed(many: Swallowtail) -> None:
    """Wherever its poll arrived: the worker of its id holds that connection."""
    many.daemon.wait_until(lambda: sum(spread(many.daemon)) == 0, 10, "the clients before to be gone")
    url = f"{many.daemon.url}/socket.io/?EIO=4&transport=polling"
    for _ in range(8):
        async with aiohttp.ClientSession() as session:
            async with session.get(url) as answer:
                sid = (await answer.text()).split('"')[3]
            async with session.post(f"{url}&sid={sid}", data="40") as answer:
                assert answer.status == 200
            async with session.get(f"{url}&sid={sid}") as answer:
                assert (await answer.text()).startswith("40")
            async with asyncio.timeout(10):
                # It may vanish before its poll has come to where it waits: the next one is noticed then.
                while await _knows(session, f"{url}&sid={sid}"):
                    await _poll_and_vanish(many.daemon.port, sid)
                    for _ in range(5):
                        await _knows(session, f"{url}&sid={sid}")
    await many.daemon.until(lambda: sum(spread(many.daemon)) == 0, 10, "the clients to be gone")


async def _knows(session: aiohttp.ClientSession, url: str) -> bool:
    """Whether the client is still there: it may send a packet that means nothing."""
    async with session.post(url, data="6") as answer:
        return answer.status == 200


async def _poll_and_vanish(port: int, sid: str) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    request = f"GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n\r\n"
    writer.write(request.encode())
    await writer.drain()
    async with aiohttp.ClientSession() as session:
        for _ in range(2):  # meanwhile the poll comes to where it waits
            url = f"http://127.0.0.1:{port}/socket.io/?EIO=4&transport=polling&sid={sid}"
            await _knows(session, url)
    writer.close()


@pytest.mark.parametrize("sid", ["1.forged", "9.forged", "0.x", "forged", "4." + "x" * 1000])
async def test_forged_ids_are_answered_as_ever(many: Swallowtail, sid: str) -> None:
    """Whatever worker they name, and whatever worker is asked."""
    for transport in ("polling", "websocket"):
        url = f"{many.daemon.url}/socket.io/?EIO=4&transport={transport}&sid={sid}"
        headers = (
            {
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            }
            if transport == "websocket"
            else {}
        )
        for _ in range(4):
            async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as answer:
                assert answer.status == 400
                assert await answer.json() == {"code": 1, "message": "Session ID unknown"}


async def test_a_session_is_found_whatever_worker_a_client_comes_back_to(many: Swallowtail) -> None:
    """Its rooms and what it missed with it: in order, once each."""
    clients = await asyncio.gather(*(connect(many, auth={"recover": True}) for _ in range(16)))
    for client in clients:
        await client.until(lambda client=client: client.transport == "websocket")  # type: ignore[misc]
    await many.publish("task_update", many.task_update(progress=1))
    for client in clients:
        await client.wait_for("task_update")
        await client.kill()
    for client in clients:
        await client.until(lambda client=client: has_dropped(client))  # type: ignore[misc]
    await many.publish("task_update", many.task_update(progress=2))
    for client in clients:
        await client.wait_connected(2, timeout=20)
    await many.publish("task_update", many.task_update(progress=3))
    for client in clients:
        updates = await client.wait_for("task_update", 3)
        assert [body[0]["data"]["progress"] for body in updates] == [1, 2, 3]  # type: ignore[index, call-overload]
        assert client.recovered


async def test_clients_come_back_when_their_worker_is_killed(many: Swallowtail) -> None:
    """To the others, or to the one that takes its place; the clients of the others notice nothing."""
    clients = await asyncio.gather(*(connect(many) for _ in range(24)))
    polls = await asyncio.gather(*(connect(many, transports=["polling"]) for _ in range(8)))
    for client in clients:
        await client.until(lambda client=client: client.transport == "websocket")  # type: ignore[misc]
    lost = spread(many.daemon)[1]
    os.kill(find_worker(many.daemon, 2), signal.SIGKILL)
    everybody = [*clients, *polls]
    async with asyncio.timeout(20):
        while sum(map(has_dropped, everybody)) < lost or not all(client.connected for client in everybody):
            await many.js.change()
    came_back = [client for client in everybody if has_dropped(client)]
    assert len(came_back) == lost > 0
    for client in came_back:
        await client.call("subscribe_instance", {"instance_id": many.instance})
    await many.publish("task_update", many.task_update())
    for client in everybody:
        await client.wait_for("task_update")
    await many.daemon.until(
        lambda: (
            many.daemon.get("/readyz")[0] == 200
            and total(many.daemon, "bridged_worker_starts") == WORKERS + 1
        ),
        20,
        "the worker to be ready again",
    )
    assert len(re.findall(r"worker\.ended", many.daemon.log)) == 1
