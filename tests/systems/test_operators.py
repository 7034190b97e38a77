"""Orders to all instances, and what outlives the log: instances that run, and those that start later."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Final

import aio_pika
import aiormq
import pytest
import pytest_asyncio

from tests.support.daemon import Daemon, edit_config, make_token, unique
from tests.support.js_client import JsClient, JsClients, JsConnectError
from tests.support.portal import Portal, names
from tests.support.services import Services

LOG: Final = "bridge.events"
STATE: Final = "bridge.state"

MakeDaemon = Callable[..., Daemon]


@pytest.fixture
def url(amqp_urls: Iterator[str]) -> str:
    """A virtual host of the test's own."""
    return next(amqp_urls)


@pytest_asyncio.fixture(loop_scope="session")
async def services(url: str, js: JsClients) -> AsyncIterator[Services]:
    """The services beside the daemons."""
    async with Services(url) as services:
        yield services
        await js.close_all()


@pytest.fixture
def make_daemon(tmp_path: Path, url: str) -> Iterator[MakeDaemon]:
    """Makes daemons of one virtual host, which are stopped at the end; keywords change the configuration."""
    daemons: list[Daemon] = []

    def make(**edits: object) -> Daemon:
        folder = tmp_path / str(len(daemons))
        folder.mkdir()
        config = edit_config(folder, bridge={"instances": {"heartbeat": "500ms"}, **edits})
        daemons.append(Daemon(folder, url, config))
        return daemons[-1]

    yield make
    for daemon in daemons:
        daemon.stop()


async def start(daemon: Daemon, js: JsClients, services: Services, like: Portal | None = None) -> Portal:
    """Start a daemon; its portal is that of another where one is given: project and user are the same."""
    await asyncio.to_thread(daemon.start)
    portal = Portal(daemon, js, services)
    if like is not None:
        portal.project, portal.user = like.project, like.user
    return portal


async def order(services: Services, key: str, body: str, *, stamped: bool = True) -> None:
    """Publish what an operator does; with its time, as `bridged publish` does, unless told otherwise."""
    exchange = await services.channel.get_exchange("bridge.control", ensure=False)
    at = int(time.time()) if stamped else None
    await exchange.publish(aio_pika.Message(body.encode(), timestamp=at), key)


async def delete_log(url: str) -> None:
    """Lose all that the log holds, as if it were trimmed."""
    connection = await aiormq.connect(url)
    try:
        channel = await connection.channel()
        await channel.queue_delete(LOG)
    finally:
        await connection.close()


async def refused(portal: Portal, token: str) -> str | None:
    """The code with which a token is refused; None when it is let in."""
    try:
        client = await portal.connect("/portal", token=token)
    except JsConnectError as error:
        return str(error.data["code"]) if isinstance(error.data, dict) else error.message
    await client.close()
    return None


@pytest.mark.parametrize("stamped", [True, False], ids=["with a time", "without"])
async def test_every_instance_obeys_at_once_and_one_that_starts_later_too(
    make_daemon: MakeDaemon, js: JsClients, services: Services, url: str, stamped: bool
) -> None:
    """A revocation: all sessions end, old tokens are refused, later ones are welcome; without any log."""
    one = await start(make_daemon(), js, services)
    two = await start(make_daemon(), js, services, one)
    old = make_token(one.user, projects=[one.project], iat=int(time.time()) - 60)
    clients = [await portal.connect("/portal", token=old) for portal in (one, two)]
    other = await two.connect("/portal", user=unique("bob"))
    await order(services, "user.revoke", f'{{"user": "{one.user}", "tenant": "default"}}', stamped=stamped)
    ordered = time.time()
    for client in clients:
        assert await client.wait_disconnected() == "io server disconnect"
        assert client.received("token_revoked") == [[{"message": "The token has been revoked"}]]
    assert other.disconnects == []
    if not stamped:
        # The eldest gives it a time, within 10 s.
        await one.daemon.until(lambda: "state.written_again" in one.daemon.log, 15, "the order to be stamped")

    for portal in (one, two):
        assert await asyncio.to_thread(portal.daemon.stop) == 0
    await delete_log(url)
    three = await start(make_daemon(), js, services, one)
    assert await refused(three, old) == "INVALID_TOKEN"
    assert await refused(three, make_token(one.user, projects=[one.project])) == "INVALID_TOKEN"
    await asyncio.sleep(max(0.0, ordered // 1 + 1 - time.time()))  # tokens of the same second are refused
    later = make_token(one.user, projects=[one.project], iat=int(time.time()))
    assert await refused(three, later) is None


async def test_a_gap_in_the_log_ends_nobody_for_an_order_that_was_obeyed(
    make_daemon: MakeDaemon, js: JsClients, services: Services, url: str
) -> None:
    """One without a time is read again, from the state, and is no younger for that."""
    portal = await start(make_daemon(), js, services)
    daemon, revoke = portal.daemon, f'{{"user": "{portal.user}", "tenant": "default"}}'
    await order(services, "user.revoke", revoke, stamped=False)
    await daemon.until(lambda: "control.obeyed" in daemon.log, 5, "the order to be read")
    obeyed = time.time()
    await daemon.until(lambda: "state.written_again" in daemon.log, 15, "the order to be stamped")
    await asyncio.sleep(max(0.0, obeyed // 1 + 1 - time.time()))  # tokens of the same second are refused
    later = make_token(portal.user, projects=[portal.project], iat=int(time.time()))
    client = await portal.connect("/portal", token=later)
    await delete_log(url)
    await daemon.until(lambda: daemon.log.count("state.read") == 2, 15, "the state to be read again")
    await daemon.until(lambda: daemon.get("/readyz")[0] == 200, 15, "the log to be read again")
    assert await refused(portal, later) is None
    assert client.received("token_revoked") == []
    assert daemon.log.count("control.obeyed") == 1


async def test_orders_are_obeyed_within_a_second(
    make_daemon: MakeDaemon, js: JsClients, services: Services
) -> None:
    """From the publishing to the last client's disconnect, at every instance; as a rule, since the machine of
    the tests has others to serve, too."""
    portals = [await start(make_daemon(), js, services) for _ in range(2)]
    times = []
    for key, more in [("user.disconnect", ""), ("user.revoke", ""), ("user.ban", ', "seconds": 60')] * 3:
        user = unique("ann")
        clients = [await portal.connect("/portal", user=user) for portal in portals]
        published = time.monotonic()
        await order(services, key, f'{{"user": "{user}"{more}}}')
        await asyncio.gather(*(client.wait_disconnected() for client in clients))
        times.append(time.monotonic() - published)
    assert median(times) < 1, times


async def test_a_ban_and_a_disconnection_reach_every_instance(
    make_daemon: MakeDaemon, js: JsClients, services: Services
) -> None:
    """Of one system, or of one namespace; who was disconnected may come back."""
    one = await start(make_daemon(), js, services)
    two = await start(make_daemon(), js, services, one)
    project, portal = await one.project_client(), await two.connect("/portal")
    await order(services, "user.disconnect", f'{{"user": "{one.user}", "namespace": "/project/{{project}}"}}')
    assert await project.wait_disconnected() == "io server disconnect"
    assert portal.disconnects == []
    again = await one.project_client()
    await order(services, "user.ban", f'{{"user": "{one.user}", "seconds": 600, "system": "portal"}}')
    for client in (again, portal):
        await client.wait_disconnected()
        (error,) = client.received("error")[-1]
        assert isinstance(error, dict)
        assert error["code"] == "BANNED"
    assert await refused(one, one.token()) == await refused(two, one.token()) == "BANNED"
    await order(services, "user.ban", f'{{"user": "{one.user}", "seconds": 0, "system": "portal"}}')
    for each in (one, two):
        await each.daemon.until(lambda each=each: each.daemon.log.count("user.ban") == 2, 5, "the ban to end")
        assert await refused(each, one.token()) is None


async def test_an_evicted_room_is_left_on_every_instance(
    make_daemon: MakeDaemon, js: JsClients, services: Services
) -> None:
    """Its members receive its events no more, and may join it again."""
    one = await start(make_daemon(), js, services)
    two = await start(make_daemon(), js, services, one)
    clients = []
    for portal in (one, two):
        client = await portal.connect("/portal")
        await client.call("join_project", {"project_name": one.project})
        clients.append(client)
    witnesses = [await portal.project_client(user=unique("bob")) for portal in (one, two)]
    await order(services, "room.evict", f'{{"room": "project:{one.project}", "system": "portal"}}')
    await one.publish("state_change", one.state_change("unseen"))
    for witness in witnesses:
        await witness.wait_for("state_change")
    for client in clients:
        await client.call("join_project", {"project_name": one.project})
    await one.publish("state_change", one.state_change("seen"))
    for client in clients:
        ((change,),) = await client.wait_for("state_change")
        assert isinstance(change, dict)
        assert change["new_state"] == "seen"


async def test_retained_values_survive_a_restart_and_the_loss_of_the_log(
    make_daemon: MakeDaemon, js: JsClients, services: Services, url: str
) -> None:
    """Who joins receives the last one at once; what is remembered of retained events is there too."""
    daemon = make_daemon()
    portal = await start(daemon, js, services)
    watcher = await portal.project_client()
    await portal.tell(watcher, "FIRST")
    await portal.tell(watcher, "LAST")
    assert await asyncio.to_thread(daemon.stop) == 0
    await delete_log(url)
    await asyncio.to_thread(daemon.start)

    client = await portal.project_client(user=unique("bob"))
    ((change,),) = await client.wait_for("state_change")
    assert isinstance(change, dict)
    assert change["new_state"] == "LAST"
    await client.call("join_project", {"project_name": portal.project})
    ((joined,),) = await client.wait_for("joined_project")
    assert isinstance(joined, dict)
    assert joined["current_state"] == "LAST"
    await portal.tell(client, "NEXT")
    assert names(client) == ["state_change", "joined_project", "state_change"]


async def test_the_state_is_written_again_before_its_stream_drops_it(
    make_daemon: MakeDaemon, js: JsClients, services: Services, url: str
) -> None:
    """A value and a revocation stay, however much other values push them out of tiny bounds."""
    daemon = make_daemon(amqp={"url": "${AMQP_URL}", "state": {"max_bytes": "200kB"}})
    portal = await start(daemon, js, services)
    watcher = await portal.project_client()
    await portal.tell(watcher, "KEPT")
    other = Portal(daemon, js, services)
    await order(services, "user.revoke", f'{{"user": "{other.user}", "tenant": "default"}}')
    old = make_token(other.user, projects=[other.project], iat=int(time.time()) - 60)
    for number in range(1500):
        await other.publish("state_change", other.state_change(f"{number}" + "x" * 800))
    last: JsClient = await other.project_client(user=unique("bob"))
    await other.tell(last, "LAST")
    assert await asyncio.to_thread(daemon.stop) == 0
    await delete_log(url)
    await asyncio.to_thread(daemon.start)

    (read,) = [line for line in daemon.log.splitlines() if "state.read" in line][1:]
    assert int(read.partition("messages=")[2]) < 1000, "the stream has dropped most of it"
    for each, value in ((portal, "KEPT"), (other, "LAST")):
        client = await each.project_client(user=unique("bob"))
        ((change,),) = await client.wait_for("state_change")
        assert isinstance(change, dict)
        assert change["new_state"] == value
    assert await refused(other, old) == "INVALID_TOKEN"


async def test_without_streams_orders_and_values_hold_as_long_as_an_instance_runs(
    make_daemon: MakeDaemon, js: JsClients, services: Services
) -> None:
    """`source: queue` has no state: the start says so, and a new instance knows nothing."""
    source = {"url": "${AMQP_URL}", "source": "queue"}
    one = await start(make_daemon(amqp=source), js, services)
    assert "state.none" in one.daemon.log
    watcher = await one.project_client()
    await one.tell(watcher, "LAST")
    joiner = await one.project_client()
    await joiner.wait_for("state_change")
    old = make_token(one.user, projects=[one.project], iat=int(time.time()) - 60)
    await order(services, "user.revoke", f'{{"user": "{one.user}", "tenant": "default"}}')
    await watcher.wait_disconnected()
    assert await refused(one, old) == "INVALID_TOKEN"
    two = await start(make_daemon(amqp=source), js, services, one)
    assert await refused(two, old) is None
