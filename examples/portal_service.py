"""A small service of the portal: it publishes events of the project "apollo" and answers commands.

It knows nothing of the bridge: all that it needs is RabbitMQ, by AMQP_URL. Any language can do the same.
"""

import asyncio
import contextlib
import itertools
import json
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
        yield about(
            f"project.{PROJECT}.state_change",
            old_state=old,
            new_state=new,
            timestamp=iso(),
            triggered_by="example",
        )
        for percent in (0, 50, 100):
            status = "completed" if percent == 100 else "running"
            yield about(
                f"project.{PROJECT}.task_update",
                **work,
                task_type="implement",
                status=status,
                progress=percent,
            )
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


async def main() -> None:
    """Work until cancelled; connect anew whenever the broker goes away."""
    url = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/")
    while True:
        try:
            async with await aio_pika.connect(url) as connection, asyncio.TaskGroup() as tasks:
                tasks.create_task(publish_events(connection))
                tasks.create_task(answer_commands(connection))
        except* (*CONNECTION_EXCEPTIONS, TimeoutError):
            print("example: no broker; trying again", flush=True)
        await asyncio.sleep(PAUSE)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops as Ctrl-C does: in good order
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
