"""`/healthz`, `/readyz` and `/metrics`: plain HTTP for orchestrators and Prometheus."""

from typing import Final, Protocol

import msgspec
from aiohttp import web
from msgspec import Struct
from prometheus_client import CONTENT_TYPE_LATEST

from bridge.telemetry.exposition import encode_families, render_together
from bridge.telemetry.metrics import Metrics
from bridge.web.responses import json_response
from bridge.web.siblings import Siblings

BROKER_PATIENCE: Final = 30.0
"""Seconds that the broker may be away before the instance asks for no new clients."""


class Health(Struct, frozen=True, kw_only=True):
    """How an instance is at this moment."""

    warming_up: bool
    """It still reads the log from before its start."""
    shutting_down: bool
    broker_away: float | None
    """Seconds since a connection to it was lost, the longest of all; None while they stand."""


class HealthSource(Protocol):
    """Whoever knows how the instance is."""

    def health(self) -> Health:
        """The state now."""


class Reason(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why an instance is not ready: a stable word, and a sentence for people."""

    reason: str
    message: str
    worker: int | None = None
    """Which of several workers; None where there is but one."""


def find_reasons(health: Health) -> tuple[Reason, ...]:
    """Why the instance should receive no new clients; empty when it is ready."""
    reasons = []
    if health.shutting_down:
        reasons.append(Reason(reason="shutting_down", message="The instance is draining its clients."))
    if health.warming_up:
        reasons.append(
            Reason(reason="warming_up", message="The instance still reads the events from before its start.")
        )
    if health.broker_away is not None and health.broker_away > BROKER_PATIENCE:
        away = round(health.broker_away)
        reasons.append(Reason(reason="broker_away", message=f"RabbitMQ has been away for {away} s."))
    return tuple(reasons)


def make_routes(
    source: HealthSource, metrics: Metrics | None, siblings: Siblings | None = None
) -> list[web.RouteDef]:
    """The routes to add to the daemon's application; without metrics there is no `/metrics`.

    With `siblings` each worker answers for all of them, but for liveness. That says only that an event loop
    answers: restarting the daemon brings no broker back, and a worker that hangs is its parent's affair.
    """
    if siblings is not None:
        siblings.answer("health", lambda: msgspec.json.encode(source.health()))
        if metrics is not None:
            siblings.answer("metrics", lambda: encode_families(metrics.registry))

    async def healthz(_request: web.Request) -> web.Response:
        return json_response(200, {"status": "ok"})

    async def readyz(_request: web.Request) -> web.Response:
        reasons = find_reasons(source.health()) if siblings is None else await _ask_reasons(siblings)
        if reasons:
            return json_response(503, {"status": "not_ready", "reasons": reasons})
        return json_response(200, {"status": "ready"})

    async def show_metrics(_request: web.Request) -> web.Response:
        assert metrics is not None  # noqa: S101  the route exists only with metrics
        body = metrics.render() if siblings is None else render_together(await siblings.ask("metrics"))
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    routes = [web.get("/healthz", healthz), web.get("/readyz", readyz)]
    if metrics is not None:
        routes.append(web.get("/metrics", show_metrics))
    return routes


async def _ask_reasons(siblings: Siblings) -> tuple[Reason, ...]:
    """Why the workers, each by its number, should receive no new clients."""
    reasons: list[Reason] = []
    for number, answer in (await siblings.ask("health")).items():
        if answer is None:
            message = "The worker does not answer: it is being started, or hangs."
            reasons.append(Reason(reason="worker_away", message=message, worker=number))
            continue
        for reason in find_reasons(msgspec.json.decode(answer, type=Health)):
            reasons.append(msgspec.structs.replace(reason, worker=number))
    return tuple(reasons)
