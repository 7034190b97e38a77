"""The trip of an event: from a batch of deliveries through the plan to the clients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from bridge.flow.oddities import DUPLICATE, Oddities
from bridge.flow.ports import Fanout, TakeOwn
from bridge.model import Delivery, Emission, Place
from bridge.rules.compile import Rules
from bridge.rules.event_plan import EventPlan, plan_event
from bridge.state.duplicates import Duplicates
from bridge.state.remembered import Remembered
from bridge.telemetry.metrics import Metrics


class Downlink:
    """Plans deliveries in their order, remembers what rooms need to know, sends to the clients."""

    def __init__(
        self,
        rules: Rules,
        remembered: Remembered,
        fanout: Fanout,
        oddities: Oddities,
        metrics: Metrics,
        clock: Callable[[], float],
        own: Mapping[str, TakeOwn],
    ) -> None:
        """`clock` gives epoch seconds; `own` takes what the bridge's own exchanges bring, by exchange."""
        self._rules = rules
        self._own = own
        self._remembered = remembered
        self._fanout = fanout
        self._oddities = oddities
        self._metrics = metrics
        self._clock = clock
        self._duplicates = Duplicates(rules.config.limits.duplicates)
        self._warming_up = True
        self._head = Place(0, 0)

    def head(self) -> str:
        """The cursor of a client that has been given all that was sent (`flow.ports.Head`)."""
        return self._head.cursor

    def caught_up(self) -> None:
        """The log was read up to the moment of the start: from here on events are news."""
        self._warming_up = False

    async def handle(self, batch: Sequence[Delivery]) -> None:
        """Carry one batch to the clients, in the same turn of the loop in which it came."""
        now = self._clock()
        emissions: list[Emission] = []
        for delivery in batch:
            take = self._own.get(delivery.exchange)
            if take is not None:
                emissions += take(delivery, now)
                continue
            plan = self._plan(delivery, now)
            for last in plan.remembers:
                self._remembered.put(last)
            if self._warming_up:
                continue
            if plan.emissions:
                emissions += plan.emissions
                if delivery.timestamp is not None:
                    self._metrics.event_age.observe(max(0.0, now - delivery.timestamp))
            if plan.invalid or plan.stale or not plan.emissions:
                self._oddities.note(delivery, plan, now)
        if emissions and not self._warming_up:
            self._fanout.send(emissions)
            for route, count in Counter([emission.route for emission in emissions]).items():
                self._metrics.events.labels(route, "sent").inc(count)
        self._advance(batch)

    def _advance(self, batch: Sequence[Delivery]) -> None:
        """All of the batch was sent. Not earlier: a client that is told of it must not miss the rest."""
        for delivery in reversed(batch):
            if delivery.offset is not None:
                self._head = Place(delivery.offset, delivery.checksum)
                return

    def _plan(self, delivery: Delivery, now: float) -> EventPlan:
        if delivery.message_id is not None and self._duplicates.seen(delivery.exchange, delivery.message_id):
            return DUPLICATE
        try:
            return plan_event(self._rules, delivery, now)
        except Exception as error:
            # The loop's top: one event's fault must not stop the events behind it.
            return self._oddities.fail(delivery, error, now)
