"""The SWE Agent's examples: the document's broadcaster in Python, and publishers in Node and in shell."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from tests.support.daemon import ROOT, SECRET, unique
from tests.support.swe import Swe, seen
from tests.systems.swe_events import ALL, PROJECT, USER, Example

EXAMPLES = ROOT / "examples"

# The document's own lines, in a file of a service that has the example as `events/broadcaster.py`.
DOCUMENTED = """
from events.broadcaster import get_broadcaster
from uuid import UUID

async def send_project_update():
    broadcaster = get_broadcaster()

    await broadcaster.broadcast_project_updated(
        project_id=UUID("550e8400-e29b-41d4-a716-446655440000"),
        project_name="AI Agent Framework",
        repository_url="https://github.com/user/ai-agent-framework",
        status="active",
        updated_by=UUID("660e8400-e29b-41d4-a716-446655440001"),
        changes={"status": "updated"}
    )
"""

EVERYTHING = """
import asyncio, json, sys
from events.broadcaster import get_broadcaster

async def main():
    for event, data in json.load(sys.stdin):
        await getattr(get_broadcaster(), "broadcast_" + event.replace(".", "_"))(**data)
    await get_broadcaster().close()

asyncio.run(main())
"""


@asynccontextmanager
async def run(swe: Swe, *command: str, **more: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of a service, which finds the broker by AMQP_URL."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, "AMQP_URL": swe.services.amqp_url, "JWT_SECRET": SECRET, **more},
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def finish(process: asyncio.subprocess.Process, text: str = "") -> tuple[int | None, str]:
    """The exit code and what was printed."""
    async with asyncio.timeout(20):
        printed, _ = await process.communicate(text.encode())
    return process.returncode, printed.decode()


def _data(args: list[object]) -> dict[str, object]:
    (event,) = args
    assert isinstance(event, dict)
    data = event["data"]
    assert isinstance(data, dict)
    return data


async def test_documents_python_example_runs_as_written(swe: Swe) -> None:
    """`get_broadcaster()` and `broadcast_project_updated` reach the project and the user."""
    client = await swe.connect(user=USER)
    async with run(swe, sys.executable, "-c", _with_module(DOCUMENTED + _CALL)) as process:
        assert await finish(process) == (0, "")
    (args,) = await client.wait_for("project.updated")
    assert _data(args) == {
        "project_id": PROJECT,
        "project_name": "AI Agent Framework",
        "repository_url": "https://github.com/user/ai-agent-framework",
        "status": "active",
        "updated_by": USER,
        "changes": {"status": "updated"},
    }
    assert UUID(str(_data(args)["project_id"]))


async def test_broadcaster_knows_every_event_of_the_document(swe: Swe) -> None:
    """`broadcast_<event>(**data)` for each; source and type are filled in as the document has them."""
    client = await swe.connect(f"project:{PROJECT}", user=unique("ann"), projects=[PROJECT])

    def of_our_project(example: Example) -> dict[str, object]:
        return {**example.data, "project_id": PROJECT}

    sent = [
        (example.event, of_our_project(example)) for example in ALL if not example.event.startswith("agent.")
    ]
    sent += [(example.event, example.data) for example in ALL if example.event.startswith("agent.")]
    async with run(swe, sys.executable, "-c", _with_module(EVERYTHING)) as process:
        assert await finish(process, json.dumps(sent)) == (0, "")
    await swe.mark(client)
    assert [(event, _data(args)) for event, args in seen(client)] == sent
    sources = {example.event: example.body["source"] for example in ALL}
    for event, (body,) in seen(client):
        assert isinstance(body, dict)
        assert (body["type"], body["source"]) == (event, sources[event])


async def test_demonstration_shows_a_team_at_work(swe: Swe) -> None:
    """What `make run` starts: events of the project apollo, all valid, until it is told to stop."""
    client = await swe.connect("project:apollo", user=unique("demo"), projects=["apollo"])
    before = len(swe.daemon.log)
    async with run(swe, sys.executable, "examples/swe_agent_broadcaster.py") as process:
        await client.wait_for("project.updated", timeout=20)
        process.send_signal(signal.SIGTERM)
        assert await finish(process) == (0, "swe_agent: stopped\n")
    names = {name for name, _ in seen(client)}
    assert names == {
        "issue.created",
        "agent.status_changed",
        "workflow.progress",
        "workflow.completed",
        "pr.created",
        "ai.suggestion",
        "project.updated",
    }
    assert "event.invalid" not in swe.daemon.log[before:]


async def test_demonstration_waits_for_a_broker(swe: Swe) -> None:
    """Without one it says so and tries again; it can be stopped all the same."""
    url = "amqp://guest:guest@127.0.0.1:1/"
    async with run(swe, sys.executable, "examples/swe_agent_broadcaster.py", AMQP_URL=url) as process:
        assert process.stdout is not None
        async with asyncio.timeout(15):
            while await process.stdout.readline() != b"swe_agent: no broker; trying again\n":
                assert process.returncode is None
        process.send_signal(signal.SIGTERM)
        code, printed = await finish(process)
        assert (code, printed.endswith("swe_agent: stopped\n")) == (0, True)


async def test_node_publishes(swe: Swe) -> None:
    """`node examples/publish.mjs`: its own event, and one that is given; nobody listening is a failure."""
    assert (EXAMPLES / "node_modules/amqplib").is_dir(), "amqplib is not installed: npm ci --prefix examples"
    node = shutil.which("node")
    assert node is not None
    client = await swe.connect("project:apollo", user=unique("demo"), projects=["apollo"])
    async with run(swe, node, "examples/publish.mjs") as process:
        assert await finish(process) == (0, "confirmed: swe.events project.apollo.updated\n")
    given = next(example for example in ALL if example.event == "agent.connected")
    command = ["examples/publish.mjs", "swe.events", given.key, json.dumps(given.body)]
    async with run(swe, node, *command) as process:
        assert (await finish(process))[0] == 0
    assert await client.wait_for("agent.connected") == [[given.body]]
    assert _data((await client.wait_for("project.updated"))[0])["project_id"] == "apollo"
    async with run(swe, node, "examples/publish.mjs", "swe.events", "no.such.key", "{}") as process:
        assert await finish(process) == (1, "nobody listens to no.such.key\n")
    async with run(swe, node, "examples/publish.mjs", "no.such.exchange", "a.b", "{}") as process:
        code, printed = await finish(process)
        assert (code, "no exchange 'no.such.exchange'" in printed) == (1, True)


async def test_shell_publishes(swe: Swe) -> None:
    """`examples/publish.sh`: its own event, and one that is given; nobody listening is a failure."""
    client = await swe.connect()
    async with run(swe, "examples/publish.sh") as process:
        code, printed = await finish(process)
        assert (code, printed.startswith("confirmed: swe.events agent.gpt-4.status_changed")) == (0, True)
    assert _data((await client.wait_for("agent.status_changed"))[0])["agent_id"] == "gpt-4"
    given = next(example for example in ALL if example.event == "agent.connected")
    command = ["examples/publish.sh", "swe.events", given.key, json.dumps(given.body)]
    async with run(swe, *command) as process:
        assert (await finish(process))[0] == 0
    assert await client.wait_for("agent.connected") == [[given.body]]
    async with run(swe, "examples/publish.sh", "swe.events", "no.such.key", "{}") as process:
        code, printed = await finish(process)
        assert (code, "nobody listens" in printed) == (4, True)


def test_shell_script_is_plain_sh() -> None:
    """No shell but the one that every machine has is needed."""
    text = (EXAMPLES / "publish.sh").read_text(encoding="utf-8")
    assert text.startswith("#!/bin/sh\n")
    subprocess.run(["sh", "-n", str(EXAMPLES / "publish.sh")], check=True)  # noqa: S603, S607


_CALL = """
import asyncio
async def main():
    await send_project_update()
    await get_broadcaster().close()
asyncio.run(main())
"""


def _with_module(code: str) -> str:
    """The code with the example as the module `events.broadcaster`."""
    return f"""
import importlib.util, sys, types
spec = importlib.util.spec_from_file_location("events.broadcaster", "examples/swe_agent_broadcaster.py")
module = importlib.util.module_from_spec(spec)
sys.modules["events"], sys.modules["events.broadcaster"] = types.ModuleType("events"), module
spec.loader.exec_module(module)
{code}
"""
