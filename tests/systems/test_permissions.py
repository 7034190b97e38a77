"""The permissions of docs/operations.md, as they stand there, with users of the broker who have no others."""

import asyncio
import re
import shlex
from collections.abc import AsyncIterator, Iterator
from typing import Final

import aio_pika
import pytest
import pytest_asyncio
from aiormq.exceptions import ChannelAccessRefused

from bridge.cli.exits import Exit
from dev.broker import PrivateBroker
from tests.support.command import run_bridged
from tests.support.daemon import ROOT, Daemon
from tests.support.js_client import JsClients
from tests.support.portal import Portal, visit

PASSWORD: Final = "of-tests"
DOCUMENT: Final = ROOT / "docs" / "operations.md"


def _find_commands() -> list[list[str]]:
    """The `rabbitmqctl` commands of the document, as a shell takes them apart."""
    text = DOCUMENT.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"^rabbitmqctl (set_(?:topic_)?permissions .*)$", text, re.MULTILINE)
    return [shlex.split(line) for line in lines]


@pytest.fixture(scope="module")
def vhost(broker: PrivateBroker, amqp_urls: Iterator[str]) -> str:
    """A virtual host in which the users of the document have what the document gives them."""
    name = next(amqp_urls).rpartition("/")[2]
    commands = _find_commands()
    for user in dict.fromkeys(command[3] for command in commands):
        broker.rabbitmqctl("add_user", user, PASSWORD)
    for command, option, _, *more in commands:
        broker.rabbitmqctl(command, option, name, *more)
    return name


@pytest.fixture(scope="module")
def daemon(broker: PrivateBroker, vhost: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The daemon as shipped, as the user `bridged`."""
    url = _url(broker, vhost, "bridged")
    daemon = Daemon(tmp_path_factory.mktemp("permitted"), url)
    daemon.start()
    yield daemon
    assert daemon.stop() == 0
    assert "ACCESS_REFUSED" not in daemon.log


@pytest_asyncio.fixture(loop_scope="session")
async def portal(daemon: Daemon, broker: PrivateBroker, vhost: str, js: JsClients) -> AsyncIterator[Portal]:
    """Browsers, and services as the user `orchestrator`."""
    async with visit(daemon, _url(broker, vhost, "orchestrator"), js) as portal:
        yield portal


def _url(broker: PrivateBroker, vhost: str, user: str) -> str:
    return f"{broker.url.replace('guest:guest', f'{user}:{PASSWORD}')}/{vhost}"


async def _may_publish(url: str, exchange: str, key: str) -> bool:
    """Whether a user may publish to an exchange under a key."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        target = (
            channel.default_exchange if not exchange else await channel.get_exchange(exchange, ensure=False)
        )
        try:
            await target.publish(aio_pika.Message(b"{}"), key, mandatory=False)
        except ChannelAccessRefused:
            return False
        return True


async def _may_bind(url: str, queue: str, exchange: str, key: str) -> bool:
    """Whether a user may have a queue of its own and bind it."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        try:
            declared = await channel.declare_queue(queue, exclusive=True)
            await declared.bind(exchange, key)
        except ChannelAccessRefused:
            return False
        return True


async def test_the_bridge_and_its_services_work_with_exactly_these(portal: Portal) -> None:
    """Events, retained ones among them, commands, presence; the daemon's log knows of no refusal."""
    client = await portal.project_client(permissions=["approvals:write"])
    await portal.tell(client)
    commands = portal.services.channel
    queue = await commands.declare_queue("orchestrator.commands", exclusive=True)
    await queue.bind("portal.commands", "#")
    ack = await client.call("resolve_approval", {"request_id": "r-1", "approved": True})
    assert isinstance(ack, dict)
    assert ack["status"] == "ok"
    assert await queue.get(timeout=5) is not None
    await client.call("join_project", {"project_name": portal.project})
    later = await portal.project_client()
    assert await later.wait_for("state_change")


async def test_the_bridge_may_prune(portal: Portal, broker: PrivateBroker, vhost: str) -> None:
    """What is bound to its streams, from exchanges that it may read; else it says what it lacks."""
    for exchange, code in (("portal.events", Exit.OK), ("old.events", Exit.REFUSED)):
        async with await aio_pika.connect(f"{broker.url}/{vhost}") as admin:
            channel = await admin.channel()
            await channel.declare_exchange(exchange, "topic", durable=True)
            await (await channel.get_queue("bridge.events", ensure=False)).bind(exchange, "gone")
        listed = await asyncio.to_thread(
            broker.rabbitmqctl, "list_bindings", "-p", vhost, "--formatter", "json"
        )
        environ = {"AMQP_URL": _url(broker, vhost, "bridged")}
        done = await asyncio.to_thread(run_bridged, "prune", environ=environ, stdin=listed)
        assert done.returncode == code, done.stderr
    assert "old.events" in done.stderr


async def test_an_operator_gives_orders_with_bridged_publish(
    portal: Portal, broker: PrivateBroker, vhost: str
) -> None:
    """As the document has it."""
    client = await portal.project_client()
    done = await asyncio.to_thread(
        run_bridged,
        *("publish", "bridge.control", "user.disconnect"),
        *("--body", f'{{"user": "{portal.user}"}}'),
        environ={"AMQP_URL": _url(broker, vhost, "operator")},
    )
    assert done.returncode == 0, done.stderr
    assert await client.wait_disconnected() == "io server disconnect"


@pytest.mark.parametrize(
    ("user", "exchange", "key", "may"),
    [
        ("operator", "bridge.control", "user.revoke", True),
        ("operator", "bridge.state", "user.revoke", False),
        ("operator", "bridge.log", "instance.heartbeat", False),
        ("operator", "portal.events", "project.a.state_change", False),
        ("helpdesk", "bridge.control", "user.disconnect", True),
        ("helpdesk", "bridge.control", "user.ban", False),
        ("orchestrator", "portal.events", "project.a.state_change", True),
        ("orchestrator", "summit.events", "a", False),
        ("orchestrator", "bridge.control", "user.revoke", False),
        ("orchestrator", "bridge.log", "presence.joined", False),
        ("orchestrator", "bridge.state", "user.revoke", False),
        ("orchestrator", "bridge.instances", "all", False),
        ("orchestrator", "bridge.presence", "query", False),
        ("orchestrator", "", "bridge.events", False),
        ("producer", "bridge.presence", "query", True),
        ("producer", "bridge.presence", "portal.vacated", False),
        ("graphs", "bridge.control", "user.revoke", False),
        ("graphs", "", "amq.rabbitmq.reply-to.nobody", True),
        ("bridged", "bridge.control", "user.revoke", False),
    ],
)
@pytest.mark.usefixtures("daemon")
async def test_who_may_publish_what(
    broker: PrivateBroker, vhost: str, user: str, exchange: str, key: str, may: bool
) -> None:
    """The broker refuses the rest."""
    assert await _may_publish(_url(broker, vhost, user), exchange, key) is may


@pytest.mark.parametrize(
    ("user", "queue", "exchange", "key", "may"),
    [
        ("orchestrator", "orchestrator.q", "portal.commands", "#", True),
        ("orchestrator", "orchestrator.q", "summit.commands", "#", False),
        ("orchestrator", "orchestrator.q", "portal.events", "#", False),
        ("orchestrator", "orchestrator.q", "bridge.control", "#", False),
        ("orchestrator", "bridge.live.x", "portal.commands", "#", False),
        ("producer", "producer.q", "bridge.presence", "portal.#", True),
        ("producer", "producer.q", "bridge.presence", "#", False),
        ("operator", "operator.q", "bridge.control", "#", False),
    ],
)
async def test_who_may_listen_to_what(
    daemon: Daemon,
    broker: PrivateBroker,
    vhost: str,
    user: str,
    queue: str,
    exchange: str,
    key: str,
    may: bool,
) -> None:
    """Queues of one's own, bound to what one may read."""
    assert await _may_bind(_url(broker, vhost, user), queue, exchange, key) is may


async def test_orders_put_into_the_log_by_its_name_are_passed_over(
    portal: Portal, broker: PrivateBroker, vhost: str
) -> None:
    """`graphs` may write to the default exchange, which knows every queue: orders come by another."""
    client = await portal.project_client()
    url = _url(broker, vhost, "graphs")
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        for stream in ("bridge.events", "bridge.state"):
            for key in ("user.revoke", stream):
                body = f'{{"user": "{portal.user}"}}'.encode()
                message = aio_pika.Message(body, type=key, headers={"exchange": "bridge.control"})
                await channel.default_exchange.publish(message, stream)
    await portal.tell(client)
    assert client.disconnects == []
