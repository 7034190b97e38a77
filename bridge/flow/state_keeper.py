"""Keeps what outlives the log: reads `bridge.state` at a start, and writes again what its stream would drop.

The broker itself copies into the state what is to last: orders of operators and values of retained
events, under their own exchange and key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog
from msgspec import structs

from bridge.flow.control import BAN_KEY, REVOKE_KEY, VerdictKey
from bridge.flow.ports import Publisher, TakeOwn
from bridge.flow.state_messages import restore, to_order, write_value, write_verdict
from bridge.model import CONTROL_EXCHANGE, Delivery, Emission, Place, PublishMessage, PublishOutcome
from bridge.rules.compile import Rules
from bridge.rules.event_plan import plan_event
from bridge.state.remembered import Remembered
from bridge.state.retained import Kept, Retained
from bridge.state.upkeep import Upkeep
from bridge.state.verdicts import Exclusions, Revocations, Verdict

_INTERVAL: Final = 10.0
_LAG: Final = 10.0
"""Seconds within which whoever reads the log sees what the broker put into the state before it."""
_OVERHEAD: Final = 300
"""Bytes of a message in the stream beside its body."""

log = structlog.get_logger()


class StateKeeper:
    """One book of what must last, and when each part of it was last written; implements `StateSink`.

    All instances keep it, since any of them may become the eldest, which alone writes.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        retained: Retained,
        remembered: Remembered,
        revocations: Revocations,
        exclusions: Exclusions,
        obey: TakeOwn,
        publisher: Publisher,
        clock: Callable[[], float],
    ) -> None:
        """`obey` takes the orders of operators; `clock` gives epoch seconds."""
        state = rules.config.amqp.state
        self._rules = rules
        self._name = state.name
        self._has_state = rules.config.amqp.source == "stream"
        self._window = float(rules.config.amqp.stream.max_age)
        self._retained = retained
        self._remembered = remembered
        self._revocations = revocations
        self._exclusions = exclusions
        self._obey = obey
        self._publisher = publisher
        self._clock = clock
        self._upkeep: Upkeep[Kept | VerdictKey] = Upkeep(state.max_age, state.max_bytes)
        self._reading: float | None = None
        """While the state is read: a time by which what is being read had been written."""
        self._told: set[int] = set()
        """Fingerprints of the orders that the state holds, until the log has been read as far."""
        self._settling = False
        self._warming_up = True
        self._much = state.max_bytes // 16
        self._seen = 0
        """Volume of the state when it was looked at last."""
        self._hurry = asyncio.Event()

    def caught_up(self) -> None:
        """The log was read up to the moment of the start: from here on deliveries are new."""
        self._warming_up = False
        self.read_on()

    def read_on(self) -> None:
        """The log was read up to the moment in which the state was: the orders behind it are new."""
        self._told.clear()

    def obey(self, delivery: Delivery, now: float) -> Sequence[Emission]:
        """Carry out an order of the log, unless the state has told of it.

        One that does not say when it was given would grow younger by that, and one that is taken back by now
        would hold again.
        """
        return () if _to_fingerprint(delivery) in self._told else self._obey(delivery, now)

    def begin_epoch(self) -> None:
        """Something of the log may have been missed: without a state that tells it, values may be stale."""
        if not self._has_state:
            for kept in self._retained.clear():
                self._upkeep.forget(kept)

    def keep(self, delivery: Delivery, emissions: Sequence[Emission], now: float) -> None:
        """A delivery came that the broker has copied into the state, with what is retained of it."""
        if delivery.offset is not None:
            place = Place(delivery.offset, delivery.checksum)
            emissions = [structs.replace(emission, place=place) for emission in emissions]
        kept, gone = self._retained.put(delivery, emissions)
        for each in gone:
            self._upkeep.forget(each)
        size = _size_of(delivery)
        if self._upkeep.volume + size - self._seen > self._much:
            self._hurry.set()
        if kept is None:
            self._upkeep.pass_over(size)
            return
        self._note(kept, size, now)
        if any(each.rewritten is not None and now - each.rewritten < _LAG for each in gone):
            # The old value may have been written behind the new one.
            self._upkeep.hasten(kept)

    def note_verdict(self, key: VerdictKey, verdict: Verdict, delivery: Delivery, now: float) -> None:
        """An order was read that the broker has copied into the state."""
        if self._settling:
            return  # it was noted where it stands in the state
        size = _size_of(delivery)
        if self._last_verdict(key) != verdict:
            self._upkeep.pass_over(size)
            return
        if verdict.is_taken_back and verdict.stamped and (self._warming_up or self._reading is not None):
            self._upkeep.pass_over(size)
            self._upkeep.forget(key)
            return
        self._note(key, size, now)
        if verdict.is_taken_back or not verdict.stamped:
            # It says when it was made; and no copy stands behind it of what it takes back.
            self._upkeep.hasten(key)

    def begin(self) -> None:
        """The state is about to be read from its beginning."""
        self._upkeep.begin()
        self._reading = 0.0
        self._told.clear()
        self._revocations.begin()
        self._exclusions.begin()

    def take(self, copies: Sequence[Delivery]) -> None:
        """Take the next deliveries of the state, in order."""
        now = self._clock()
        for copy in copies:
            try:
                self._take(copy, now)
            except Exception:
                # The loop's top: one message's fault must not stop what is behind it.
                log.exception("state.failed", key=copy.routing_key, offset=copy.offset)

    def end(self) -> None:
        """The state has been read whole: what it says of users is carried out."""
        now = self._clock()
        self._reading = None
        self._settling = True
        for identity, verdict in self._revocations.end():
            self._obey(to_order((REVOKE_KEY, identity), verdict), now)
        for (system, identity), verdict in self._exclusions.end():
            self._obey(to_order((BAN_KEY, system, identity), verdict), now)
        self._settling = False

    async def run(self, is_eldest: Callable[[], bool], interval: float = _INTERVAL) -> None:
        """Write again what the state would drop, whenever this instance is the eldest, until cancelled.

        It looks every `interval` seconds, and sooner when much is written.
        """
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(interval):
                    await self._hurry.wait()
            self._hurry.clear()
            self._seen = self._upkeep.volume
            self._forget_ended()
            if self._has_state and not self._warming_up and is_eldest():
                await self._write_due()

    async def _write_due(self) -> None:
        """Write what is due; what the broker does not take now is due again the next time."""
        now = self._clock()
        written = 0
        for key in self._upkeep.due(now):
            message = self._to_message(key, now)
            if message is None:
                self._upkeep.forget(key)
                continue
            if isinstance(key, Kept):
                key.rewritten = now
            outcome = await self._publisher.publish(message)
            if outcome is PublishOutcome.REJECTED:
                log.error("state.refused", key=message.routing_key)
                self._upkeep.forget(key)
            elif outcome is not PublishOutcome.CONFIRMED:
                log.warning("state.not_written", outcome=outcome)
                return
            else:
                written += 1
                self._note_written(key, len(message.body) + _OVERHEAD, now)
        if written:
            log.info("state.written_again", messages=written)

    def _note_written(self, key: Kept | VerdictKey, size: int, now: float) -> None:
        if isinstance(key, Kept):
            if not key.rooms:  # another value has come meanwhile
                self._upkeep.pass_over(size)
                return
        else:
            self._stamp(key)
            if self._find_verdict(key, now) is None:  # once is enough to take something back
                self._upkeep.pass_over(size)
                self._upkeep.forget(key)
                return
        self._upkeep.note(key, size, now)

    def _take(self, copy: Delivery, now: float) -> None:
        delivery, written = restore(self._name, copy)
        if written is not None and self._reading is not None:
            self._reading = max(self._reading, min(written, now))
        if delivery is None:
            return
        if delivery.exchange == CONTROL_EXCHANGE:
            self._told.add(_to_fingerprint(delivery))
            self._obey(delivery, now)
            return
        plan = plan_event(self._rules, delivery, now)
        for last in plan.remembers:
            self._remembered.put(structs.replace(last, time=delivery.timestamp))
        if plan.retained is not None:
            self.keep(delivery, plan.retained, now)

    def _note(self, key: Kept | VerdictKey, size: int, now: float) -> None:
        if self._reading is not None:
            self._upkeep.note(key, size, self._reading)
        elif self._warming_up:
            # It was in the state already, at a place that the log does not tell.
            self._upkeep.note_early(key, now - self._window)
        else:
            self._upkeep.note(key, size, now)

    def _forget_ended(self) -> None:
        """Let go of verdicts that ended, once there are many of them."""
        lasting = len(self._revocations) + len(self._exclusions) + len(self._retained)
        if len(self._upkeep) > 1000 + 2 * lasting:
            now = self._clock()
            self._upkeep.keep(lambda key: isinstance(key, Kept) or self._find_verdict(key, now) is not None)

    def _find_verdict(self, key: VerdictKey, now: float) -> Verdict | None:
        if len(key) == 2:
            return self._revocations.get(key[1], now)
        return self._exclusions.get(key[1:], now)

    def _last_verdict(self, key: VerdictKey) -> Verdict | None:
        """Also one that has ended."""
        return self._revocations.find(key[1]) if len(key) == 2 else self._exclusions.find(key[1:])

    def _stamp(self, key: VerdictKey) -> None:
        if len(key) == 2:
            self._revocations.stamp(key[1])
        else:
            self._exclusions.stamp(key[1:])

    def _to_message(self, key: Kept | VerdictKey, now: float) -> PublishMessage | None:
        """What to write again; None of what need not last any more."""
        if isinstance(key, Kept):
            return write_value(self._name, key.delivery, now) if key.rooms else None
        verdict = self._last_verdict(key)
        if verdict is None or (verdict.until <= now and not verdict.is_taken_back):
            return None
        return write_verdict(self._name, key, verdict, now)


def _size_of(delivery: Delivery) -> int:
    return len(delivery.body) + _OVERHEAD


def _to_fingerprint(delivery: Delivery) -> int:
    """Of an order: the same in the state as in the log."""
    return hash((delivery.routing_key, delivery.body, delivery.message_id, delivery.timestamp))
