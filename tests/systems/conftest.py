"""The daemons of these tests: one as shipped, one with short times; what they do is in tests/support."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.agents import Agents, visit_agents
from tests.support.daemon import Daemon, edit_config
from tests.support.js_client import JsClients
from tests.support.portal import Portal, visit
from tests.support.summit import Summit, visit_summit
from tests.support.swallowtail import Swallowtail, run_swallowtail, visit_swallowtail
from tests.support.swe import Swe, visit_swe

_FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of this folder in one event loop, so that they can share one Node process."""
    for item in items:
        if _FOLDER in item.path.parents and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def js() -> AsyncIterator[JsClients]:
    """The official JavaScript client; each test closes the sockets that it opened."""
    async with JsClients() as js:
        yield js


@pytest.fixture(scope="session")
def portal_url(amqp_urls: Iterator[str]) -> str:
    """The virtual host of the daemon as shipped."""
    return next(amqp_urls)


@pytest.fixture(scope="session")
def portal_daemon(tmp_path_factory: pytest.TempPathFactory, portal_url: str) -> Iterator[Daemon]:
    """The daemon with `config/bridge.yaml` as shipped; tests that share it do not disturb each other."""
    daemon = Daemon(tmp_path_factory.mktemp("portal"), portal_url)
    daemon.start()
    yield daemon
    assert daemon.stop() == 0


@pytest_asyncio.fixture(loop_scope="session")
async def portal(portal_daemon: Daemon, portal_url: str, js: JsClients) -> AsyncIterator[Portal]:
    """Browsers and services around the daemon as shipped."""
    async with visit(portal_daemon, portal_url, js) as portal:
        yield portal


@pytest.fixture(scope="session")
def quick_url(amqp_urls: Iterator[str]) -> str:
    """The virtual host of the quick daemon."""
    return next(amqp_urls)


@pytest.fixture(scope="session")
def quick_daemon(tmp_path_factory: pytest.TempPathFactory, quick_url: str) -> Iterator[Daemon]:
    """The portal with short times, and with a rate that only the minute bounds."""
    folder = tmp_path_factory.mktemp("quick")
    grace = {"namespaces./portal.rooms.project:{project}.presence.grace": "1s"}
    config = edit_config(
        folder,
        portal={
            "auth.late.within": "1s",
            "limits.rate": ["1000/s", "100/min"],
            "limits.ban.duration": "1s",
            **grace,
        },
    )
    daemon = Daemon(folder, quick_url, config)
    daemon.start()
    yield daemon
    assert daemon.stop() == 0


@pytest_asyncio.fixture(loop_scope="session")
async def quick(quick_daemon: Daemon, quick_url: str, js: JsClients) -> AsyncIterator[Portal]:
    """Browsers and services around the quick daemon."""
    async with visit(quick_daemon, quick_url, js) as portal:
        yield portal


@pytest_asyncio.fixture(loop_scope="session")
async def summit(portal_daemon: Daemon, portal_url: str, js: JsClients) -> AsyncIterator[Summit]:
    """Summit's browsers and services around the daemon as shipped."""
    async with visit_summit(portal_daemon, portal_url, js) as summit:
        yield summit


@pytest_asyncio.fixture(loop_scope="session")
async def swe(portal_daemon: Daemon, portal_url: str, js: JsClients) -> AsyncIterator[Swe]:
    """The SWE Agent's browsers and services around the daemon as shipped."""
    async with visit_swe(portal_daemon, portal_url, js) as swe:
        yield swe


@pytest_asyncio.fixture(loop_scope="session")
async def agents(portal_daemon: Daemon, portal_url: str, js: JsClients) -> AsyncIterator[Agents]:
    """The Agents' dashboards and services around the daemon as shipped."""
    async with visit_agents(portal_daemon, portal_url, js) as agents:
        yield agents


@pytest.fixture(scope="session")
def swallowtail_url(amqp_urls: Iterator[str]) -> str:
    """The virtual host of Swallowtail's daemons."""
    return next(amqp_urls)


@pytest.fixture(scope="session")
def swallowtail_daemon(tmp_path_factory: pytest.TempPathFactory, swallowtail_url: str) -> Iterator[Daemon]:
    """The daemon with `config/swallowtail.yaml` as shipped: open, and without any secret."""
    yield from run_swallowtail(tmp_path_factory.mktemp("swallowtail"), swallowtail_url, JWT_SECRET="")


@pytest.fixture(scope="session")
def guarded_daemon(tmp_path_factory: pytest.TempPathFactory, swallowtail_url: str) -> Iterator[Daemon]:
    """The same in its authenticated form, by the one variable."""
    yield from run_swallowtail(tmp_path_factory.mktemp("guarded"), swallowtail_url, SWALLOWTAIL_AUTH="true")


@pytest_asyncio.fixture(loop_scope="session")
async def swallowtail(
    swallowtail_daemon: Daemon, swallowtail_url: str, js: JsClients
) -> AsyncIterator[Swallowtail]:
    """Swallowtail's browsers and services around the open daemon."""
    async with visit_swallowtail(swallowtail_daemon, swallowtail_url, js) as swallowtail:
        yield swallowtail


@pytest_asyncio.fixture(loop_scope="session")
async def guarded(guarded_daemon: Daemon, swallowtail_url: str, js: JsClients) -> AsyncIterator[Swallowtail]:
    """Swallowtail's browsers and services around the authenticated daemon."""
    async with visit_swallowtail(guarded_daemon, swallowtail_url, js) as swallowtail:
        yield swallowtail
