"""A page in a Node process of its own: it says by JSON lines what it shows, and does what it is told."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path


class Page:
    """A page that runs; what it has shown so far is `shown`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.shown: list[tuple[str, object]] = []

    async def wait_for(self, on: str, wanted: Callable[[object], bool] = lambda _: True) -> object:
        """Read until the page shows something of that name that is wanted; returns it."""
        assert self._process.stdout is not None
        async with asyncio.timeout(10):
            while line := await self._process.stdout.readline():
                told = json.loads(line)
                self.shown.append((told["on"], told["data"]))
                if told["on"] == on and wanted(told["data"]):
                    return told["data"]
        raise AssertionError(f"the page ended; it had shown {self.shown}")

    def tell(self, **told: object) -> None:
        """Have the page do something."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(told).encode() + b"\n")


@asynccontextmanager
async def open_page(script: Path, environ: Mapping[str, str]) -> AsyncIterator[Page]:
    """Run a script of Node with some more variables; it ends when its standard input does."""
    node = shutil.which("node")
    assert node is not None, "node is not installed"
    process = await asyncio.create_subprocess_exec(
        node,
        str(script),
        env={**os.environ, **environ},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1024 * 1024,
    )
    try:
        yield Page(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(10):
            await process.wait()
