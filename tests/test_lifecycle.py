"""The process of an instance: what it asks of the system before it starts."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from bridge.lifecycle import raise_file_limit
from tests.support.daemon import ROOT, SECRET, free_port


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


LOOK = """
import gc, os, signal, sys, threading
from bridge.cli import main

def look():
    wait = threading.Event()
    for _ in range(400):
        if gc.get_freeze_count() and gc.get_threshold()[0] > 1000:
            break
        wait.wait(0.05)
    print(gc.get_threshold(), gc.get_freeze_count() > 10_000, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=look, daemon=True).start()
sys.argv[1:] = ["run"]
main()
"""


def test_the_collector_leaves_alone_what_lives_for_ever() -> None:
    """And comes by more rarely than by default: it took a fifth of the time for each event."""
    environ = {
        **os.environ,
        "JWT_SECRET": SECRET,
        "PORT": str(free_port()),
        "HOST": "127.0.0.1",
        "AMQP_URL": "amqp://127.0.0.1:1/",
    }
    done = subprocess.run(  # noqa: S603  our own interpreter, no shell
        [sys.executable, "-c", LOOK],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.splitlines() == ["(10000, 5, 80) True"]
