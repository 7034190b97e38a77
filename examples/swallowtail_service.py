"""A small service of Swallowtail: it publishes how the tasks of an instance go on; nothing comes back.

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

URL = "amqp://guest:guest@localhost:5672/"
INSTANCE = "demo"
STEPS = (
    ("research_topic", "Researcher", "Reading about swallowtails"),
    ("generate_content", "ContentCreator", "Generating social media content"),
    ("review_content", "Editor", "Reading it once more"),
)
PAUSE = 1.0  # seconds between two events

Body = dict[str, object]
Event = tuple[str, Body]
"""The routing key and the body; browsers receive the body as it is."""


def iso(ahead: float = 0.0) -> str:
    """The time now, or some seconds ahead."""
    return (datetime.now(UTC) + timedelta(seconds=ahead)).isoformat(timespec="milliseconds")


def about(event: str, task: str, data: Body) -> Event:
    """An event of a task of the instance."""
    body: Body = {"instance_id": INSTANCE, "task_id": task, "type": event, "data": data}
    return f"instance.{INSTANCE}.{event}", body


def progress(task: str, percent: int, status: str, message: str) -> Event:
    """How far a task has come."""
    data: Body = {"progress": percent, "status": status, "message": message, "timestamp": iso()}
    return about("task_update", task, data)


def tasks() -> Iterator[Event]:
    """One task after the other: from SUBMITTED to COMPLETED, a step at a time, for ever."""
    for number in itertools.count(1):
        task = f"task-{number}"
        yield progress(task, 0, "SUBMITTED", "Taken")
        yield progress(task, 0, "QUEUED", "Waiting for an agent")
        for done, (step, agent, action) in enumerate(STEPS, start=1):
            yield progress(task, (done - 1) * 100 // len(STEPS), "IN_PROGRESS", f"{action}...")
            data: Body = {"step_id": step, "agent": agent, "action": action, "status": "completed"}
            data |= {"output": {"words": 120 * done}, "started_at": iso(-PAUSE), "completed_at": iso()}
            yield about("execution_step", task, data)
        yield progress(task, 100, "COMPLETED", "Done")


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


async def work(connection: AbstractConnection) -> None:
    """Publish the tasks, one event every moment, until the connection is lost."""
    channel = await connection.channel()
    events = await channel.declare_exchange("swallowtail.events", aio_pika.ExchangeType.TOPIC, durable=True)
    for event in tasks():
        await publish(events, event)
        await asyncio.sleep(PAUSE)


async def main() -> None:
    """Work until SIGTERM or Ctrl-C; connect anew whenever the broker goes away."""
    for library in ("aiormq", "asyncio"):  # which tell of each broker that goes, at length
        logging.getLogger(library).setLevel(logging.CRITICAL)
    this = asyncio.current_task()
    assert this is not None  # noqa: S101  a coroutine always runs in one
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, this.cancel)
    while True:
        try:
            async with await aio_pika.connect(os.environ.get("AMQP_URL", URL)) as connection:
                await work(connection)
        except (*CONNECTION_EXCEPTIONS, TimeoutError):
            print("swallowtail: no broker; trying again", flush=True)
        await asyncio.sleep(PAUSE)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except asyncio.CancelledError:
        print("swallowtail: stopped", flush=True)
