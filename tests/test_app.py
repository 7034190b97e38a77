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


async def test_clients_are_sent_away_once_for_epochs_that_begin_together(app: App) -> None:
    """By one task, which is gone when it is done: a queue that drops events begins one with each drop."""
    before = len(app._tasks)
    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            await open_polling(session, app.config)
        for _ in range(20):
            app._begin_epoch()
        assert len(app._tasks) == before + 1
        await until(lambda: count_sent_away(app) == 1)
        await open_polling(session, app.config)  # between the two
        app._begin_epoch()
        assert len(app._tasks) == before + 1
        await until(lambda: count_sent_away(app) == 3)
    await until(lambda: len(app._tasks) == before)
    app._begin_epoch()
    assert len(app._tasks) == before + 1


async def open_polling(session: aiohttp.ClientSession, config: Config) -> None:
    """Open a connection that polls."""
    async with session.get(url(config, "/socket.io/?EIO=4&transport=polling")) as response:
        assert response.status == 200


def count_sent_away(app: App) -> float:
    """How many connections were closed since an epoch began."""
    labels = {"reason": "new_epoch"}
    return app.metrics.registry.get_sample_value("bridged_closed_total", labels) or 0.0
