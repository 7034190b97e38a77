"""Finds a RabbitMQ for `make run`: a given one, one that answers here, a private one, or one in docker."""

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import aio_pika
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

from dev.broker import PrivateBroker, find_scripts

_LOCAL: Final = "amqp://guest:guest@localhost:5672/"
_IMAGE: Final = "rabbitmq:4"
_START_WITHIN: Final = 60.0
_NONE: Final = """\
No RabbitMQ was found, and none could be started. Choose one:
  - name a broker:          AMQP_URL=amqp://user:password@host:5672/ make run
  - install one (Debian):   sudo apt-get install rabbitmq-server
  - or let docker run one:  install docker and let this user call it"""


class NoBrokerError(Exception):
    """There is no broker; the message says what to do."""


class Found:
    """A broker that answers, and how to have it back when it is our own and has ended."""

    def __init__(self, url: str, private: PrivateBroker | None = None) -> None:
        self.url = url
        self._private = private

    def keep_up(self, say: Callable[[str], None]) -> None:
        """Start a private broker again that ended by itself; BrokerError where it does not come."""
        if self._private is not None and not self._private.running:
            say("broker: it ended by itself; starting it again")
            self._private.restart()
            say("broker: it is back")


@contextlib.contextmanager
def broker(folder: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> Iterator[Found]:
    """A broker that answers; one that was started for this is stopped at the end.

    Call it from the main thread (see PrivateBroker).
    """
    if url := environ.get("AMQP_URL"):
        if (fault := _sign_in(url)) is not None:
            raise NoBrokerError(f"AMQP_URL is set, but no broker can be used there: {fault}")
        say("broker: the one of AMQP_URL")
        yield Found(url)
    elif _answers_here() or (_install() and _answers_here()):  # Debian may start what it installs
        say("broker: the one on localhost:5672")
        yield Found(_LOCAL)
    elif find_scripts() is not None:
        say(f"broker: starting a private RabbitMQ in {folder}")
        private = PrivateBroker(folder)
        try:
            private.start()
            say(f"broker: AMQP_URL={private.url}/")
            yield Found(f"{private.url}/", private)
        finally:
            private.stop()
    elif _docker_works():
        say(f"broker: starting {_IMAGE} in docker")
        with run_container() as url:
            say(f"broker: AMQP_URL={url}")
            yield Found(url)
    else:
        raise NoBrokerError(_NONE)


def _answers_here() -> bool:
    return _sign_in(_LOCAL) is None


def _sign_in(url: str) -> str | None:
    """Why the broker of the URL cannot be used, without its password; None when it can."""

    async def connect() -> None:
        async with asyncio.timeout(5):
            await (await aio_pika.connect(url)).close()

    try:
        asyncio.run(connect())
    except (*CONNECTION_EXCEPTIONS, TimeoutError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _await_sign_in(url: str) -> None:
    deadline = time.monotonic() + _START_WITHIN
    while (fault := _sign_in(url)) is not None:
        if time.monotonic() > deadline:
            raise NoBrokerError(f"RabbitMQ in docker did not answer within {_START_WITHIN:g} s: {fault}")
        time.sleep(0.5)


def _install() -> bool:
    """Install rabbitmq-server where it is missing and may be installed: as root, on Debian."""
    if find_scripts() is not None or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    installer = Path(__file__).with_name("apt-install")
    done = subprocess.run([installer, "rabbitmq-server"], check=False)  # noqa: S603  our own script
    return done.returncode == 0


def _docker(*args: str) -> str:
    done = subprocess.run(["docker", *args], check=True, capture_output=True, text=True)  # noqa: S603, S607
    return done.stdout.strip()


def _docker_works() -> bool:
    try:
        _docker("info")
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


@contextlib.contextmanager
def run_container() -> Iterator[str]:
    """The AMQP URL of a RabbitMQ in a container of its own, on loopback; it is gone at the end."""
    name = f"bridged-dev-{secrets.token_hex(4)}"
    _docker("run", "--detach", "--rm", "--name", name, "--publish", "127.0.0.1::5672", _IMAGE)
    try:
        port = _docker("port", name, "5672/tcp").splitlines()[0].rpartition(":")[2]
        url = f"amqp://guest:guest@127.0.0.1:{port}/"
        _await_sign_in(url)
        yield url
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            _docker("stop", "--time", "10", name)
