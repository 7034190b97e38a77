"""Swallowtail as its document has it: open to everybody, by websocket alone."""

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from tests.support.daemon import ROOT, unique
from tests.support.js_client import JsClient
from tests.support.swallowtail import CONFIG, Swallowtail

_FOLDER = Path(__file__).parent


async def test_nobody_needs_a_token(swallowtail: Swallowtail) -> None:
    """The event `connected` greets each client; a token is not even looked at."""
    for auth in ({}, {"token": "nonsense"}, {"token": 5}):
        client = await swallowtail.js.connect(swallowtail.daemon.url, auth=auth, transports=["websocket"])
        assert await client.wait_for("connected") == [[{"sid": client.sid}]]


async def test_events_of_an_instance_arrive_as_they_were_published(swallowtail: Swallowtail) -> None:
    """`task_update`, with and without `status`, and `execution_step`; other instances are silent."""
    client = await swallowtail.connect(swallowtail.instance)
    other = unique("instance")
    bystanders = [await swallowtail.connect(), await swallowtail.connect(other)]
    updates = [swallowtail.task_update(), swallowtail.task_update(status="IN_PROGRESS", progress=12.5)]
    step = swallowtail.execution_step()
    for body in updates:
        await swallowtail.publish("task_update", body)
    await swallowtail.publish("execution_step", step)
    await swallowtail.publish("task_update", swallowtail.task_update(other), other)
    assert await client.wait_for("execution_step") == [[step]]
    assert client.events == [
        ("task_update", [updates[0]]),
        ("task_update", [updates[1]]),
        ("execution_step", [step]),
    ]
    await bystanders[1].wait_for("task_update")
    assert [bystander.events for bystander in bystanders] == [
        [],
        [("task_update", [swallowtail.task_update(other)])],
    ]


@pytest.mark.parametrize(
    "data",
    [{"progress": 101}, {"progress": -1}, {"progress": "75"}, {"timestamp": "now"}, {"message": None}],
    ids=json.dumps,
)
async def test_an_update_outside_the_document_is_set_aside(
    swallowtail: Swallowtail, data: dict[str, object]
) -> None:
    """And the next one arrives."""
    client = await swallowtail.connect(swallowtail.instance)
    await swallowtail.publish("task_update", swallowtail.task_update(**data))
    await swallowtail.publish("task_update", {**swallowtail.task_update(), "type": "execution_step"})
    await swallowtail.publish("task_update", {**swallowtail.task_update(), "owner": "dropped"})
    assert await client.wait_for("task_update") == [[swallowtail.task_update()]]


async def test_subscriptions_are_confirmed(swallowtail: Swallowtail) -> None:
    """`subscribed` and `unsubscribed` name the instance; after the latter nothing arrives."""
    client = await swallowtail.connect()
    instance = {"instance_id": swallowtail.instance}
    await client.emit("subscribe_instance", instance)
    await client.emit("unsubscribe_instance", instance)
    assert await client.wait_for("unsubscribed") == [[instance]]
    assert client.events == [("subscribed", [instance]), ("unsubscribed", [instance])]
    witness = await swallowtail.connect(swallowtail.instance)
    await swallowtail.publish("task_update", swallowtail.task_update())
    await witness.wait_for("task_update")
    await client.call("subscribe_instance", instance)
    assert client.received("task_update") == []


async def _refusal(client: JsClient, event: str, *args: object) -> dict[str, object]:
    client.events.clear()
    answer = await client.call(event, *args)
    assert isinstance(answer, dict)
    await client.wait_for("error")
    assert client.events == [("error", [{"message": answer["message"]}])]
    return answer


@pytest.mark.parametrize(
    "args",
    [
        [],
        [None],
        [{}],
        ["demo"],
        [{"instance_id": ""}],
        [{"instance_id": 5}],
        [{"instance_id": "a.b"}],
        [{"instance_id": "#"}],
        [{"instance_id": "*"}],
        [{"instance_id": "a b"}],
        [{"instance_id": "a" * 129}],
        [{"instance_id": "a", "all": True}],
        [{"instance_id": "a"}, "b"],
    ],
    ids=json.dumps,
)
async def test_a_bad_subscription_is_answered_by_an_error(
    swallowtail: Swallowtail, args: list[object]
) -> None:
    """`error {message}`; the client stays, and subscribes well after it."""
    client = await swallowtail.connect()
    assert (await _refusal(client, "subscribe_instance", *args))["code"] == "VALIDATION_FAILED"
    assert await client.call("subscribe_instance", {"instance_id": "a"}) == {
        "status": "ok",
        "instance_id": "a",
    }


async def test_subscriptions_are_rate_limited(swallowtail: Swallowtail) -> None:
    """Twenty in a second go through, the next is refused by the event `error`, and others are unharmed."""
    client, other = await swallowtail.connect(), await swallowtail.connect()
    calls = [client.call("subscribe_instance", {"instance_id": f"i-{number}"}) for number in range(21)]
    answers = await asyncio.gather(*calls)
    statuses = [answer["status"] for answer in answers if isinstance(answer, dict)]
    assert statuses == ["ok"] * 20 + ["error"]
    refused = answers[-1]
    assert isinstance(refused, dict)
    assert refused["code"] == "RATE_LIMITED"
    assert refused["retry_after"] > 0
    assert await client.wait_for("error") == [[{"message": refused["message"]}]]
    answer = await other.call("subscribe_instance", {"instance_id": "i-0"})
    assert answer == {"status": "ok", "instance_id": "i-0"}


def test_it_has_a_stream_of_its_own() -> None:
    """So that it may share a broker with the other systems."""
    own = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    others = yaml.safe_load((ROOT / "config" / "bridge.yaml").read_text(encoding="utf-8"))
    assert own["amqp"]["stream"]["name"] != others["amqp"]["stream"]["name"]
    assert not any((ROOT / "config" / "swallowtail").glob("routes/*"))


class _Program:
    """A program that runs, and the lines that it has printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode().strip())

    async def show(self, *wanted: str, by: Callable[[], Awaitable[None]] | None = None) -> None:
        """Wait for new lines, and do something meanwhile: only the daemon knows when it has subscribed."""
        self.lines.clear()
        async with asyncio.timeout(15):
            while not {*wanted} <= {*self.lines}:
                assert not self._reader.done(), self.lines
                if by is not None:
                    await by()
                await asyncio.wait([self._reader], timeout=0.05)


@asynccontextmanager
async def _running(*command: str) -> AsyncIterator[_Program]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe)
    program = _Program(process)
    try:
        yield program
    finally:
        process.kill()
        await process.wait()
        await program._reader


async def _publish_both(swallowtail: Swallowtail) -> None:
    await swallowtail.publish("task_update", swallowtail.task_update())
    await swallowtail.publish("execution_step", swallowtail.execution_step())


async def test_the_documents_javascript_class_runs(swallowtail: Swallowtail) -> None:
    """It shows both events, and again after a reconnect, since it subscribes anew."""
    node = shutil.which("node")
    assert node is not None
    shown = (
        f"Task {swallowtail.task} progress: 75%",
        f"New step for task {swallowtail.task}: Generating social media content",
    )
    client = str(_FOLDER / "swallowtail_client.mjs")
    async with _running(node, client, swallowtail.daemon.url, swallowtail.instance) as program:
        await program.show(*shown, by=lambda: _publish_both(swallowtail))
        assert program.process.stdin is not None
        program.process.stdin.write(b"reconnect\n")
        await program.show("Connected to WebSocket")
        await program.show(*shown, by=lambda: _publish_both(swallowtail))


async def test_the_documents_python_class_runs(swallowtail: Swallowtail) -> None:
    """It connects, subscribes and shows both events."""
    client = str(_FOLDER / "swallowtail_client.py")
    update, step = swallowtail.task_update()["data"], swallowtail.execution_step()["data"]
    shown = (f"Task {swallowtail.task} update: {update}", f"Execution step: {step}")
    async with _running(
        sys.executable, "-u", client, swallowtail.daemon.url, swallowtail.instance
    ) as program:
        await program.show(*shown, by=lambda: _publish_both(swallowtail))
