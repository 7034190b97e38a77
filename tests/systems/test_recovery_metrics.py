"""What `/metrics` says of the history, and of how many got from it what they had missed."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest_asyncio

from tests.support.daemon import Daemon, edit_config
from tests.support.follower import Follower, Updates
from tests.support.js_client import JsClients
from tests.support.portal import Portal, visit

_MOST: Final = 2_000_000
"""`history.max_bytes`."""
_LARGE: Final = 100_000


@pytest_asyncio.fixture(loop_scope="session")
async def portal(tmp_path: Path, amqp_urls: Iterator[str], js: JsClients) -> AsyncIterator[Portal]:
    """Browsers and services around a daemon with a small history, on a broker of its own."""
    url = next(amqp_urls)
    many = {"limits.connections_per_user": 100}
    config = edit_config(tmp_path, bridge={"history": {"max_bytes": "2MB"}}, portal=many)
    daemon = Daemon(tmp_path, url, config)
    await asyncio.to_thread(daemon.start)
    async with visit(daemon, url, js) as portal:
        yield portal
    await asyncio.to_thread(daemon.stop)


async def test_the_history_says_how_much_it_holds_and_how_far_it_reaches(portal: Portal) -> None:
    """It grows with the events, up to its bound; then it reaches back less far."""
    updates, began = Updates(portal), time.monotonic()
    client = await portal.project_client()
    empty = await _history(portal)
    await updates.publish(10)
    await client.wait_for("task_update", 10)
    small = await _history(portal)
    assert small.events >= empty.events + 10
    assert small.bytes > empty.bytes
    overflow = time.monotonic()
    assert 0 < small.age < overflow - began + 60  # it begins with the log: when the daemon was started
    await updates.publish(40, size=_LARGE)
    await client.wait_for("task_update", 50)
    full = await _history(portal)
    assert _MOST / 2 < full.bytes <= _MOST
    assert full.events < small.events + 40
    assert 0 < full.age < time.monotonic() - overflow + 1  # AMQP has whole seconds


async def test_the_hit_rate_counts_who_got_what_was_missed(portal: Portal) -> None:
    """By what they asked with: a session, a cursor, an age; and who did not get it."""
    updates = Updates(portal)
    follower = await Follower.connect(portal)
    await follower.has(await updates.publish(3))
    assert await _hits(portal) == {}
    await follower.drop()
    assert await follower.come_back()
    assert await _hits(portal) == {("session", "true"): 1}
    old = follower.cursors[0]
    await Follower.connect(portal, since=old)
    await Follower.connect(portal, since="1ms")
    expected = {("session", "true"): 1, ("cursor", "true"): 1, ("age", "true"): 1}
    assert await _hits(portal) == expected
    late = await Follower.connect(portal, options={"reconnection": False})
    await late.drop()
    await updates.publish(40, size=_LARGE)
    await follower.client.wait_for("task_update", 43)
    await late.client.reconnect()
    assert not await late.come_back()
    await Follower.connect(portal, since=old)
    await Follower.connect(portal, since="1h")
    missed = {("session", "false"): 1, ("cursor", "false"): 1, ("age", "false"): 1}
    assert await _hits(portal) == {**expected, **missed}


class _History:
    """What the metrics say of it."""

    def __init__(self, metrics: dict[str, float]) -> None:
        self.bytes = metrics["bridged_history_bytes"]
        self.events = metrics["bridged_history_events"]
        self.age = metrics["bridged_history_age_seconds"]


async def _history(portal: Portal) -> _History:
    return _History(await asyncio.to_thread(portal.daemon.metrics))


async def _hits(portal: Portal) -> dict[tuple[str, str], float]:
    """Of `bridged_recoveries_total`: by what, and whether recovered."""
    metrics = await asyncio.to_thread(portal.daemon.metrics)
    found = {
        (by, recovered): metrics.get(f'bridged_recoveries_total{{by="{by}",recovered="{recovered}"}}', 0.0)
        for by in ("session", "cursor", "age")
        for recovered in ("true", "false")
    }
    return {key: number for key, number in found.items() if number}
