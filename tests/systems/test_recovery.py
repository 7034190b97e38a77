"""Connection state recovery and `since` on one daemon, as the official clients see them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import socketio

from tests.support.daemon import Daemon, edit_config
from tests.support.follower import Follower, Updates
from tests.support.js_client import JsClient, JsClients
from tests.support.portal import Portal, visit

TRANSPORTS = [["websocket"], ["polling"], ["polling", "websocket"]]


@pytest.fixture(scope="module")
def own_url(amqp_urls: Iterator[str]) -> str:
    """A virtual host of its own."""
    return next(amqp_urls)


_UNHURRIED = {"limits.rate": ["1000/s"], "limits.connections_per_user": 100}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, own_url: str) -> Iterator[Daemon]:
    """A daemon that lets its users hurry."""
    folder = tmp_path_factory.mktemp("recovery")
    daemon = Daemon(folder, own_url, edit_config(folder, portal=_UNHURRIED))
    daemon.start()
    yield daemon
    assert daemon.stop() == 0


@pytest_asyncio.fixture(loop_scope="session")
async def forgetful(tmp_path: Path, amqp_urls: Iterator[str], js: JsClients) -> AsyncIterator[Portal]:
    """Browsers and services around a daemon with a small history, on a broker of its own."""
    url = next(amqp_urls)
    config = edit_config(tmp_path, bridge={"history": {"max_bytes": "2MB"}}, portal=_UNHURRIED)
    daemon = Daemon(tmp_path, url, config)
    await asyncio.to_thread(daemon.start)
    async with visit(daemon, url, js) as portal:
        yield portal
    await asyncio.to_thread(daemon.stop)


@pytest_asyncio.fixture(loop_scope="session")
async def portal(daemon: Daemon, own_url: str, js: JsClients) -> AsyncIterator[Portal]:
    """Browsers and services around it."""
    async with visit(daemon, own_url, js) as portal:
        yield portal


@pytest.fixture
def updates(portal: Portal) -> Updates:
    """The events of the test's project."""
    return Updates(portal)


@pytest.mark.parametrize("transports", TRANSPORTS, ids="+".join)
async def test_a_client_recovers_again_and_again(
    portal: Portal, updates: Updates, transports: list[str]
) -> None:
    """Every time with its sid, and each event once and in order, with a cursor as its last argument."""
    follower = await Follower.connect(portal, transports=transports)
    sid = follower.client.sid
    await follower.has(await updates.publish(3))
    for _ in range(3):
        await follower.drop()
        await updates.publish(3)
        assert await follower.come_back()
        assert follower.client.sid == sid
        await follower.has(await updates.publish(2))
    assert all(isinstance(cursor, str) for cursor in follower.cursors)
    assert len(set(follower.cursors)) == updates.published


async def test_a_session_that_received_no_event_recovers(portal: Portal, updates: Updates) -> None:
    """The client names no offset then: it misses all since the session's start."""
    follower = await Follower.connect(portal)
    await follower.drop()
    wanted = await updates.publish(2)
    assert await follower.come_back()
    await follower.has(wanted)


async def test_nothing_changes_for_clients_that_do_not_ask(portal: Portal, updates: Updates) -> None:
    """They get exactly the documented arguments, beside one that recovers."""
    follower = await Follower.connect(portal)
    client = await portal.project_client()
    await updates.publish(1)
    ((update,),) = await client.wait_for("task_update")
    assert isinstance(update, dict)
    await follower.has([0])
    await client.drop()
    await updates.publish(1)
    await client.wait_connected(times=2)
    assert not client.recovered
    await updates.publish(1)
    await client.wait_for("task_update", 2)
    assert [args[0]["progress"] for args in client.received("task_update")] == [0, 2]


async def test_rooms_and_their_marks_recover(portal: Portal) -> None:
    """A room that was joined by command is still there, and its members are told of no coming and going."""
    auth = {"token": portal.token(), "recover": True}
    client = await portal.js.connect(
        f"{portal.daemon.url}/portal", auth=auth, transports=["websocket"], reconnectionDelay=50
    )
    other = await portal.connect("/portal", user="bob")
    for each in (other, client):
        await each.emit("join_project", {"project_name": portal.project})
        await each.wait_for("joined_project")
    await other.wait_for("user_joined")
    follower = Follower(client)
    await follower.drop()
    assert await follower.come_back()
    answer = await other.call("leave_project", {"project_name": portal.project})
    assert isinstance(answer, dict)
    await client.wait_for("user_left")
    assert other.received("user_left") == []
    assert len(other.received("user_joined")) == 1


async def test_an_offset_older_than_the_history_is_not_recovered(forgetful: Portal) -> None:
    """The client is told, and there is no gap that it does not know of."""
    updates = Updates(forgetful)
    follower = await Follower.connect(forgetful, options={"reconnection": False})
    await follower.has(await updates.publish(1))
    await follower.drop()
    bystander = await forgetful.project_client()
    await updates.publish(40, size=100_000)
    await bystander.wait_for("task_update", 40)
    await follower.client.reconnect()
    assert not await follower.come_back()
    await updates.publish(1)
    await follower.client.wait_for("task_update", 2)
    assert follower.numbers == [0, 41]


async def test_a_stale_connection_gives_way(portal: Portal, updates: Updates) -> None:
    """The server has not missed it yet: it is cut, and its session goes on elsewhere, once."""
    stale = await Follower.connect(portal, options={"reconnection": False})
    await stale.has(await updates.publish(2))
    pid, offset = await stale.client.session()
    back = await Follower.connect(portal, pid=pid, offset=offset)
    assert back.client.sid == stale.client.sid
    await stale.client.wait_disconnected()
    await updates.publish(1)
    await back.client.wait_for("task_update")
    assert back.numbers == [2]
    assert stale.numbers == [0, 1]


async def test_a_stolen_pid_is_of_no_use(portal: Portal, updates: Updates) -> None:
    """Another user gets a session of its own, and nothing of this one's; its owner notices nothing."""
    follower = await Follower.connect(portal)
    await follower.has(await updates.publish(2))
    pid, offset = await follower.client.session()
    thief = await Follower.connect(portal, pid=pid, offset=offset, token=portal.token(user="eve"))
    assert thief.client.sid != follower.client.sid
    assert (await thief.client.session())[0] != pid
    await follower.has(await updates.publish(1))
    assert follower.client.disconnects == []
    assert thief.numbers == [2] or await thief.client.wait_for("task_update")


async def test_who_lost_access_gets_nothing(portal: Portal, updates: Updates) -> None:
    """Admission is asked anew with the token that is shown now."""
    auth = {"token": portal.token(projects=[portal.project]), "recover": True}
    client = await portal.js.connect(
        f"{portal.daemon.url}/portal", auth=auth, transports=["websocket"], reconnectionDelay=50
    )
    await client.emit("join_project", {"project_name": portal.project})
    await client.wait_for("joined_project")
    follower = Follower(client)
    await follower.drop()
    await client.reconnect({**auth, "token": portal.token(projects=["another"])})
    other = await portal.connect("/portal", user="bob")
    await other.emit("join_project", {"project_name": portal.project})
    assert not await follower.come_back()
    await other.wait_for("joined_project")
    assert client.received("user_joined") == []


async def test_a_slow_reader_gets_more_than_may_wait_for_it(portal: Portal, updates: Updates) -> None:
    """In portions, with live events behind them; others are not kept waiting."""
    follower = await Follower.connect(portal)
    await follower.has(await updates.publish(1))
    await follower.drop()
    await updates.publish(60, size=90_000)
    assert await follower.come_back()
    await follower.client.freeze()
    bystander = await portal.project_client()
    await updates.publish(20)
    await bystander.wait_for("task_update", 20)
    await follower.client.thaw()
    await follower.has(await updates.publish(1), within=30)
    assert len(follower.client.disconnects) == 1


async def test_a_join_with_since_recovers_any_client(portal: Portal) -> None:
    """Without any opt-in: by the offset of an answer, or by an age; ack and event carry the outcome."""
    client = await portal.connect("/portal")
    watch = {"events": ["task_update"], "project_name": portal.project}
    first = await client.call("subscribe_to_events", {**watch, "since": "0s"})
    assert isinstance(first, dict)
    assert first["recovered"] is True
    await client.disconnect()
    updates = Updates(portal)
    await updates.publish(3)
    bystander = await portal.connect("/portal", user="bob")
    await bystander.call("subscribe_to_events", watch)
    await updates.publish(1)
    await bystander.wait_for("task_update")
    await client.reconnect()
    await client.wait_connected(times=2)
    again = await client.call("subscribe_to_events", {**watch, "since": first["offset"]})
    assert isinstance(again, dict)
    assert again == {"status": "ok", "recovered": True, "offset": again["offset"]}
    assert Follower(client).numbers == [0, 1, 2, 3]
    by_age = await portal.connect("/portal", user="carl")
    await by_age.call("subscribe_to_events", {**watch, "since": "30s"})
    assert Follower(by_age).numbers == [0, 1, 2, 3]
    lost = await bystander.call("subscribe_to_events", {**watch, "since": "1-00000000"})
    assert isinstance(lost, dict)
    assert lost["recovered"] is False
    refused = await bystander.call("subscribe_to_events", {**watch, "since": {"$gt": 0}})
    assert isinstance(refused, dict)
    assert refused["code"] == "VALIDATION_FAILED"
    ((joined,),) = await _join(bystander, portal, since="0s")
    assert isinstance(joined, dict)
    assert joined["recovered"] is True
    assert isinstance(joined["offset"], str)


async def _join(client: JsClient, portal: Portal, **fields: object) -> list[list[object]]:
    await client.emit("join_project", {"project_name": portal.project, **fields})
    return await client.wait_for("joined_project")


async def test_since_on_connect_recovers_the_rooms_that_one_is_in_by_itself(
    portal: Portal, updates: Updates
) -> None:
    """With the CONNECT packet saying so; the python client shows what any other can do with it."""
    follower = await Follower.connect(portal)
    await follower.has(await updates.publish(3))
    namespace = f"/project/{portal.project}"
    for since, wanted in ((follower.cursors[0], [1, 2]), ("30s", [0, 1, 2])):
        client = socketio.AsyncClient(reconnection=False)
        arrived: asyncio.Queue[dict[str, int]] = asyncio.Queue()
        client.on("task_update", arrived.put_nowait, namespace=namespace)
        await client.connect(
            portal.daemon.url,
            namespaces=[namespace],
            auth={"token": portal.token(user="bob"), "since": since},
            transports=["websocket"],
        )
        async with asyncio.timeout(5):
            assert [(await arrived.get())["progress"] for _ in wanted] == wanted
        await client.disconnect()


async def test_a_log_that_begins_anew_is_told(forgetful: Portal) -> None:
    """Its stream is deleted under the reader: all clients are sent back, with cursors and without."""
    portal, updates = forgetful, Updates(forgetful)
    follower = await Follower.connect(portal)
    plain = await portal.connect("/portal")
    await follower.has(await updates.publish(2))
    await portal.services.channel.queue_delete("bridge.events")
    await follower.client.wait_disconnected()
    assert not await follower.come_back()
    await plain.wait_connected(times=2, timeout=15)
    assert plain.disconnects == ["transport close"]
    await updates.publish(1)
    await follower.client.wait_for("task_update", 3)
    assert follower.numbers == [0, 1, 2]
