"""A small service of the Agents: it publishes what its agents and their tasks do; nothing comes back.

It knows nothing of the bridge: all that it needs is RabbitMQ, by AMQP_URL. Any language can do the same.
"""

import asyncio
import itertools
import json
import logging
import os
import signal
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractExchange
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

AGENTS = ("scout", "builder", "reviewer")
TITLES = ("Read the issue", "Write the patch", "Review the patch")
URL = "amqp://guest:guest@localhost:5672/"
PAUSE = 1.2  # seconds between two events
HEARTBEAT_EVERY = 5.0

Body = dict[str, object]
Event = tuple[str, Body]
"""The routing key and the body; browsers receive the body as it is."""


def now() -> int:
    """The time in milliseconds since 1970, as JavaScript has it."""
    return round(time.time() * 1000)


def about(routing_key: str, **fields: object) -> Event:
    """An event that happens now."""
    return routing_key, {**fields, "timestamp": now()}


def working_day() -> Iterator[Event]:
    """One task after the other, each with an agent, for ever."""
    for number in itertools.count(1):
        agent, title = AGENTS[number % len(AGENTS)], TITLES[number % len(TITLES)]
        task_id, task = f"task-{number}", {"title": title, "priority": ("normal", "high")[number % 2]}
        yield about(f"task.{task_id}.created", task_id=task_id, task=task)
        yield about(f"task.{task_id}.assigned", task_id=task_id, agent_id=agent, task=task)
        yield status(agent, "idle", "busy")
        for percent in (30, 60, 90):
            update: Body = {"progress": percent, "step": f"{title}, {percent} % done"}
            yield about(f"task.{task_id}.updated", task_id=task_id, update=update)
        message: Body = {"from": agent, "text": f"{title}: done."}
        yield about("conversation.standup.message", conversation_id="standup", message=message)
        result: Body = {"success": True, "files": [f"src/part_{number}.py"]}
        yield about(f"task.{task_id}.completed", task_id=task_id, result=result)
        yield status(agent, "busy", "idle")
        if number % 3 == 0:
            yield about("system.alert", message="The queue of reviews grows", severity="warning")


def status(agent: str, old: str, new: str) -> Event:
    """An agent goes from one status to another."""
    return about(f"agent.{agent}.status_changed", agent_id=agent, old_status=old, new_status=new)


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


async def beat(exchange: AbstractExchange) -> None:
    """Say of each agent that it is alive."""
    while True:
        for agent in AGENTS:
            metadata: Body = {"version": "1.4.0", "load": round(time.time() % 1, 2)}
            heartbeat = about(f"agent.{agent}.heartbeat", agent_id=agent, metadata=metadata)
            await publish(exchange, heartbeat)
        await asyncio.sleep(HEARTBEAT_EVERY)


async def work(connection: AbstractConnection) -> None:
    """Publish the working day and the heartbeats, until the connection is lost."""
    channel = await connection.channel()
    events = await channel.declare_exchange("agents.events", aio_pika.ExchangeType.TOPIC, durable=True)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(beat(events))
        for event in working_day():
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
        except* (*CONNECTION_EXCEPTIONS, TimeoutError):
            print("agents: no broker; trying again", flush=True)
        await asyncio.sleep(PAUSE)


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except asyncio.CancelledError:
        print("agents: stopped", flush=True)
