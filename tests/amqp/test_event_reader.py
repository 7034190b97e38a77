"""Reading events: order, completeness, and what a broken connection, broker or log does to them."""

import asyncio

import pytest
from aiormq.abc import AbstractChannel

from bridge.amqp.event_reader import QueueReader, StreamReader
from bridge.telemetry.metrics import Metrics
from tests.support.amqp import TOPOLOGY, Recorder, make_config, running, send, until


def make_reader(url: str, recorder: Recorder, metrics: Metrics | None = None) -> StreamReader:
    return StreamReader(make_config(url), TOPOLOGY, "one", metrics or Metrics(), recorder.on_caught_up)


async def test_reads_events_in_order_and_in_batches(amqp_url: str, service: AbstractChannel) -> None:
    """20,000 events arrive completely, in order, in batches, each with its offset."""
    asyncio.get_running_loop().set_debug(False)
    recorder = Recorder()
    reader = make_reader(amqp_url, recorder)
    async with running(reader.run(recorder.handle)):
        await until(lambda: reader.connection.up_since)
        bodies = [b"%d" % number for number in range(20_000)]
        started = asyncio.get_running_loop().time()
        for start in range(0, 20_000, 1000):
            await send(service, *bodies[start : start + 1000])
        await recorder.wait_for(20_000)
        print('took', asyncio.get_running_loop().time()-started, len(recorder.batches))
    assert recorder.bodies == bodies
    assert len(recorder.batches) < 10_000
    offsets = [delivery.offset for delivery in recorder.deliveries]
    assert offsets == sorted(set(offsets))  # type: ignore[type-var]
