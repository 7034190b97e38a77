"""The broadcaster of the SWE Agent's services, and a demonstration of a team of agents at work.

A service says `await get_broadcaster().broadcast_project_updated(project_id=..., ...)`: that publishes one
message to RabbitMQ, by AMQP_URL, and browsers receive it as `project.updated`. Nothing here knows the bridge.
"""

import asyncio
import itertools
import json
import logging
import os
import signal
import uuid
from datetime import UTC, datetime
from functools import cache, partialmethod

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractExchange
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

URL = "amqp://guest:guest@localhost:5672/"

Id = uuid.UUID | str


class Broadcaster:
    """Publishes the events of the SWE Agent; connects at the first one, and anew whenever it must.

    Keyword arguments are the fields of the event's `data`, as schemas/swe_agent.py lists them.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connecting = asyncio.Lock()
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None

    async def _project(self, change: str, *, project_id: Id, **data: object) -> None:
        await self._publish(
            "project_service", f"project.{project_id}.{change}", project_id=project_id, **data
        )

    broadcast_project_updated = partialmethod(_project, "updated")
    broadcast_project_deleted = partialmethod(_project, "deleted")

    async def _agent(self, change: str, *, agent_id: Id, **data: object) -> None:
        await self._publish("agent_service", f"agent.{agent_id}.{change}", agent_id=agent_id, **data)

    broadcast_agent_status_changed = partialmethod(_agent, "status_changed")
    broadcast_agent_connected = partialmethod(_agent, "connected")
    broadcast_agent_disconnected = partialmethod(_agent, "disconnected")

    async def _workflow(self, change: str, *, workflow_id: Id, **data: object) -> None:
        key = f"workflow.{workflow_id}.{change}"
        await self._publish("workflow_service", key, workflow_id=workflow_id, **data)

    broadcast_workflow_progress = partialmethod(_workflow, "progress")
    broadcast_workflow_started = partialmethod(_workflow, "started")
    broadcast_workflow_completed = partialmethod(_workflow, "completed")
    broadcast_workflow_failed = partialmethod(_workflow, "failed")

    async def _pr(self, change: str, *, pr_id: Id, **data: object) -> None:
        await self._publish("github_service", f"pr.{pr_id}.{change}", pr_id=pr_id, **data)

    broadcast_pr_created = partialmethod(_pr, "created")
    broadcast_pr_updated = partialmethod(_pr, "updated")
    broadcast_pr_closed = partialmethod(_pr, "closed")

    async def _issue(self, change: str, *, issue_id: Id, **data: object) -> None:
        await self._publish("github_service", f"issue.{issue_id}.{change}", issue_id=issue_id, **data)

    broadcast_issue_created = partialmethod(_issue, "created")
    broadcast_issue_updated = partialmethod(_issue, "updated")
    broadcast_issue_closed = partialmethod(_issue, "closed")

    async def broadcast_ai_suggestion(self, **data: object) -> None:
        """Something that the AI recommends."""
        await self._publish("ai_dock_service", "ai.suggestion", **data)

    async def broadcast_ai_analysis_complete(self, **data: object) -> None:
        """The AI is done with an analysis."""
        await self._publish("ai_dock_service", "ai.analysis_complete", **data)

    async def close(self) -> None:
        """Leave the broker."""
        if self._connection is not None:
            await self._connection.close()

    async def _publish(self, source: str, key: str, **data: object) -> None:
        """Publish one envelope; returns when the broker has confirmed it."""
        family, *_, change = key.split(".")
        now = datetime.now(UTC)
        body = {"type": f"{family}.{change}", "timestamp": now.isoformat(), "source": source, "data": data}
        message = aio_pika.Message(
            json.dumps(body, default=str).encode(),  # `str` is for UUIDs
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=str(uuid.uuid4()),  # the bridge shows an event that comes twice only once
            timestamp=now,
        )
        exchange = await self._connect()
        try:
            await exchange.publish(message, key, mandatory=False, timeout=10)
        except (*CONNECTION_EXCEPTIONS, TimeoutError):
            if self._exchange is exchange:
                self._exchange = None  # the next event connects anew; `is_closed` does not tell
            raise

    async def _connect(self) -> AbstractExchange:
        async with self._connecting:
            if self._exchange is None:
                await self.close()
                self._connection = await aio_pika.connect(self._url, timeout=10)
                channel = await self._connection.channel()
                kind = aio_pika.ExchangeType.TOPIC
                self._exchange = await channel.declare_exchange("swe.events", kind, durable=True)
            return self._exchange


@cache
def get_broadcaster() -> Broadcaster:
    """The one broadcaster of this process."""
    return Broadcaster(os.environ.get("AMQP_URL", URL))


# --- A demonstration ---------------------------------------------------------------------------

PROJECT = "apollo"
STEPS = ("Cloning repository", "Analyzing code structure", "Writing a patch", "Running tests")
PAUSE = 1.0  # seconds between two events


async def work(number: int) -> None:
    """An agent takes an issue, works through it, and opens a pull request."""
    team = get_broadcaster()
    agent, issue, pr = f"agent-{number % 3 + 1}", f"issue-{number}", f"pr-{number}"
    now = datetime.now(UTC).isoformat()
    title = f"Improve error handling, part {number}"
    state = {"agent_name": f"Code Analyst {number % 3 + 1}", "metadata": {"version": "1.0"}}
    await team.broadcast_issue_created(issue_id=issue, project_id=PROJECT, title=title, priority="high")
    await team.broadcast_agent_status_changed(agent_id=agent, status="busy", availability=15, **state)
    for done, step in enumerate(STEPS, 1):
        await asyncio.sleep(PAUSE)
        await team.broadcast_workflow_progress(
            workflow_id=f"workflow-{number}",
            project_id=PROJECT,
            status="running",
            progress=done * 100 // len(STEPS),
            current_step=step,
            total_steps=len(STEPS),
            estimated_time_remaining=(len(STEPS) - done) * PAUSE,
            logs=list(STEPS[:done]),
            errors=[],
        )
    await team.broadcast_workflow_completed(workflow_id=f"workflow-{number}", project_id=PROJECT)
    await team.broadcast_pr_created(
        pr_id=pr,
        project_id=PROJECT,
        title=f"Fix: {title}",
        description="Opened by an agent",
        author=agent,
        branch=f"feature/errors-{number}",
        github_url=f"https://github.com/user/project/pull/{number}",
        status="open",
        created_at=now,
    )
    await team.broadcast_ai_suggestion(
        suggestion_id=f"suggestion-{number}",
        project_id=PROJECT,
        target_type="pr",
        target_id=pr,
        category="maintainability",
        title="Reduce complexity",
        description="This function has a cyclomatic complexity of 12.",
        severity="info",
        confidence=0.92,
        suggested_action="Break it into smaller functions",
        metadata={"line_number": 125},
    )
    await team.broadcast_agent_status_changed(agent_id=agent, status="idle", availability=100, **state)
    await team.broadcast_project_updated(
        project_id=PROJECT,
        project_name="Apollo",
        repository_url="https://github.com/user/apollo",
        status="active",
        updated_by=agent,
        changes={"pull_requests": number},
    )
    await asyncio.sleep(PAUSE)


async def main() -> None:
    """Work until SIGTERM or Ctrl-C; try again whenever the broker is away."""
    for library in ("aiormq", "asyncio"):  # which tell of each broker that goes, at length
        logging.getLogger(library).setLevel(logging.CRITICAL)
    this = asyncio.current_task()
    assert this is not None  # noqa: S101  a coroutine always runs in one
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, this.cancel)
    try:
        for round_ in itertools.count(1):
            try:
                await work(round_)
            except (*CONNECTION_EXCEPTIONS, TimeoutError):
                print("swe_agent: no broker; trying again", flush=True)
                await asyncio.sleep(PAUSE)
    finally:
        await get_broadcaster().close()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except asyncio.CancelledError:
        print("swe_agent: stopped", flush=True)
