"""A small service of the portal: it publishes events of the project "apollo" and answers commands.

It knows nothing of the bridge: all that it needs is RabbitMQ, by AMQP_URL. Any language can do the same.
"""

import asyncio
import itertools
import json
import logging
import os
import signal
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractExchange
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

PROJECT = "apollo"
STATES = ("IDLE", "BACKLOG_READY", "SPRINT_PLANNED", "SPRINT_ACTIVE", "SPRINT_REVIEW")
PAUSE = 1.5  # seconds between two events

Body = dict[str, object]
Event = tuple[str, Body]
"""The routing key and the body; browsers receive the body as it is."""


def iso(ahead: float = 0.0) -> str:
    """The time now, or some seconds ahead."""
    return (datetime.now(UTC) + timedelta(seconds=ahead)).isoformat(timespec="milliseconds")


def about(routing_key: str, **fields: object) -> Event:
    """An event of the project."""
    return routing_key, {"project_name": PROJECT, **fields}


def working_day() -> Iterator[Event]:
    """What happens in the project, for ever."""
    for step in itertools.count():
        old, new = STATES[step % len(STATES)], STATES[(step + 1) % len(STATES)]
        work: Body = {"agent_type": "coder", "task_id": f"task-{step}"}
        change: Body = {"old_state": old, "new_state": new, "timestamp": iso(), "triggered_by": "example"}
        yield about(f"project.{PROJECT}.state_change", **change)
        for percent in (0, 50, 100):
            progress: Body = {"progress": percent, "status": "completed" if percent == 100 else "running"}
            yield about(f"project.{PROJECT}.task_update", **work, **progress, task_type="implement")
        yield about(
            "monitoring.agent_activity", **work, action="implement", status="completed", timestamp=iso()
        )
        yield about(
            f"project.{PROJECT}.approval_request",
            request_id=f"request-{step}",
            task={"id": work["task_id"]},
            reason="ready to merge",
            created_at=iso(),
            retry_count=0,
            timeout_at=iso(ahead=600),
        )


def answer(command: str, sent: Body) -> Iterator[Event]:
    """The events that answer a command, whose body the bridge has validated and stamped."""
    project = sent["project_name"]
    if command == "resolve_approval":
        yield f"project.{project}.approval_resolved", sent
    elif command == "send_message":
        kinds = {"command": "command", "message": "response", "thread_reply": "thread"}
        yield f"chat.{project}.message_received", {**sent, "type": kinds[str(sent["type"])]}
        if sent["type"] == "command":
            result: Body = {"message_id": sent["message_id"], "command": sent["content"], "success": True}
            result |= {"result": "done", "execution_time": 0.01, "timestamp": iso()}
            yield f"chat.{project}.command_result", result


async def publish(exchange: AbstractExchange, event: Event) -> None:
    """Publish one event; returns when the broker has confirmed it."""
    routing_key, body = event
    message = aio_pika.Message(
        json.dumps(body).encode(),
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=str(uuid.uuid4()),  # the bridge shows an event that comes twice only once
        timestamp=datetime.now(UTC),
    )
    await exchange.publish(message, routing_key, mandatory=False, timeout=10)


async def publish_events(connection: AbstractConnection) -> None:
    """Publish the working day, one event every moment."""
    channel = await connection.channel()
    events = await channel.declare_exchange("portal.events", aio_pika.ExchangeType.TOPIC, durable=True)
    for event in working_day():
        await publish(events, event)
        await asyncio.sleep(PAUSE)


async def answer_commands(connection: AbstractConnection) -> None:
    """Take the commands of the browsers and answer each by events."""
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=10)
    events = await channel.declare_exchange("portal.events", aio_pika.ExchangeType.TOPIC, durable=True)
    commands = await channel.declare_exchange("portal.commands", aio_pika.ExchangeType.TOPIC, durable=True)
    queue = await channel.declare_queue("portal.example", durable=True, arguments={"x-expires": 600_000})
    for key in ("chat.*.send_message", "project.*.approval.resolve"):
        await queue.bind(commands, key)
    async for message in queue.iterator():
        async with message.process():
            command = str(message.type)
            print(f"example: {command} from {message.headers.get('x-user')!s}", flush=True)
            for event in answer(command, json.loads(message.body)):
                await publish(events, event)


async def work(url: str, stopping: asyncio.Event) -> None:
    """Work on one connection, until it is lost or it is time to stop."""
    async with await aio_pika.connect(url) as connection:
        parts = [
            asyncio.ensure_future(part)
            for part in (publish_events(connection), answer_commands(connection), stopping.wait())
        ]
        ended, others = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        for part in others:
            part.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for part in ended:
            part.result()


async def main() -> None:
    """Work until SIGTERM or Ctrl-C; connect anew whenever the broker goes away."""
    for library in ("aiormq", "asyncio"):  # which tell of each broker that goes, at length
        logging.getLogger(library).setLevel(logging.CRITICAL)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    while not stopping.is_set():
        try:
            await work(os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/"), stopping)
        except (*CONNECTION_EXCEPTIONS, TimeoutError):
            print("example: no broker; trying again", flush=True)
            await asyncio.sleep(PAUSE)


if __name__ == "__main__":
    asyncio.run(main())
