"""The same bridge as everybody writes it: python-socketio and aio-pika, as their documentations show it.

It checks nothing: no sign-in, no schema, no limits.
"""

import asyncio
import json
import os
from typing import Any

import aio_pika
import socketio  # type: ignore[import-untyped]
from aio_pika.abc import AbstractIncomingMessage
from aiohttp import web


async def main() -> None:
    """Serve until the process is ended."""
    sio = socketio.AsyncServer(async_mode="aiohttp", cors_allowed_origins="*")
    connection = await aio_pika.connect_robust(os.environ["AMQP_URL"])
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=1000)
    events = await channel.declare_exchange("bench.events", aio_pika.ExchangeType.TOPIC, durable=True)
    commands = await channel.declare_exchange("bench.commands", aio_pika.ExchangeType.TOPIC, durable=True)

    async def join(sid: str, data: dict[str, Any]) -> dict[str, str]:
        await sio.enter_room(sid, data["room"], namespace="/bench")
        return {"status": "ok"}

    async def send(sid: str, data: dict[str, Any]) -> dict[str, str]:
        body = json.dumps(data).encode()
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await commands.publish(message, routing_key="bench.send")
        return {"status": "ok"}

    async def on_event(message: AbstractIncomingMessage) -> None:
        async with message.process():
            room = (message.routing_key or "").split(".")[1]
            await sio.emit("tick", json.loads(message.body), room=room, namespace="/bench")

    sio.on("join", join, namespace="/bench")
    sio.on("send", send, namespace="/bench")
    queue = await channel.declare_queue(exclusive=True)
    await queue.bind(events, "bench.*.tick")
    await queue.consume(on_event)
    app = web.Application()
    sio.attach(app)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(os.environ["PORT"]), backlog=4096).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
