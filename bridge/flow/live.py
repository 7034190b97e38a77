"""The trip of a live event: round the log, from the instance's own queue to the clients, and forgotten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from bridge.flow.oddities import DUPLICATE, Oddities
from bridge.flow.ports import Fanout, TakeOwn
from bridge.model import Delivery, Emission
from bridge.rules.compile import Rules
from bridge.rules.event_plan import EventPlan, plan_live
from bridge.state.duplicates import Duplicates
from bridge.telemetry.metrics import Metrics


class LiveDownlink:
    """Plans deliveries as the `Downlink` does, and sends them at once: they have no place in the log.

    So they go to whoever is a member at this moment, and no cursor, replay or last value knows of them.
    """

    def __init__(
        self,
        rules: Rules,
        fanout: Fanout,
        oddities: Oddities,
        metrics: Metrics,
        clock: Callable[[], float],
        own: Mapping[str, TakeOwn],
    ) -> None:
        """`clock` gives epoch seconds; `own` takes what the bridge's own exchanges bring, by exchange."""
        self._rules = rules
        self._fanout = fanout
        self._oddities = oddities
        self._metrics = metrics
        self._clock = clock
        self._own = own
        self._duplicates = Duplicates(rules.config.limits.duplicates)

    def handle(self, batch: Sequence[Delivery]) -> None:
        """Carry one batch to the clients, in the same turn of the loop in which it came."""
        now = self._clock()
        emissions: list[Emission] = []
        for delivery in batch:
            take = self._own.get(delivery.exchange)
            if take is not None:
                emissions += take(delivery, now)
                continue
            plan = self._plan(delivery, now)
            if plan.emissions:
                emissions += plan.emissions
                if delivery.timestamp is not None:
                    self._metrics.event_age.observe(max(0.0, now - delivery.timestamp))
            if plan.invalid or plan.stale or not plan.emissions:
                self._oddities.note(delivery, plan, now)
        self._duplicates.trim()
        if emissions:
            self._fanout.send(emissions)
            for route, count in Counter([emission.route for emission in emissions]).items():
                self._metrics.events.labels(route, "sent").inc(count)

    def _plan(self, delivery: Delivery, now: float) -> EventPlan:
        if delivery.message_id is not None and self._duplicates.seen(delivery.exchange, delivery.message_id):
            return DUPLICATE
        try:
            return plan_live(self._rules, delivery, now)
        except Exception as error:
            # The loop's top: one event's fault must not stop the events behind it.
            return self._oddities.fail(delivery, error, now)
