"""Drives the load client: compiles load.c, gives it its clients, reads what it counts."""

import mmap
import shutil
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec import Struct

_SOURCE: Final = Path(__file__).with_name("load.c")
_PROGRESS: Final = struct.Struct("7Q")


class BenchError(Exception):
    """A measurement is not valid, or cannot be made; the message says why."""


class Progress(Struct, frozen=True):
    """What the load client has counted since the last `reset`; the last three since its start."""

    delivered: int
    asked: int
    acked: int
    refused: int
    faults: int
    closed: int
    ready: int


class Timings(Struct, frozen=True, kw_only=True):
    """Milliseconds, and the first fault in words."""

    p50: float
    p99: float
    worst: float
    fault: str


def compile_load(folder: Path) -> Path:
    """The load client's program, compiled for this machine; BenchError where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise BenchError("no C compiler was found (Debian: apt-get install gcc libc6-dev)")
    program = folder / "load"
    done = subprocess.run(  # noqa: S603  no shell
        [compiler, "-O2", "-Wall", "-o", program, _SOURCE], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"load.c cannot be compiled:\n{done.stderr}")
    return program


class Load:
    """One load client process and its Socket.IO clients; `with` ends it."""

    def __init__(self, program: Path) -> None:
        shared = program.with_suffix(".progress")
        shared.write_bytes(bytes(mmap.PAGESIZE))
        self._file = shared.open("r+b")
        self._progress = mmap.mmap(self._file.fileno(), mmap.PAGESIZE)
        self._process = subprocess.Popen(  # noqa: S603  compiled from our own source
            [program, shared], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.clients = 0

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._progress.close()
        self._file.close()

    @property
    def progress(self) -> Progress:
        """The counts at this moment."""
        return Progress(*_PROGRESS.unpack_from(self._progress))

    def connect(self, clients: int, port: int, token: str, *, each_its_room: bool, buffer: int = 0) -> None:
        """Connect so many clients and let each enter its room, or all the same one.

        `buffer` bounds the kernel's receive buffer of each, in bytes.
        """
        self.clients = clients
        room = int(each_its_room)
        self.command(f"connect {clients} 127.0.0.1 {port} /socket.io /bench {room} {buffer} {token}")
        self.wait(lambda now: now.ready >= clients, 120, "all clients to be in their rooms")

    def command(self, line: str) -> str:
        """Send one command and return the answer."""
        assert self._process.stdin is not None  # noqa: S101  a pipe
        assert self._process.stdout is not None  # noqa: S101  a pipe
        self._process.stdin.write(f"{line}\n")
        answer = self._process.stdout.readline().strip()
        if not answer or answer.startswith("error"):
            raise BenchError(f"the load client: {answer or 'ended'}")
        return answer

    def report(self) -> Timings:
        """Latencies since the last `reset`."""
        p50, p99, worst, *fault = self.command("report").split(" ", 3)
        return Timings(p50=float(p50), p99=float(p99), worst=float(worst), fault="".join(fault))

    def wait(self, condition: Callable[[Progress], bool], stalled: float, wanted: str) -> None:
        """Wait for a condition; BenchError on a fault, or when nothing has moved for `stalled` seconds."""
        before, since = self.progress, time.monotonic()
        while not condition(now := self.progress):
            if now.faults or self._process.poll() is not None:
                raise BenchError(f"waiting for {wanted}: {self.report().fault}")
            if now != before:
                before, since = now, time.monotonic()
            elif time.monotonic() - since > stalled:
                raise BenchError(f"waited in vain for {wanted}: {now}")
            time.sleep(0.005)

    def check(self) -> None:
        """BenchError unless every client is there and saw its sequence whole and in order."""
        now = self.progress
        if now.faults:
            raise BenchError(f"{now.faults} faults, the first: {self.report().fault}")
        if now.closed:
            raise BenchError(f"{now.closed} clients were disconnected")
