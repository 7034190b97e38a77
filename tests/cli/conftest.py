"""The daemon that the commands talk to, and the environment that leads them to it."""

from collections.abc import Iterator

import pytest

from tests.support.daemon import Daemon


@pytest.fixture(scope="module")
def environ(amqp_urls: Iterator[str]) -> dict[str, str]:
    """Leads a command to a virtual host that only this module uses."""
    return {"AMQP_URL": next(amqp_urls)}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, environ: dict[str, str]) -> Iterator[Daemon]:
    """The portal as it is shipped."""
    daemon = Daemon(tmp_path_factory.mktemp("cli"), environ["AMQP_URL"])
    daemon.start()
    yield daemon
    daemon.stop()
