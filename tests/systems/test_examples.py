"""The example services: they outlive a broker that goes, and say so in one line of their own."""

import asyncio
import os
import signal
import sys

import aio_pika
import pytest

from tests.support.daemon import ROOT
from tests.support.proxy import Proxy


@pytest.mark.parametrize(
    ("file", "exchange"),
    [
        ("agents_service.py", "agents.events"),
        ("portal_service.py", "portal.events"),
        ("summit_service.py", "summit.events"),
        ("swallowtail_service.py", "swallowtail.events"),
        ("swe_agent_broadcaster.py", "swe.events"),
    ],
)
async def test_it_publishes_again_after_its_connection_broke(amqp_url: str, file: str, exchange: str) -> None:
    """Over a new connection, without a traceback of its library."""
    async with await aio_pika.connect(amqp_url) as connection, Proxy.before(amqp_url) as proxy:
        channel = await connection.channel()
        events = await channel.declare_exchange(exchange, aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(events, "#")
        arrived: asyncio.Queue[object] = asyncio.Queue()
        await queue.consume(arrived.put, no_ack=True)
        service = await asyncio.create_subprocess_exec(
            *(sys.executable, f"examples/{file}"),
            env={**os.environ, "AMQP_URL": proxy.url(amqp_url)},
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(30):
                await arrived.get()
                connections = proxy.accepted
                proxy.reset()
                while proxy.accepted == connections:
                    await arrived.get()
                await arrived.get()
                service.send_signal(signal.SIGTERM)
                printed = (await service.communicate())[0].decode()
        finally:
            if service.returncode is None:
                service.kill()
                await service.wait()
    assert service.returncode == 0
    assert "no broker; trying again\n" in printed
    assert "Traceback" not in printed
    assert "Error" not in printed
