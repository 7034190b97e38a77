"""The daemon as its operator runs it: a process of its own, configured by YAML and environment variables."""

import asyncio
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Final

import jwt
import yaml

ROOT: Final = Path(__file__).parent.parent.parent
CONFIG: Final = ROOT / "config" / "bridge.yaml"
SECRET: Final = "a secret of the tests, over 32 bytes long"
_LOOK_EVERY: Final = 0.03

_numbers = count()


class Daemon:
    """`python -m bridge run` in a process; whoever starts it stops it."""

    program: Sequence[str] = (sys.executable, "-m", "bridge")

    def __init__(
        self,
        folder: Path,
        amqp_url: str,
        config: Path = CONFIG,
        environ: Mapping[str, str] | None = None,
        *,
        workers: int = 1,
    ) -> None:
        """The daemon's log goes into `folder`; `environ` adds to the variables that it gets."""
        folder.mkdir(parents=True, exist_ok=True)
        self.config = config
        self._arguments = ["--workers", str(workers)] if workers > 1 else []
        self.port = free_port()
        self.log_file = folder / "daemon.log"
        self._environ = {
            **os.environ,
            "AMQP_URL": amqp_url,
            "JWT_SECRET": SECRET,
            "PORT": str(self.port),
            "HOST": "127.0.0.1",
            "PYTHONUNBUFFERED": "1",
            **(environ or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect to, without a namespace."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def started(self) -> bool:
        """Whether it was ever started."""
        return self._process is not None

    @property
    def context(self) -> ssl.SSLContext | None:
        """What a daemon with TLS is trusted by."""
        return None

    @property
    def pid(self) -> int:
        """The process that runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What the daemon has printed so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace") if self.log_file.exists() else ""

    def start(self, within: float = 30, *, ready: bool = True) -> None:
        """Start it and wait until `/readyz` (or, with `ready=False`, `/healthz`) answers 200."""
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  our own interpreter, no shell
                [*self.program, "run", "-c", str(self.config), *self._arguments],
                cwd=ROOT,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        path = "/readyz" if ready else "/healthz"
        self.wait_until(lambda: self.get(path)[0] == 200, within, f"{path} to answer 200")

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a GET request; status 0 when nobody answers."""
        try:
            url = f"{self.url}{path}"
            with urllib.request.urlopen(url, timeout=5, context=self.context) as answer:  # noqa: S310  http
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metrics(self) -> dict[str, float]:
        """`/metrics` by sample, such as `bridged_broker_up{connection="read"}`."""
        samples = {}
        for line in self.get("/metrics")[1].splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                samples[name] = float(value)
        return samples

    def terminate(self) -> None:
        """Send SIGTERM: the daemon drains."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a machine that fails does: SIGKILL, without a word to anybody."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def wait(self, within: float = 35) -> int:
        """The exit code, once the process has ended."""
        assert self._process is not None
        return self._process.wait(within)

    def stop(self) -> int:
        """Stop it in good order and return the exit code; idempotent."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self.terminate()
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"the daemon did not stop; its log ends:\n{self.log[-3000:]}") from None

    async def until(self, condition: Callable[[], bool], within: float, wanted: str) -> None:
        """`wait_until` beside other work of the test."""
        await asyncio.to_thread(self.wait_until, condition, within, wanted)

    def wait_until(self, condition: Callable[[], bool], within: float, wanted: str) -> None:
        """Wait until something holds for the running daemon; fails at once when the process ends."""
        assert self._process is not None
        deadline = time.monotonic() + within
        while not condition():
            code = self._process.poll()
            if code is not None or time.monotonic() > deadline:
                state = "it runs" if code is None else f"it ended with code {code}"
                raise AssertionError(f"waited in vain for {wanted}; {state}; its log:\n{self.log[-5000:]}")
            time.sleep(_LOOK_EVERY)


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def edit_config(folder: Path, **edits: Mapping[str, object]) -> Path:
    """Copy `config/` into a folder with some values changed; returns the copy's `bridge.yaml`.

    A keyword is a file (`bridge`, or one of `routes/`), its value maps dotted paths to new values:
    `edit_config(tmp_path, portal={"auth.late.within": "1s"})`.
    """
    copy = folder / "config"
    shutil.copytree(CONFIG.parent, copy)
    for name, values in edits.items():
        file = copy / "bridge.yaml" if name == "bridge" else copy / "routes" / f"{name}.yaml"
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        for path, value in values.items():
            _set(content, path.split("."), value)
        file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return copy / "bridge.yaml"


def make_token(user: str, expires_in: float | None = 3600, *, secret: str = SECRET, **claims: object) -> str:
    """A signed token; `expires_in` is seconds, None leaves `exp` out."""
    expiry = {} if expires_in is None else {"exp": time.time() + expires_in}
    content: dict[str, object] = {"sub": user, **expiry, **claims}
    return jwt.encode(content, secret, algorithm="HS256")


def unique(word: str) -> str:
    """A name that no other test uses, such as `apollo-17`: tests that share a daemon do not meet."""
    return f"{word}-{next(_numbers)}"


def _set(content: dict[str, object], path: list[str], value: object) -> None:
    inner: object = content
    for key in path[:-1]:
        assert isinstance(inner, dict)
        inner = inner[key]
    assert isinstance(inner, dict)
    inner[path[-1]] = value
