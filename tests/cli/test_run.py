"""Run: how the daemon's process starts, ends, and says why it cannot listen."""

import errno
import os

import pytest

from bridge.cli.exits import Exit
from bridge.cli.run import explain_address
from bridge.config.model import Http
from tests.support.command import RunningCommand
from tests.support.daemon import free_port


@pytest.mark.parametrize(
    ("code", "words", "hint"),
    [
        (errno.EADDRINUSE, "the port is in use", "PORT=8001"),
        (errno.EACCES, "that is not allowed", "below 1024"),
        (errno.EADDRNOTAVAIL, "no address of this machine", "http.host"),
        (errno.EAFNOSUPPORT, "not supported", "http.host"),
    ],
)
def test_an_address_that_cannot_be_had_is_explained(code: int, words: str, hint: str) -> None:
    """With the address and what to change."""
    error = explain_address(Http(host="10.0.0.1", port=8000), OSError(code, os.strerror(code)))
    assert error.code == Exit.ADDRESS
    assert error.message.startswith("cannot listen on 10.0.0.1:8000: ")
    assert words in error.message
    assert hint in error.hint


def test_ctrl_c_drains_and_ends_with_0() -> None:
    """Also when there never was a broker; the log tells the start and the end."""
    environ = {"PORT": str(free_port()), "HOST": "127.0.0.1", "AMQP_URL": "amqp://127.0.0.1:1/"}
    with RunningCommand("run", environ=environ) as daemon:
        lines = [daemon.read_line()]
        assert "bridge.started" in lines[0]
        daemon.interrupt()
        assert daemon.wait() == Exit.OK
        while line := daemon.read_line():
            lines.append(line)
    assert any("bridge.draining" in line for line in lines)
    assert "bridge.stopped" in lines[-1]
    assert not any("Traceback" in line for line in lines)
