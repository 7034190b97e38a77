"""Swallowtail as its users and services see it: browsers in `/` of a daemon of its own."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.daemon import ROOT, Daemon, unique
from tests.support.js_client import JsClient, JsClients
from tests.support.services import Services

CONFIG = ROOT / "config" / "swallowtail.yaml"


class Swallowtail:
    """What a test of Swallowtail works with; its instance and its task are nobody else's."""

    def __init__(self, daemon: Daemon, js: JsClients, services: Services) -> None:
        self.daemon = daemon
        self.js = js
        self.services = services
        self.instance = unique("instance")
        self.task = unique("task")

    async def connect(self, *instances: str, token: str | None = None) -> JsClient:
        """A client as the document connects it: by websocket alone; it has subscribed to the instances."""
        client = await self.js.connect(
            self.daemon.url, auth={"token": token} if token else None, transports=["websocket"], upgrade=False
        )
        await client.wait_for("connected")
        for instance in instances:
            answer = await client.call("subscribe_instance", {"instance_id": instance})
            assert answer == {"status": "ok", "instance_id": instance}
        client.events.clear()
        return client

    async def publish(self, event: str, body: object, instance: str | None = None) -> None:
        """Publish one event of an instance, the test's own unless another one is named."""
        await self.services.publish(f"instance.{instance or self.instance}.{event}", body)

    def task_update(self, instance: str | None = None, **data: object) -> dict[str, object]:
        """The document's `task_update`."""
        shown = {"progress": 75, "message": "Processing content...", "timestamp": "2024-01-01T12:00:00Z"}
        return self._body("task_update", {**shown, **data}, instance)

    def execution_step(self, instance: str | None = None, **data: object) -> dict[str, object]:
        """The document's `execution_step`."""
        shown = {
            "step_id": "generate_content",
            "agent": "ContentCreator",
            "action": "Generating social media content",
            "status": "completed",
            "output": {"posts": [{"text": "Hi \U0001f44b", "tags": []}], "cost": 0.25},
            "started_at": "2024-01-01T12:00:00Z",
            "completed_at": "2024-01-01T12:01:00Z",
        }
        return self._body("execution_step", {**shown, **data}, instance)

    def _body(self, event: str, data: dict[str, object], instance: str | None) -> dict[str, object]:
        return {"instance_id": instance or self.instance, "task_id": self.task, "type": event, "data": data}


def run_swallowtail(folder: Path, amqp_url: str, **environ: str) -> Iterator[Daemon]:
    """A daemon with `config/swallowtail.yaml` as shipped."""
    daemon = Daemon(folder, amqp_url, CONFIG, environ)
    daemon.start()
    yield daemon
    assert daemon.stop() == 0


@asynccontextmanager
async def visit_swallowtail(daemon: Daemon, amqp_url: str, js: JsClients) -> AsyncIterator[Swallowtail]:
    """Browsers and services around a daemon that runs; the browsers are closed at the end."""
    async with Services(amqp_url, events="swallowtail.events") as services:
        yield Swallowtail(daemon, js, services)
        await js.close_all()
