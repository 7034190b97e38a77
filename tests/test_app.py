"""The instance as a whole, without a broker: it listens, says that it is not ready, drains and stops."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from bridge.app import App
from bridge.config.model import Config
from bridge.rules.compile import Rules
from tests.support.amqp import until
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


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def compile_lonely(folder: Path, port: int) -> Rules:
    """Rules of an instance whose broker is not there."""
    config = f"""
    amqp: {{url: "amqp://guest:guest@127.0.0.1:{free_port()}/"}}
    http: {{host: 127.0.0.1, port: {port}}}
    """
    return compile_project(folder, ROUTES, config=config)


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    """An instance that has started."""
    app = App(compile_lonely(tmp_path, free_port()))
    await app.start()
    yield app
    await app.stop()


def url(config: Config, path: str) -> str:
    """Of a page of the instance."""
    return f"http://127.0.0.1:{config.http.port}{path}"


async def test_without_a_broker_it_lives_and_is_not_ready(app: App) -> None:
    """It listens at once, so that probes get an answer; nothing has failed."""
    async with aiohttp.ClientSession() as session:
        async with session.get(url(app.config, "/healthz")) as response:
            assert response.status == 200
        async with session.get(url(app.config, "/readyz")) as response:
            assert response.status == 503
    assert app.health().warming_up
    assert app.failed is not None
    assert not app.failed.done()


async def test_it_drains_and_stops_without_a_broker(app: App) -> None:
    """In little time, and leaves no task behind."""
    async with asyncio.timeout(10):
        await app.drain()
        assert app.health().shutting_down
        await app.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_stopping_needs_no_drain(tmp_path: Path) -> None:
    """Nor a start."""
    await App(compile_lonely(tmp_path, free_port())).stop()


async def test_an_address_in_use_is_an_os_error(tmp_path: Path) -> None:
    """It can be stopped afterwards."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        app = App(compile_lonely(tmp_path, taken.getsockname()[1]))
        with pytest.raises(OSError, match="ddress already in use"):
            await app.start()
        await app.stop()


async def test_what_a_new_epoch_begins_is_let_go_of_when_it_is_done(app: App) -> None:
    """A queue that is read too slowly may bring one each time that it drops something."""
    for _ in range(20):
        app._begin_epoch()
    names = [task.get_name() for task in app._tasks]
    assert names.count("send away") == 20
    await until(lambda: "send away" not in [task.get_name() for task in app._tasks])
    assert len(app._tasks) == len(names) - 20
