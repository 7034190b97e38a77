"""What becomes of an event besides being sent: counted, warned of, kept for whoever mends its service."""

from collections.abc import Sequence
from typing import Final

import structlog
from msgspec import structs

from bridge.flow.ports import InvalidSink
from bridge.model import Delivery, Invalid
from bridge.rules.event_plan import EventPlan
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.sparing import Sparing

DUPLICATE: Final = EventPlan(routed=True)
"""The plan of an event that was seen before."""

log = structlog.get_logger()


class Oddities:
    """Counts duplicates, stale, unrouted and invalid events, and keeps the last."""

    def __init__(self, invalid: InvalidSink, metrics: Metrics) -> None:
        self._invalid = invalid
        self._events = metrics.events
        self._sparing = Sparing()

    def note(self, delivery: Delivery, plan: EventPlan, now: float) -> None:
        """Count what else became of an event than being sent, and keep what no schema fits."""
        events = self._events
        if plan is DUPLICATE:
            events.labels("-", "duplicate").inc()
        elif not plan.routed:
            events.labels("-", "unrouted").inc()
        for route in plan.stale:
            events.labels(route, "stale").inc()
        for invalid in plan.invalid:
            events.labels(invalid.route, "invalid").inc()
            if self._sparing.may_say((invalid.route, invalid.reason), now):
                log.warning("event.invalid", route=invalid.route, reason=invalid.reason, path=invalid.path)
        for fault in _join_equal(plan.invalid):
            self._invalid.put(delivery, fault, now)

    def fail(self, delivery: Delivery, error: Exception, now: float) -> EventPlan:
        """The plan of an event that the bridge itself could not plan; called while the error is handled."""
        fault = Invalid(route="-", reason="internal", error=type(error).__name__)
        if self._sparing.may_say((fault.route, fault.reason), now):
            log.exception("event.failed", exchange=delivery.exchange, offset=delivery.offset)
        return EventPlan(routed=True, invalid=(fault,))


def _join_equal(faults: Sequence[Invalid]) -> list[Invalid]:
    """One for each different fault, with all routes that it stopped: they share schemas."""
    routes: dict[Invalid, list[str]] = {}
    for fault in faults:
        routes.setdefault(structs.replace(fault, route=""), []).append(fault.route)
    return [structs.replace(fault, route=", ".join(names)) for fault, names in routes.items()]
