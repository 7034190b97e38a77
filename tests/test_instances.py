"""Two instances in one process around a real broker: they ask one another, and are back after every loss."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from msgspec import Struct
from structlog.testing import capture_logs

from bridge.app import App
from dev.broker import PrivateBroker
from tests.support.amqp import until
from tests.support.daemon import free_port
from tests.support.rules import compile_project

ROUTES = """
    exchange: shop.events
    commands_exchange: shop.commands
    schemas: shop
    namespaces:
      /shop:
        auth: {required: false}
        events: {order.placed: {schema: Order}}
        commands: {buy: {schema: Place, publish: buy}}
"""


class Ask(Struct):
    """Who has this?"""

    what: str


class Has(Struct):
    """An instance that has it."""

    who: str


@pytest.fixture
async def pair(amqp_url: str, tmp_path: Path) -> AsyncIterator[tuple[App, App]]:
    """Both ready, and each knows of the other."""
    apps = []
    for name in ("one", "two"):
        config = f"""
        instance: {name}
        amqp: {{url: "{amqp_url}"}}
        http: {{host: 127.0.0.1, port: {free_port()}}}
        instances: {{heartbeat: 500ms}}
        """
        app = App(compile_project(tmp_path / name, ROUTES, config=config))
        await app.start()
        await until(lambda app=app: not app.health().warming_up)
        apps.append(app)
    one, two = apps
    await until(lambda: len(one.shared.instances.living) == len(two.shared.instances.living) == 2)
    yield one, two
    for app in apps:
        await app.stop()


def answer_with(app: App, what: str) -> None:
    """Let an instance have something."""

    async def answer(ask: Ask) -> Has | None:
        return Has(who=app.instance_id) if ask.what == what else None

    app.shared.peers.answer("has", Ask, answer)


async def test_either_asks_the_other(pair: tuple[App, App]) -> None:
    """What one has, and what nobody has, known long before the time is up."""
    one, two = pair
    for app, what in ((one, "first"), (two, "second")):
        answer_with(app, what)
    async with asyncio.timeout(10):
        assert await one.shared.peers.ask("has", Ask(what="second"), Has, 30) == Has(who="two")
        assert await two.shared.peers.ask("has", Ask(what="first"), Has, 30) == Has(who="one")
        assert await one.shared.peers.ask("has", Ask(what="third"), Has, 30) is None
        assert await one.shared.peers.ask("other", Ask(what="third"), Has, 30) is None


async def test_sessions_are_handed_over_before_their_clients_are_sent_away(pair: tuple[App, App]) -> None:
    """Whoever is sent away finds its own, however soon it comes to another instance."""
    one, _ = pair
    url = f"http://127.0.0.1:{one.config.http.port}/socket.io/?EIO=4&transport=websocket"
    async with aiohttp.ClientSession() as http:
        sockets = [await http.ws_connect(url) for _ in range(10)]
        for socket in sockets:
            await socket.send_str('40/shop,{"recover":true}')
            while not (await socket.receive_str()).startswith("40/shop,"):
                pass
        with capture_logs() as logs:
            draining = asyncio.create_task(one.drain())
            await until(lambda: any(entry["event"] == "sessions.handed_over" for entry in logs))
            left = one.metrics.registry.get_sample_value("bridged_connections")
            await asyncio.gather(*(read_to_the_end(socket) for socket in sockets))
            await draining
        assert left
        (told,) = [entry for entry in logs if entry["event"] == "sessions.handed_over"]
        assert told["count"] == 10


async def read_to_the_end(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Receive all that comes, and answer the close."""
    while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
        pass


async def test_they_ask_again_after_their_connections_were_closed(
    pair: tuple[App, App], amqp_url: str, broker: PrivateBroker
) -> None:
    """All six of them; neither is held for dead."""
    one, two = pair
    answer_with(two, "second")
    vhost = amqp_url.rpartition("/")[2]
    readers = [app.reading.live_reader.connection for app in pair]
    await asyncio.to_thread(broker.rabbitmqctl, "close_all_connections", "--vhost", vhost, "test")
    await until(lambda: all(one.generation == 2 and one.up_since for one in readers))
    await until(lambda: all(app.health().broker_away is None for app in pair))
    assert await one.shared.peers.ask("has", Ask(what="second"), Has, 30) == Has(who="two")
    assert len(one.shared.instances.living) == len(two.shared.instances.living) == 2


async def test_the_younger_is_answered_before_it_is_ready(pair: tuple[App, App]) -> None:
    """And the elder does what one alone may do."""
    one, two = pair
    assert (one.shared.instances.is_eldest, two.shared.instances.is_eldest) == (True, False)
    assert two.shared.instances.living == (one.shared.instances.incarnation, two.shared.instances.incarnation)
    assert two.shared.instances._answered.is_set()
