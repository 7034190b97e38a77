"""Tells services which rooms are occupied and which are vacated, on `bridge.presence`."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from msgspec import Struct, json

from bridge.flow.instances import Instances
from bridge.flow.own_messages import OwnMessages
from bridge.flow.ports import Publisher
from bridge.model import (
    PRESENCE_EXCHANGE,
    PRESENCE_QUERY_KEY,
    UNSETTLED,
    Delivery,
    Emission,
    PublishMessage,
    PublishOutcome,
    RoomRef,
)
from bridge.rules.presence_plan import PresencePlans
from bridge.state.presence import Change, PresenceTable
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.sparing import Sparing

MEMORY: Final = 180.0
"""Seconds for which every instance remembers changes: the eldest may end before it has published them, and
it takes up to a minute until it is missed."""
_MOST: Final = 50_000
_RETRY_DELAY: Final = 1.0

log = structlog.get_logger()


class Query(Struct, frozen=True, kw_only=True):
    """A service asks for all rooms that are occupied."""

    system: str | None = None
    """Of this route file alone."""


class Occupancy:
    """Publishes `<system>.occupied` and `<system>.vacated`, in log order.

    Every instance knows of every change, and the eldest alone publishes, so that of two changes of one room
    the later one comes last. Whoever becomes the eldest publishes the latest changes again, under the same
    message ids. Of a room that changes while the broker is away only the last change is told.
    """

    def __init__(
        self,
        plans: PresencePlans,
        table: PresenceTable,
        instances: Instances,
        publisher: Publisher,
        log_name: str,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        """`log_name` begins the message ids; `clock` gives epoch seconds."""
        self._plans = plans
        self._instances = instances
        self._publisher = publisher
        self._log_name = log_name
        self._clock = clock
        self._dropped = metrics.occupancy_dropped
        self._sparing = Sparing()
        self._table = table
        self._recent: OrderedDict[RoomRef, PublishMessage] = OrderedDict()
        self._waiting: OrderedDict[RoomRef, PublishMessage] = OrderedDict()
        self._worker: asyncio.Task[None] | None = None
        instances.on_eldest.append(self._take_over)

    def register(self, messages: OwnMessages) -> None:
        """Take the questions of services."""
        messages.register(PRESENCE_QUERY_KEY, Query, self._take_query)

    def note(self, changes: Sequence[Change], at: float, delivery: Delivery) -> None:
        """Users came and went at a place of the log; `at` in epoch seconds."""
        for number, change in enumerate(changes):
            if change.users == (1 if change.kind == "joined" else 0):
                message = self._to_message(change.member.room, change.users, at, delivery, number)
                if message is not None:
                    self._remember(change.member.room, message)
                    self._publish(change.member.room, message)

    def waiting(self) -> int:
        """Rooms of which services are still to be told."""
        return len(self._waiting)

    async def drain(self) -> None:
        """Wait until all is published; the caller bounds the time."""
        if self._worker is not None:
            await asyncio.wait([self._worker])

    def stop(self) -> None:
        """Give up what is not published."""
        if self._worker is not None:
            self._worker.cancel()

    def _take_query(self, query: Query, delivery: Delivery, now: float) -> Sequence[Emission]:
        if self._instances.is_eldest:
            for number, (room, users) in enumerate(self._table.occupied()):
                message = self._to_message(room, users, now, delivery, number)
                if message is not None and query.system in (None, room.system):
                    self._publish(room, message)
        return ()

    def _take_over(self) -> None:
        now = self._clock()
        for room, message in self._recent.items():
            if now - message.timestamp < MEMORY:
                self._publish(room, message)

    def _remember(self, room: RoomRef, message: PublishMessage) -> None:
        self._recent.pop(room, None)
        self._recent[room] = message
        while len(self._recent) > _MOST:
            self._recent.popitem(last=False)
        oldest = next(iter(self._recent.values()))
        if message.timestamp - oldest.timestamp > MEMORY:
            self._recent.popitem(last=False)

    def _publish(self, room: RoomRef, message: PublishMessage) -> None:
        if not self._instances.is_eldest:
            return
        self._waiting.pop(room, None)
        self._waiting[room] = message
        if len(self._waiting) > _MOST:
            self._waiting.popitem(last=False)
            self._drop(room, "the broker is away, and too many rooms have changed")
        if self._worker is None or self._worker.done():
            self._worker = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        while self._waiting:
            room, message = next(iter(self._waiting.items()))
            outcome = await self._publisher.publish(message)
            if outcome in UNSETTLED:
                await asyncio.sleep(_RETRY_DELAY)
                continue
            if outcome is PublishOutcome.REJECTED:
                self._drop(room, "the broker refused it, as the full queue of a service does")
            if self._waiting.get(room) is message:  # else it has changed meanwhile
                del self._waiting[room]

    def _drop(self, room: RoomRef, reason: str) -> None:
        """Services are not told of a room: what it is next they are, or when they ask."""
        self._dropped.inc()
        if self._sparing.may_say((room.system, reason), self._clock()):
            log.error("occupancy.dropped", system=room.system, reason=reason)

    def _to_message(
        self, room: RoomRef, users: int, at: float, delivery: Delivery, number: int
    ) -> PublishMessage | None:
        words = self._plans.find_occupancy(room)
        if words is None:
            return None
        state = "occupied" if users else "vacated"
        body = {
            "system": room.system,
            "room": room.room,
            "words": words,
            "users": users,
            "offset": delivery.offset,
        }
        return PublishMessage(
            exchange=PRESENCE_EXCHANGE,
            routing_key=f"{room.system}.{state}",
            body=json.encode(body),
            message_id=f"{self._log_name}:{delivery.offset}:{number}",
            type=state,
            timestamp=at,
        )
