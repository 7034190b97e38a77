"""The trip of an event: from a batch of deliveries through the plan to the clients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from msgspec import structs

from bridge.flow.log_window import LogWindow
from bridge.flow.oddities import DUPLICATE, Oddities
from bridge.flow.ports import Fanout, KeepLast, TakeOwn
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
        *,
        remembered: Remembered,
        fanout: Fanout,
        oddities: Oddities,
        metrics: Metrics,
        clock: Callable[[], float],
        own: Mapping[str, TakeOwn],
        window: LogWindow,
        keep: KeepLast,
    ) -> None:
        """`clock` gives epoch seconds; `own` takes what the bridge's own exchanges bring, by exchange.

        `keep` is told of each delivery whose last value is retained.
        """
        self._rules = rules
        self._own = own
        self._remembered = remembered
        self._fanout = fanout
        self._oddities = oddities
        self._metrics = metrics
        self._clock = clock
        self._duplicates = Duplicates(rules.config.limits.duplicates)
        self._window = window
        self._keep = keep
        self._warming_up = True

    def caught_up(self) -> None:
        """The log was read up to the moment of the start: from here on events are news."""
        self._warming_up = False
        self._window.caught_up()

    def handle(self, batch: Sequence[Delivery]) -> None:
        """Carry one batch to the clients, in the same turn of the loop in which it came."""
        now = self._clock()
        times = self._window.date(batch)
        emissions = [self._take(delivery, time, now) for delivery, time in zip(batch, times, strict=True)]
        if not self._warming_up:
            self._send([emission for some in emissions for emission in some])
        self._window.record(batch, times, emissions)
        # Each delivery has one id at most: so none is forgotten of those that clients may be given again.
        self._duplicates.trim(at_least=len(self._window.history))

    def _take(self, delivery: Delivery, time: float, now: float) -> Sequence[Emission]:
        """What one delivery of that time leads to, with its place in the log."""
        take = self._own.get(delivery.exchange)
        if take is None:
            return self._plan_and_note(delivery, time, now)
        emissions = take(delivery, now)
        if not emissions or delivery.offset is None:
            return emissions
        place = Place(delivery.offset, delivery.checksum)
        return [structs.replace(emission, place=place) for emission in emissions]

    def _plan_and_note(self, delivery: Delivery, time: float, now: float) -> Sequence[Emission]:
        own_time = delivery.timestamp
        plan = self._plan(delivery, time, now)
        emissions = plan.emissions
        for last in plan.remembers:
            self._remembered.put(last)
        if plan.retained is not None:
            self._keep(delivery, plan.retained, now)
        if not self._warming_up:
            if emissions and own_time is not None:
                self._metrics.event_age.observe(now - own_time if now > own_time else 0.0)
            if not emissions or plan.invalid or plan.stale:
                self._oddities.note(delivery, plan, now)
        return emissions

    def _send(self, emissions: Sequence[Emission]) -> None:
        if emissions:
            self._fanout.send(emissions)
            for route, count in Counter([emission.route for emission in emissions]).items():
                self._metrics.events.labels(route, "sent").inc(count)

    def _plan(self, delivery: Delivery, time: float, now: float) -> EventPlan:
        if delivery.message_id is not None and self._duplicates.seen(delivery.exchange, delivery.message_id):
            return DUPLICATE
        try:
            # What does not say when it happened must not count as new when it has waited in the log.
            dated = delivery if delivery.timestamp is not None else structs.replace(delivery, timestamp=time)
            return plan_event(self._rules, dated, now)
        except Exception as error:
            # The loop's top: one event's fault must not stop the events behind it.
            return self._oddities.fail(delivery, error, now)
