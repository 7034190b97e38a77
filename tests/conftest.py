"""Fixtures that every part of the tests shares; what they do is in tests/support."""

from collections.abc import Iterator

import pytest

from dev.broker import PrivateBroker
from tests.support.broker import make_vhosts, run_broker


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateBroker]:
    """A private RabbitMQ node for the whole run; whoever stops it starts it again."""
    yield from run_broker(tmp_path_factory.mktemp("rabbitmq"))


@pytest.fixture(scope="session")
def amqp_urls(broker: PrivateBroker) -> Iterator[str]:
    """Fresh virtual hosts, one after the other."""
    return make_vhosts(broker)


@pytest.fixture
def amqp_url(amqp_urls: Iterator[str]) -> str:
    """The URL of a virtual host that nobody has used."""
    return next(amqp_urls)
