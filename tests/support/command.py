"""The command `bridged` as a user types it: a process of its own, its output and exit code."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.daemon import ROOT, SECRET


def run_bridged(
    *arguments: str, environ: Mapping[str, str] | None = None, cwd: Path = ROOT, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run it to its end, with `JWT_SECRET` set; an empty value in `environ` removes a variable."""
    variables = {**os.environ, "JWT_SECRET": SECRET, **(environ or {})}
    return subprocess.run(  # noqa: S603  our own interpreter, no shell
        [sys.executable, "-m", "bridge", *arguments],
        cwd=cwd,
        env={name: value for name, value in variables.items() if value},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


class RunningCommand:
    """`bridged ...` that runs beside the test; `with` ends it."""

    def __init__(self, *arguments: str, environ: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(  # noqa: S603  our own interpreter, no shell
            [sys.executable, "-m", "bridge", *arguments],
            cwd=ROOT,
            env={**os.environ, "JWT_SECRET": SECRET, "PYTHONUNBUFFERED": "1", **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __enter__(self) -> "RunningCommand":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def read_line(self) -> str:
        """The next line of its output; the test's own time limit bounds the wait."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def hang_up(self) -> None:
        """Read nothing more, as `| head` does when it has enough."""
        assert self._process.stdout is not None
        self._process.stdout.close()

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def wait(self) -> int:
        """The exit code, once it has ended."""
        return self._process.wait(20)
