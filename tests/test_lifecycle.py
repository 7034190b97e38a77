"""The process of an instance: what it asks of the system before it starts."""

import resource
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from bridge.lifecycle import raise_file_limit


@pytest.fixture
def hard() -> Iterator[int]:
    """The most files that this process may allow itself; it begins with 256, as a careless shell has it."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_every_client_may_poll_and_change_to_a_websocket(hard: int) -> None:
    """That takes three connections for a moment; whatever the shell allowed, and with some for the broker."""
    with capture_logs() as logs:
        raise_file_limit(500)
    assert 1500 < resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2000
    assert logs == []


def test_as_many_files_as_clients_will_do(hard: int) -> None:
    """They may all have a websocket: nobody is warned."""
    with capture_logs() as logs:
        raise_file_limit(hard - 1000)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
    assert logs == []


def test_too_few_files_are_told_of(hard: int) -> None:
    """With the remedy; the daemon does what it can."""
    with capture_logs() as logs:
        raise_file_limit(hard)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
    assert [entry["event"] for entry in logs] == ["files.few"]
