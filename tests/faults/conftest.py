"""The broker that these tests break, and the table of figures at their end."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from dev.broker import PrivateBroker
from tests.support.broker import make_vhosts, run_broker
from tests.support.stage import SOAK, Figures, Stage

_FOLDER = Path(__file__).parent
_FIGURES = pytest.StashKey[Figures]()


def pytest_configure(config: pytest.Config) -> None:
    """Have a place for the figures."""
    config.stash[_FIGURES] = Figures()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the tests of this folder last, and those that take very long only with `make soak`."""
    own = [item for item in items if _FOLDER in item.path.parents]
    long = [] if SOAK else [item for item in own if item.get_closest_marker("soak")]
    if long:
        config.hook.pytest_deselected(items=long)
    others = [item for item in items if _FOLDER not in item.path.parents]
    items[:] = others + [item for item in own if item not in long]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what was measured."""
    figures = config.stash[_FIGURES]
    if figures.rows:
        terminalreporter.section("figures")
        for line in figures.lines():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Figures:
    """Where tests note what they have measured."""
    return pytestconfig.stash[_FIGURES]


@pytest.fixture(scope="session")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateBroker]:
    """A node that only these tests break."""
    yield from run_broker(tmp_path_factory.mktemp("broken"))


@pytest.fixture(scope="session")
def own_urls(own_broker: PrivateBroker) -> Iterator[str]:
    """Its fresh virtual hosts."""
    return make_vhosts(own_broker)


@pytest_asyncio.fixture
async def stage(
    own_broker: PrivateBroker, own_urls: Iterator[str], tmp_path: Path, figures: Figures
) -> AsyncIterator[Stage]:
    """A virtual host of its own."""
    async with Stage(own_broker, next(own_urls), tmp_path, figures) as stage:
        yield stage
