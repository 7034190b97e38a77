"""Pages that each of several workers answers for all: three in one process, the last of which is away."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from bridge.telemetry.metrics import Metrics
from bridge.web.probes import Health, make_routes
from bridge.web.siblings import Siblings
from bridge.web.worker import Worker

READY = Health(warming_up=False, shutting_down=False, broker_away=None)


class Member:
    """One worker: its health, its metrics, and a client of its pages."""

    def __init__(self, number: int, folder: Path) -> None:
        self.now = READY
        self.metrics = Metrics()
        self.siblings = Siblings(Worker(number=number, count=3, folder=folder))
        self.app = web.Application()
        self.app.add_routes(make_routes(self, self.metrics, self.siblings))
        self.client: TestClient[web.Request, web.Application]

    def health(self) -> Health:
        return self.now

    async def open(self) -> None:
        """Answer clients and siblings."""
        self.client = TestClient(TestServer(self.app))
        await self.client.start_server()
        await self.siblings.open()

    async def close(self) -> None:
        """Answer nobody any more."""
        await self.siblings.close()
        await self.client.close()

    async def read_metrics(self) -> dict[tuple[str, str], float]:
        """The samples of `/metrics` by name and worker."""
        async with self.client.get("/metrics") as answer:
            families = list(text_string_to_metric_families(await answer.text()))
        assert len({family.name for family in families}) == len(families)
        return {(s.name, s.labels.get("worker", "")): s.value for f in families for s in f.samples}


@pytest.fixture
async def members(tmp_path: Path) -> AsyncIterator[list[Member]]:
    """Workers 1 and 2 of three, and the third, which is not open."""
    members = [Member(number, tmp_path) for number in (1, 2, 3)]
    for member in members[:2]:
        await member.open()
    yield members
    for member in members[:2]:
        await member.close()


async def test_all_must_be_ready(members: list[Member]) -> None:
    """Whoever is asked; the reasons name the workers."""
    first, second, third = members
    second.now = Health(warming_up=True, shutting_down=False, broker_away=None)
    for member in (first, second):
        async with member.client.get("/readyz") as answer:
            assert answer.status == 503
            reasons = (await answer.json())["reasons"]
        assert [(reason["worker"], reason["reason"]) for reason in reasons] == [
            (2, "warming_up"),
            (3, "worker_away"),
        ]
    second.now = READY
    await third.open()
    async with first.client.get("/readyz") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ready"})
    await third.close()


async def test_a_worker_answers_for_itself_whether_it_lives(members: list[Member]) -> None:
    """Its parent looks after the others."""
    async with members[0].client.get("/healthz") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})


async def test_metrics_of_all_are_on_one_page(members: list[Member]) -> None:
    """Counters, gauges and histograms, each sample once for each worker, each family once."""
    first, second, _ = members
    for number, member in enumerate((first, second), 1):
        member.metrics.connections.set(number * 10)
        member.metrics.deliveries.inc(number)
        member.metrics.event_age.observe(number)
    samples = await first.read_metrics()
    assert samples == await second.read_metrics()
    for number in (1, 2):
        worker = str(number)
        assert samples["bridged_worker_up", worker] == 1
        assert samples["bridged_connections", worker] == number * 10
        assert samples["bridged_deliveries_total", worker] == number
        assert samples["bridged_event_age_seconds_sum", worker] == number
    assert samples["bridged_worker_up", "3"] == 0
    assert ("bridged_connections", "3") not in samples


async def test_one_that_hangs_does_not_hold_the_page_up_for_ever(
    members: list[Member], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes connections, and answers nothing."""
    monkeypatch.setattr("bridge.web.siblings._SECONDS", 0.05)
    hanging = asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hanging.wait()
        writer.close()

    server = await asyncio.start_unix_server(hang, str(tmp_path / "3.ask"))
    assert (await members[0].read_metrics())["bridged_worker_up", "3"] == 0
    hanging.set()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("sent", [b"", b"\n", b"unknown\n", b"\xff\xfe\n", b"x" * 100_000 + b"\n"])
async def test_what_is_no_question_is_not_answered(
    members: list[Member], tmp_path: Path, sent: bytes
) -> None:
    """Nobody but the workers can ask, and one of them may be of another version."""
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "1.ask"))
    writer.write(sent)
    writer.write_eof()
    async with asyncio.timeout(5):
        try:
            answer = await reader.read()
        except ConnectionError:
            answer = b""
    assert answer == b""
    writer.close()
