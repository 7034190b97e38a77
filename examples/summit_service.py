"""A small service of Summit: it keeps shared graphs, answers annotations and comments, and runs a demo run.

It knows nothing of the bridge: all that it needs is RabbitMQ, by AMQP_URL. The graphs are Y.js documents,
kept in memory by `pycrdt`; a real service would also write them down.
"""

import asyncio
import itertools
import json
import logging
import os
import signal
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange, AbstractIncomingMessage
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from pycrdt import Doc

RUN = "demo"
TENANT = "default"
PAUSE = 1.0  # seconds between two events

Body = dict[str, object]
Event = tuple[str, Body]
"""The routing key and the body; browsers receive the body as it is."""

Graphs = dict[tuple[str, str], Doc[Any]]
"""The document of each investigation, by tenant and id: an id of another tenant is another document."""


def agent_run() -> Iterator[Event]:
    """What an agent's run tells, over and over again."""
    for number in itertools.count(1):
        yield about("status", status="RUNNING")
        for step in range(3):
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            line: Body = {"level": "info", "message": f"Processing step {step + 1}...", "timestamp": now}
            yield about("log", entry=line)
            yield about("update", status="RUNNING", progress=step / 3)
        last = "FAILED" if number % 5 == 0 else "COMPLETED"
        yield about("update", status=last, progress=1)
        yield about("status", status=last)


def about(event: str, **fields: object) -> Event:
    """An event of the demo run."""
    return f"maestro.run.{RUN}.{event}", {"runId": RUN, **fields, "timestamp": round(time.time() * 1000)}


async def publish(exchange: AbstractExchange, key: str, body: bytes, tenant: str) -> None:
    """Publish one JSON event of a tenant; returns when the broker has confirmed it."""
    message = aio_pika.Message(
        body,
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        headers={"tenant": tenant},  # only this tenant's users will see it
        message_id=str(uuid.uuid4()),  # the bridge shows an event that comes twice only once
        timestamp=datetime.now(UTC),
    )
    await exchange.publish(message, key, mandatory=False, timeout=10)


async def run_agent(connection: AbstractConnection) -> None:
    """Publish the agent's run, one event every moment."""
    channel = await connection.channel()
    events = await declare(channel, "summit.events")
    for key, body in agent_run():
        await publish(events, key, json.dumps(body).encode(), TENANT)
        await asyncio.sleep(PAUSE)


async def serve_investigations(connection: AbstractConnection, graphs: Graphs) -> None:
    """Keep the graphs and answer commands.

    One queue for all, and one message after the other: whoever asks for a graph gets every change that
    was published before.
    """
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=100)
    events, commands = await declare(channel, "summit.events"), await declare(channel, "summit.commands")
    queue = await channel.declare_queue("summit.example", durable=True, arguments={"x-expires": 600_000})
    await queue.bind(events, "investigation.*.graph.update")
    for key in ("graph.sync", "annotation.*", "comment.*"):
        await queue.bind(commands, f"investigation.*.{key}")
    async for message in queue.iterator():
        async with message.process():
            _, investigation, kind, action = str(message.routing_key).split(".")
            tenant = str(message.headers.get("tenant", TENANT))
            if kind != "graph":
                print(f"summit: {message.type} from {message.headers.get('x-user')!s}", flush=True)
                await publish(events, str(message.routing_key), message.body, tenant)
            elif action == "sync":
                await answer(channel, message, *missing_update(graphs[tenant, investigation], message.body))
            else:
                apply_update(graphs[tenant, investigation], message.body)


def apply_update(graph: Doc[Any], update: bytes) -> None:
    """Take a change into the graph; what is no change leaves it as it is."""
    try:
        graph.apply_update(update)
    except ValueError as error:
        print(f"summit: no update of a graph ({error})", flush=True)


def missing_update(graph: Doc[Any], state_vector: bytes) -> tuple[bytes, str | None]:
    """What a client lacks that has what its state vector says, or why there is no telling."""
    try:
        return graph.get_update(state_vector), None
    except ValueError:
        return b"", "This is no state vector"


async def answer(
    channel: AbstractChannel, request: AbstractIncomingMessage, body: bytes, error: str | None
) -> None:
    """Reply to a request: its sender named a queue for the reply, and an id to know it by."""
    if request.reply_to is not None:
        reply = aio_pika.Message(
            body,
            content_type="application/octet-stream",
            correlation_id=request.correlation_id,
            headers={} if error is None else {"error": error},
        )
        await channel.default_exchange.publish(reply, request.reply_to, mandatory=False, timeout=10)


async def declare(channel: AbstractChannel, name: str) -> AbstractExchange:
    """An exchange as the bridge declares it too: whoever comes first makes it."""
    return await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, durable=True)


async def work(url: str, graphs: Graphs, stopping: asyncio.Event) -> None:
    """Work on one connection, until it is lost or it is time to stop."""
    async with await aio_pika.connect(url) as connection:
        parts = (run_agent(connection), serve_investigations(connection, graphs), stopping.wait())
        tasks = [asyncio.ensure_future(part) for part in parts]
        ended, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for task in ended:
            task.result()


async def main() -> None:
    """Work until SIGTERM or Ctrl-C; connect anew whenever the broker goes away."""
    for library in ("aiormq", "asyncio"):  # which tell of each broker that goes, at length
        logging.getLogger(library).setLevel(logging.CRITICAL)
    graphs: Graphs = defaultdict(Doc)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    while not stopping.is_set():
        try:
            await work(os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/"), graphs, stopping)
        except (*CONNECTION_EXCEPTIONS, TimeoutError):
            print("summit: no broker; trying again", flush=True)
            await asyncio.sleep(PAUSE)


if __name__ == "__main__":
    asyncio.run(main())
