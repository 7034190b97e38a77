"""The servers that are compared, as processes: started, watched through /proc, ended."""

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final

import jwt

from benchmarks.load import BenchError

HERE: Final = Path(__file__).parent
SYSTEMS: Final = {
    "bridge": "this bridge, validation, access and limits on",
    "bridge-queue": "this bridge, with `source: queue`",
    "stock": "python-socketio + aio-pika",
    "node": "Node socket.io + amqplib",
}
_SECRET: Final = "the benchmark's secret, over 32 bytes long"  # noqa: S105  no secret
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_START_SECONDS: Final = 60.0


def make_token() -> str:
    """A token for every client of the bridge; the others do not look at it."""
    claims = {"sub": "load", "rooms": ["*"], "exp": int(time.time()) + 86_400}
    return jwt.encode(claims, _SECRET, algorithm="HS256")


def raise_file_limit(wanted: int) -> str | None:
    """Let this process and its children open so many files; why not, when it cannot be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return None
    for limit in ((wanted, max(hard, wanted)), (hard, hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        except (ValueError, OSError):
            continue
        break
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft >= wanted else f"RLIMIT_NOFILE is {soft}, not {wanted} (ulimit -n {wanted})"


def read_cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


class Server:
    """One of `SYSTEMS` in a process of its own; `with` starts and ends it."""

    def __init__(self, system: str, amqp_url: str, folder: Path) -> None:
        self.system = system
        self.port = _free_port()
        self._amqp_url = amqp_url
        self._log = folder / f"{system}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process that runs."""
        assert self._process is not None  # noqa: S101  started
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it serves."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  no shell
                self._command(),
                cwd=HERE.parent,
                env={
                    **os.environ,
                    "AMQP_URL": self._amqp_url,
                    "PORT": str(self.port),
                    "JWT_SECRET": _SECRET,
                    "SOURCE": "queue" if self.system == "bridge-queue" else "stream",
                    "NODE_ENV": "production",
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        ready = self._answers_ready if self.system.startswith("bridge") else self._says_ready
        self._wait(ready)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def cpu_seconds(self) -> float:
        """User and system time of the process so far."""
        return read_cpu_seconds(self.pid)

    def resident_bytes(self) -> int:
        """Memory of the process."""
        pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * resource.getpagesize()

    def serves(self, client_port: int) -> bool:
        """Whether the server's end of that client's connection still stands."""
        own, other = f":{self.port:04X}", f":{client_port:04X}"
        for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
            local, remote, state = line.split()[1:4]
            if local.endswith(own) and remote.endswith(other):
                return state == "01"
        return False

    def _command(self) -> list[str]:
        if self.system.startswith("bridge"):
            return [sys.executable, "-m", "bridge", "run", "-c", str(HERE / "config" / "bridge.yaml")]
        if self.system == "stock":
            return [sys.executable, str(HERE / "rivals" / "stock.py")]
        node = shutil.which("node")
        if node is None or not (HERE / "rivals" / "node_modules" / "socket.io").is_dir():
            raise BenchError(
                "Node's rival is not installed: `make bench` does it (npm ci in benchmarks/rivals)"
            )
        return [node, str(HERE / "rivals" / "node.mjs")]

    def _answers_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False

    def _says_ready(self) -> bool:
        return b"ready\n" in self._log.read_bytes()

    def _wait(self, ready: Callable[[], bool]) -> None:
        assert self._process is not None  # noqa: S101  started
        deadline = time.monotonic() + _START_SECONDS
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(
                    f"{self.system} did not start; its log ends:\n{self._log.read_text()[-2000:]}"
                )
            time.sleep(0.01)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
