"""The client examples of the SWE Agent's document run as they are written, address and token aside."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.daemon import unique
from tests.support.swe import Swe
from tests.systems.swe_events import DOCUMENTED, PROJECT

FOLDER = Path(__file__).parent


class Script:
    """A Node process and the lines that it prints."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def read_until(self, start: str) -> list[str]:
        """The lines up to one that begins so."""
        assert self._process.stdout is not None
        lines = []
        async with asyncio.timeout(10):
            while line := await self._process.stdout.readline():
                lines.append(line.decode().rstrip())
                if lines[-1].startswith(start):
                    return lines
        raise AssertionError(f"it ended before {start!r}: {lines}")


@asynccontextmanager
async def run(name: str, swe: Swe, token: str) -> AsyncIterator[Script]:
    """Run a script with Node; it is ended with the block."""
    node = shutil.which("node")
    assert node is not None
    process = await asyncio.create_subprocess_exec(
        node,
        str(FOLDER / name),
        env={**os.environ, "PORT": str(swe.daemon.port), "TOKEN": token},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Script(process)
    finally:
        process.kill()
        await process.wait()


async def test_javascript_example_runs_as_written(swe: Swe) -> None:
    """It connects, subscribes before it is connected, and shows updates and progress."""
    user = unique("ann")
    async with run("swe_client.mjs", swe, swe.token(user, projects=[PROJECT])) as script:
        lines = await script.read_until("Subscribed to project")
        assert [line.split(":")[0] for line in lines] == ["Connected", "Subscribed to project"]
        for example in DOCUMENTED:
            await swe.publish(example.key, example.body)
        shown = "\n".join(await script.read_until("Progress:"))
        assert "Project updated: {" in shown
        assert "project_name: 'AI Agent Framework'" in shown
        assert shown.endswith("Progress: 45%")


async def test_query_example_runs_as_written(swe: Swe) -> None:
    """Method 2: `/ws?token=...`."""
    async with run("swe_query.mjs", swe, swe.token()) as script:
        assert await script.read_until("Connected") == [f"Connected: {swe.user}"]
