"""The ack tells the truth: what became of a command at the broker, and what a repetition does."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.daemon import Daemon, edit_config, free_port, unique
from tests.support.js_client import JsClients
from tests.support.portal import Portal, names, visit
from tests.support.proxy import Proxy
from tests.support.services import Services

_MESSAGE = {"content": "hello", "type": "message"}
_CONFIRM_TIMEOUT = 1.0


async def _send(portal: Portal, **fields: object) -> dict[str, object]:
    client = await portal.chat_client()
    answer = await client.call("send_message", {**_MESSAGE, **fields}, timeout=8)
    assert isinstance(answer, dict)
    return answer


async def test_ok_comes_with_the_message_id(portal: Portal) -> None:
    """`{status: ok, message_id}`, sent after the broker's confirm: the message is in the queue."""
    commands = await portal.take_commands()
    answer = await _send(portal)
    (message,) = await commands.wait_for()
    assert answer == {"status": "ok", "message_id": message.message_id}


async def test_nobody_listening_is_unroutable(portal: Portal) -> None:
    """`UNROUTABLE` when no queue is bound for the key; once there is one, the same command goes through."""
    answer = await _send(portal)
    assert (answer["status"], answer["code"]) == ("error", "UNROUTABLE")
    assert answer["message"]
    commands = await portal.take_commands()
    assert (await _send(portal))["status"] == "ok"
    assert len(await commands.wait_for()) == 1


async def test_a_full_queue_rejects(portal: Portal) -> None:
    """`REJECTED` when the service's queue takes nothing more."""
    channel = portal.services.channel
    queue = await channel.declare_queue(
        exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
    )
    await queue.bind("portal.commands", f"chat.{portal.project}.send_message")
    assert (await _send(portal))["status"] == "ok"
    answer = await _send(portal)
    assert (answer["status"], answer["code"]) == ("error", "REJECTED")


async def test_a_repetition_gets_the_first_answer(portal: Portal) -> None:
    """The same `idempotency_key` of the same user, even from another connection, publishes once."""
    commands = await portal.take_commands()
    key = unique("key")
    first = await _send(portal, idempotency_key=key)
    again = await _send(portal, idempotency_key=key)
    assert first["status"] == "ok"
    assert again == first
    another = await _send(portal, idempotency_key=unique("key"))
    assert another["message_id"] != first["message_id"]
    messages = await commands.wait_for(2)
    assert [message.message_id for message in messages] == [first["message_id"], another["message_id"]]
    assert b"idempotency_key" not in messages[0].body


async def test_a_key_belongs_to_its_user(portal: Portal) -> None:
    """Another user's equal key is another command."""
    commands = await portal.take_commands()
    await _send(portal, idempotency_key="same")
    bob = await portal.chat_client(user=unique("bob"))
    await bob.call("send_message", {**_MESSAGE, "idempotency_key": "same"})
    assert len({message.message_id for message in await commands.wait_for(2)}) == 2


async def test_a_key_in_flight_is_waited_for(portal: Portal) -> None:
    """Two equal commands at the same time: one message, one answer for both."""
    commands = await portal.take_commands()
    clients = [await portal.chat_client() for _ in range(3)]
    sent = {**_MESSAGE, "idempotency_key": unique("key")}
    answers = await asyncio.gather(*(client.call("send_message", sent) for client in clients))
    assert answers[0] == answers[1] == answers[2]
    await _send(portal)
    assert len(await commands.wait_for(2)) == 2


@pytest.fixture(scope="module")
def proxy_port() -> int:
    """Where the proxy before the broker listens, for the daemon of this module."""
    return free_port()


@pytest.fixture(scope="module")
def faulty_url(amqp_urls: Iterator[str]) -> str:
    """The virtual host of this module's daemon."""
    return next(amqp_urls)


@pytest_asyncio.fixture(loop_scope="session")
async def proxy(faulty_url: str, proxy_port: int) -> AsyncIterator[Proxy]:
    """A proxy before the broker that a test may break; without it the broker is away."""
    proxy = Proxy.before(faulty_url)
    proxy.port = proxy_port
    async with proxy:
        yield proxy


@pytest.fixture(scope="module")
def faulty_daemon(
    tmp_path_factory: pytest.TempPathFactory, faulty_url: str, proxy_port: int
) -> Iterator[Daemon]:
    """A daemon that reaches the broker through the proxy alone, with a short time for confirms."""
    folder: Path = tmp_path_factory.mktemp("acks")
    config = edit_config(folder, bridge={"amqp.confirm_timeout": f"{_CONFIRM_TIMEOUT}s"})
    vhost = faulty_url.rpartition("/")[2]
    daemon = Daemon(folder, f"amqp://guest:guest@127.0.0.1:{proxy_port}/{vhost}", config)
    yield daemon
    assert daemon.stop() == 0


@pytest_asyncio.fixture(loop_scope="session")
async def faulty(
    proxy: Proxy, faulty_daemon: Daemon, faulty_url: str, js: JsClients
) -> AsyncIterator[Portal]:
    """The portal behind the proxy, ready."""
    if not faulty_daemon.started:
        await asyncio.to_thread(faulty_daemon.start)
    await _until_broker(faulty_daemon, up=True)
    async with visit(faulty_daemon, faulty_url, js) as portal:
        yield portal


async def _until_broker(daemon: Daemon, *, up: bool) -> None:
    wanted = {float(up)}

    def holds() -> bool:
        metrics = daemon.metrics()
        return {
            metrics.get(f'bridged_broker_up{{connection="{name}"}}') for name in ("read", "publish")
        } == wanted

    await daemon.until(holds, 30, "the broker to be up" if up else "the broker to be down")


async def test_no_confirm_is_an_unknown_outcome(faulty: Portal, proxy: Proxy) -> None:
    """`UNKNOWN_OUTCOME` when the message was sent and no confirm came; a repetition keeps its message id."""
    commands = await faulty.take_commands()
    key = unique("key")
    proxy.hold("to_client")
    answer = await _send(faulty, idempotency_key=key)
    assert (answer["status"], answer["code"]) == ("error", "UNKNOWN_OUTCOME")
    (lost,) = await commands.wait_for()
    proxy.pass_on()
    again = await _send(faulty, idempotency_key=key)
    assert again == {"status": "ok", "message_id": lost.message_id}
    messages = await commands.wait_for(2)
    assert [message.message_id for message in messages] == [lost.message_id] * 2
    assert [json.loads(message.body)["message_id"] for message in messages] == [lost.message_id] * 2


async def test_a_connection_lost_in_between_is_an_unknown_outcome(faulty: Portal, proxy: Proxy) -> None:
    """A message that was on its way when the connection broke may or may not have arrived."""
    commands = await faulty.take_commands()
    client = await faulty.chat_client()
    proxy.hold("to_client")
    waiting = asyncio.create_task(client.call("send_message", _MESSAGE))
    await commands.wait_for()
    proxy.reset()
    proxy.pass_on()
    answer = await waiting
    assert isinstance(answer, dict)
    assert (answer["status"], answer["code"]) == ("error", "UNKNOWN_OUTCOME")


async def test_without_a_broker_nothing_is_sent(faulty: Portal, proxy: Proxy) -> None:
    """`BROKER_UNAVAILABLE` at once while it is away; the sockets stay, and afterwards all goes on."""
    commands = await faulty.take_commands()
    client = await faulty.chat_client()
    async with _Away(proxy):
        await _until_broker(faulty.daemon, up=False)
        sent = {**_MESSAGE, "idempotency_key": unique("key")}
        answer = await client.call("send_message", sent, timeout=1)
        assert isinstance(answer, dict)
        assert (answer["status"], answer["code"]) == ("error", "BROKER_UNAVAILABLE")
        error = (await client.wait_for("error"))[0][0]
        assert isinstance(error, dict)
        assert (error["type"], error["code"]) == ("server", "BROKER_UNAVAILABLE")
    await _until_broker(faulty.daemon, up=True)
    answer = await client.call("send_message", sent)
    assert isinstance(answer, dict)
    assert answer["status"] == "ok"
    assert len(await commands.wait_for()) == 1
    assert client.connects == 1
    assert names(client) == ["error"]


async def test_commands_that_need_no_broker_work_without_it(faulty: Portal, proxy: Proxy) -> None:
    """Joining, leaving and subscribing go on while the broker is away."""
    client = await faulty.connect("/portal")
    async with _Away(proxy):
        await _until_broker(faulty.daemon, up=False)
        await client.emit("join_project", {"project_name": faulty.project})
        await client.wait_for("joined_project")
    await _until_broker(faulty.daemon, up=True)
    async with Services(faulty.services.amqp_url) as services:
        await services.publish(f"project.{faulty.project}.state_change", faulty.state_change())
    await client.wait_for("state_change")


class _Away:
    """`async with`: the broker's address answers nobody, as far as the daemon sees."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    async def __aenter__(self) -> None:
        await self._proxy.__aexit__(None, None, None)

    async def __aexit__(self, *_: object) -> None:
        await self._proxy.__aenter__()
