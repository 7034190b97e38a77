"""Probes: what an orchestrator and Prometheus get to see."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from bridge.telemetry.metrics import Metrics
from bridge.web.probes import Health, find_reasons, make_routes

READY = Health(warming_up=False, shutting_down=False, broker_away=None)

Open = Callable[..., Awaitable[TestClient[web.Request, web.Application]]]


class _Source:
    def __init__(self, health: Health) -> None:
        self.now = health

    def health(self) -> Health:
        return self.now


@pytest.fixture
async def open_client() -> AsyncIterator[Open]:
    """Starts a server with the probes on a port of its own."""
    clients = []

    async def start(
        health: Health, metrics: Metrics | None = None
    ) -> TestClient[web.Request, web.Application]:
        app = web.Application()
        app.add_routes(make_routes(_Source(health), metrics))
        client = TestClient(TestServer(app))
        await client.start_server()
        clients.append(client)
        return client

    yield start
    for client in clients:
        await client.close()


@pytest.mark.parametrize(
    ("health", "words"),
    [
        (READY, []),
        (Health(warming_up=True, shutting_down=False, broker_away=None), ["warming_up"]),
        (Health(warming_up=False, shutting_down=True, broker_away=None), ["shutting_down"]),
        (Health(warming_up=False, shutting_down=False, broker_away=30.0), []),
        (Health(warming_up=False, shutting_down=False, broker_away=30.1), ["broker_away"]),
        (
            Health(warming_up=True, shutting_down=True, broker_away=99.0),
            ["shutting_down", "warming_up", "broker_away"],
        ),
    ],
)
def test_reasons_name_all_that_stands_in_the_way(health: Health, words: list[str]) -> None:
    """A broker that is away for a moment is no reason yet."""
    assert [reason.reason for reason in find_reasons(health)] == words


async def test_readiness_answers_200_or_503_with_the_reasons(open_client: Open) -> None:
    """As JSON, which nobody may cache."""
    client = await open_client(READY)
    async with client.get("/readyz") as response:
        assert (response.status, await response.json()) == (200, {"status": "ready"})
    client = await open_client(Health(warming_up=False, shutting_down=False, broker_away=41.2))
    async with client.get("/readyz") as response:
        assert response.status == 503
        assert response.headers["Cache-Control"] == "no-store"
        assert await response.json() == {
            "status": "not_ready",
            "reasons": [{"reason": "broker_away", "message": "RabbitMQ has been away for 41 s."}],
        }


async def test_liveness_does_not_depend_on_the_broker(open_client: Open) -> None:
    """Restarting the daemon would drop its clients and bring nothing back."""
    client = await open_client(Health(warming_up=True, shutting_down=True, broker_away=9999.0))
    async with client.get("/healthz") as response:
        assert (response.status, await response.json()) == (200, {"status": "ok"})


async def test_metrics_are_in_the_format_of_prometheus(open_client: Open) -> None:
    """And are absent where the configuration turns them off."""
    metrics = Metrics()
    metrics.commands.labels(command="send_message", outcome="ok").inc()
    client = await open_client(READY, metrics)
    async with client.get("/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain")
        names = {family.name for family in text_string_to_metric_families(await response.text())}
    assert {"bridged_commands", "bridged_connections", "bridged_broker_up"} <= names
    client = await open_client(READY)
    async with client.get("/metrics") as response:
        assert response.status == 404
