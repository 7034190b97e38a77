"""Order over a million events: each comes once and in its place, however often reading begins anew."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.load import Load, compile_load
from benchmarks.publisher import Publisher, declare_exchanges
from benchmarks.servers import Server, make_token
from tests.support.oracle import Verdict
from tests.support.proxy import Proxy
from tests.support.stage import Figures, Row, pick

_ROOMS = 100
_EVENTS = pick(20_000, 1_000_000)
_AHEAD = 1000
"""Events under way, so that each cut falls among some."""
_PATIENCE = 30.0


@pytest.mark.timeout(pick(120, 1200))
@pytest.mark.parametrize(("system", "source"), [("bridge", "stream"), ("bridge-queue", "queue")])
async def test_order_holds_while_the_reader_is_cut_off(
    own_urls: Iterator[str], tmp_path: Path, figures: Figures, system: str, source: str
) -> None:
    """As fast as they are taken. A client in each room, all in one program in C, checks each number."""
    url = next(own_urls)
    declare_exchanges(url, "commands")
    async with Proxy.before(url) as proxy:
        with ExitStack() as stack:
            server = Server(system, proxy.url(url), tmp_path)
            stack.callback(server.stop)
            await asyncio.to_thread(server.start)
            load = stack.enter_context(Load(compile_load(tmp_path)))
            await asyncio.to_thread(load.connect, _ROOMS, server.port, make_token(), each_its_room=True)
            publisher = Publisher(url, _ROOMS)
            stack.callback(publisher.close)
            publishing = asyncio.create_task(asyncio.to_thread(_publish, publisher, load))
            cuts = 0
            while not publishing.done():
                goal = load.progress.delivered + pick(3000, 15_000)
                await asyncio.to_thread(
                    load.wait,
                    lambda now, goal=goal: now.delivered >= goal or publishing.done(),
                    _PATIENCE,
                    "events",
                )
                proxy.reset()
                cuts += 1
            sent = await publishing
            await asyncio.to_thread(
                load.wait, lambda now: now.delivered >= sent, _PATIENCE, "the last events"
            )
            load.check()
            delivered = load.progress.delivered
    figures.rows.append(Row(f"order, {source}", _ROOMS, sent, Verdict(), f"reading cut off {cuts} times"))
    assert delivered == sent >= _EVENTS
    assert cuts >= 5


def _publish(publisher: Publisher, load: Load) -> int:
    """Publish all events; how many they were."""
    sent = 0
    while sent < _EVENTS:
        sent += publisher.send_ahead(1.0, _AHEAD, lambda: load.progress.delivered - sent)  # noqa: B023  at once
    return sent
