"""`make run`: what it starts, what it prints, and that nothing is left when it ends."""

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from dev.broker import PrivateBroker
from dev.find_broker import Found, run_container
from dev.run import make_secret
from tests.support.daemon import ROOT, SECRET, free_port

SERVICES = (
    "portal_service.py",
    "summit_service.py",
    "agents_service.py",
    "swe_agent_broadcaster.py",
    "swallowtail_service.py",
)
"""The example of each system."""


@contextmanager
def _make_run(environ: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """`make run` after its installation, with what it prints to read."""
    with subprocess.Popen(
        [sys.executable, "-m", "dev.run"],
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()


def _read_until(process: subprocess.Popen[str], last: str) -> str:
    """What the process prints up to a line that holds `last`."""
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if last in line:
            return text
    raise AssertionError(f"it ended without {last!r}:\n{text}")


def _children_of(pid: int) -> dict[int, str]:
    """The command lines of the processes that a process has started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return {int(child): Path(f"/proc/{child}/cmdline").read_bytes().decode() for child in children}


def _find(children: Mapping[int, str], word: str) -> list[int]:
    """Those whose command line holds a word."""
    return [pid for pid, line in children.items() if word in line]


def test_one_line_shows_events(amqp_url: str) -> None:
    """The line that is printed shows events of the example; Ctrl-C then ends everything, with code 0."""
    port = free_port()
    with _make_run({"AMQP_URL": amqp_url, "JWT_SECRET": SECRET, "PORT": str(port)}) as process:
        printed = _read_until(process, "Ctrl-C stops all of it")
        children = _children_of(process.pid)
        assert f"http://localhost:{port}\n" in printed
        line = re.search(r"^ +\.venv/bin/bridged (listen .*)$", printed, re.M)
        assert line is not None
        done = subprocess.run(  # noqa: S603  our own interpreter, no shell
            [sys.executable, "-m", "bridge", *line[1].split(), "--count", "2"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        rest = process.stdout.read()
        code = process.wait(30)
    assert done.returncode == 0, done.stderr
    assert re.search(r"(state_change|task_update|approval_request) +\{", done.stdout)
    assert (code, "stopped" in rest) == (0, True), rest
    assert all(_find(children, word) for word in ("bridge.yaml", "swallowtail.yaml", *SERVICES))
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_end_of_a_part_ends_all(amqp_url: str) -> None:
    """When an example dies all others and the daemons are stopped too, and the exit code tells of it."""
    environ = {"AMQP_URL": amqp_url, "JWT_SECRET": SECRET, "PORT": str(free_port())}
    with _make_run(environ) as process:
        _read_until(process, "Ctrl-C stops all of it")
        children = _children_of(process.pid)
        os.kill(_find(children, "portal_service.py")[0], signal.SIGKILL)
        assert process.stdout is not None
        rest = process.stdout.read()
        assert process.wait(30) == 1
    assert "The example portal ended by itself (exit code -9)" in rest
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_port_in_use_is_said_clearly() -> None:
    """A port that is in use ends it before anything is started."""
    with socket.create_server(("0.0.0.0", 0)) as taken:  # noqa: S104  as the daemon listens
        port = taken.getsockname()[1]
        with _make_run({"PORT": str(port)}) as process:
            assert process.stdout is not None
            text = process.stdout.read()
            assert process.wait(10) == 1
    assert f"Port {port} cannot be used" in text
    assert f"PORT={port + 1} make run" in text
    assert "Traceback" not in text


def test_broker_that_is_not_there_is_said_without_its_password() -> None:
    """A wrong AMQP_URL ends it; the message says so and keeps the password."""
    url = f"amqp://guest:hidden@127.0.0.1:{free_port()}/"
    with _make_run({"AMQP_URL": url, "PORT": str(free_port())}) as process:
        assert process.stdout is not None
        text = process.stdout.read()
        assert process.wait(20) == 1
    assert "AMQP_URL is set, but no broker can be used there" in text
    assert "hidden" not in text
    assert "Traceback" not in text


def test_wrong_port_is_said_clearly() -> None:
    """PORT must be a number."""
    with _make_run({"PORT": "http"}) as process:
        assert process.stdout is not None
        assert 'PORT is "http"' in process.stdout.read()
        assert process.wait(10) == 1


def test_secret_is_made_once_for_this_user(tmp_path: Path) -> None:
    """The development secret is long, stays the same, and nobody else may read it."""
    folder = tmp_path / ".run"
    secret = make_secret(folder)
    assert len(secret) >= 32
    assert make_secret(folder) == secret
    assert stat.S_IMODE((folder / "jwt_secret").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `docker` that notes how it is called; the container's port is what PUBLISHED says."""
    calls = tmp_path / "calls"
    script = tmp_path / "docker"
    script.write_text(f"""#!/bin/sh
echo "$@" >> {calls}
if [ "$1" = port ]; then echo "127.0.0.1:$PUBLISHED"; fi
""")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return calls


def test_container_is_on_loopback_and_goes_away(
    amqp_url: str, docker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker in docker is published on loopback alone, used once it answers, and stopped at the end."""
    address = re.search(r":(\d+)/", amqp_url)
    assert address is not None
    monkeypatch.setenv("PUBLISHED", address[1])
    with run_container() as url:
        assert url == f"amqp://guest:guest@127.0.0.1:{address[1]}/"
    calls = [line.split() for line in docker.read_text(encoding="ascii").splitlines()]
    assert [call[0] for call in calls] == ["run", "port", "stop"]
    assert "127.0.0.1::5672" in calls[0]
    assert calls[0][calls[0].index("--name") + 1] == calls[2][-1]


def test_private_broker_that_ended_is_started_again(tmp_path: Path) -> None:
    """Under the same address, so that whatever waited for it goes on; one that runs is left alone."""
    private = PrivateBroker(tmp_path)
    said: list[str] = []
    found = Found(f"{private.url}/", private)
    try:
        private.start()
        found.keep_up(said.append)
        assert said == []
        os.kill(private.pid, signal.SIGKILL)
        while private.running:
            time.sleep(0.01)
        found.keep_up(said.append)
        with socket.create_connection(("127.0.0.1", private.port), timeout=5):
            assert private.running
    finally:
        private.stop()
    assert said == ["broker: it ended by itself; starting it again", "broker: it is back"]
