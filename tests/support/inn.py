"""Instances of the club around one log in memory: what the tests of presence over instances work with."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import msgspec

from bridge.flow.occupancy import Occupancy
from bridge.flow.own_messages import OwnMessages
from bridge.flow.presence import Presence
from bridge.model import (
    LOG_EXCHANGE,
    PRESENCE_EXCHANGE,
    Delivery,
    Principal,
    PublishMessage,
    PublishOutcome,
    RoomRef,
)
from bridge.rules.compile import Rules
from bridge.rules.presence_plan import PresencePlans
from bridge.state.presence import PresenceTable
from bridge.telemetry.metrics import Metrics
from tests.support.fakes import Clock, settle
from tests.support.house import HEARTBEAT, Member, MemoryLog

TABLE = RoomRef(system="shop", room="table:1")
GRACE = 5.0


class Line(MemoryLog):
    """One instance's connection to a log, which may be cut: nothing goes in, and what it read comes later."""

    def __init__(self, log: MemoryLog) -> None:
        super().__init__()
        self.cut = False
        self.refuse: str | None = None
        """An exchange to which nothing goes."""
        self.refusal = PublishOutcome.BROKER_UNAVAILABLE
        """What becomes of it."""
        self._log = log
        self._held: list[Delivery] = []
        self._read: Callable[[Delivery], None] = lambda _: None

    def attach(self, read: Callable[[Delivery], None]) -> None:
        """Hand over all there is, then whatever comes."""
        self._read = read
        self._log.attach(self._hand_over)

    def detach(self, read: Callable[[Delivery], None]) -> None:
        """Hand nothing over any more."""
        self._log.detach(self._hand_over)

    async def publish(self, message: PublishMessage) -> PublishOutcome:
        """Take a message, unless the line is cut."""
        if message.exchange == self.refuse:
            return self.refusal
        return PublishOutcome.BROKER_UNAVAILABLE if self.cut else await self._log.publish(message)

    def mend(self) -> None:
        """Bring what came meanwhile."""
        self.cut = False
        held, self._held = self._held, []
        for delivery in held:
            self._read(delivery)

    def lose_held(self) -> None:
        """What came meanwhile is not in the log any more."""
        self._held.clear()
        self.cut = False

    def _hand_over(self, delivery: Delivery) -> None:
        if self.cut:
            self._held.append(delivery)
        else:
            self._read(delivery)


class Inn(Member):
    """An instance with presence; what it tells its clients is noted, with the place in the log."""

    def __init__(self, log: MemoryLog, name: str, clock: Clock, rules: Rules) -> None:
        self.line = Line(log)
        super().__init__(self.line, name, clock)
        plans = PresencePlans(rules)
        self.table = PresenceTable(self.instances.incarnation)
        self.metrics = Metrics()
        self.occupancy = Occupancy(
            plans, self.table, self.instances, self.line, "log", self.metrics, lambda: clock.wall
        )
        self.presence = Presence(
            plans, self.table, self.instances, self.writer, self.occupancy, lambda: clock.wall
        )
        self.presence.register(self.messages)
        self.queries = OwnMessages("log")
        self.occupancy.register(self.queries)
        self.told: list[tuple[str, str, dict[str, object]]] = []
        """Namespace, event and body of all that its clients are sent, in order."""
        self.places: list[int | None] = []
        """Offsets of these."""
        self.rules = rules
        self._now = lambda: clock.wall

    def come(self, user: str, sid: str = "", *, room: RoomRef = TABLE, namespace: str = "/hall") -> str:
        """A client comes into a room; its sid."""
        sid = sid or f"sid of {user}"
        principal = Principal(user=user, claims={"sub": user, "secret": "of nobody's business"})
        self.presence.enter(room, namespace, principal, sid)
        return sid

    def go(self, sid: str, *, room: RoomRef = TABLE) -> None:
        """It leaves."""
        self.presence.exit(room, sid)

    def lose(self, sid: str, *, room: RoomRef = TABLE) -> None:
        """Its connection breaks."""
        self.presence.lose(room, sid, GRACE)

    def users(self, room: RoomRef = TABLE) -> int:
        """Users in a room, as answers tell it."""
        return self.presence.users(room)

    def read(self, delivery: Delivery) -> None:
        """Take a message of the log."""
        own = {LOG_EXCHANGE: self.messages, PRESENCE_EXCHANGE: self.queries}.get(delivery.exchange)
        for emission in own.take(delivery, self._now()) if own is not None else ():
            self.told.append((emission.namespace, emission.event, msgspec.json.decode(emission.args[0])))
            self.places.append(delivery.offset)

    def miss(self) -> None:
        """Be back after a cut of its line that was longer than the log reaches: a new epoch begins."""
        self.line.lose_held()
        self.instances.begin_epoch()
        self.presence.new_epoch()

    async def kill(self) -> None:
        """End without a word."""
        await super().kill()
        self.presence.stop()
        self.occupancy.stop()

    async def stop(self) -> None:
        """End in good order."""
        self.presence.close()
        await self.presence.drain()
        await self.instances.say_stopped()
        await self.kill()

    def hear(self, namespace: str = "/hall") -> list[tuple[str, object]]:
        """What its clients of a namespace were told since the last time: event and user."""
        told, self.told = self.told, []
        return [
            (event, body["user"])
            for where, event, body in told
            if where == namespace and isinstance(body, dict)
        ]


class Street:
    """Inns by name, in one time."""

    def __init__(self, rules: Rules) -> None:
        self.clock = Clock()
        self.clock.drive_loop()
        self.log = MemoryLog()
        self.rules = rules
        self.inns: list[Inn] = []
        self._numbers = count()

    async def open(self, name: str = "", rules: Rules | None = None) -> Inn:
        """An instance that runs; one of the name of another takes over from it."""
        inn = Inn(self.log, name or f"inn-{next(self._numbers)}", self.clock, rules or self.rules)
        self.inns.append(inn)
        await inn.start()
        return inn

    async def close(self) -> None:
        """End all that still run."""
        for inn in list(self.inns):
            await self.kill(inn)

    async def kill(self, inn: Inn) -> None:
        """End one without a word."""
        self.inns.remove(inn)
        await inn.kill()

    async def stop(self, inn: Inn) -> None:
        """End one in good order."""
        self.inns.remove(inn)
        await inn.stop()
        await settle()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, no longer than a heartbeat at once."""
        while seconds > 0:
            step = min(seconds, HEARTBEAT)
            await self.clock.advance(step)
            seconds -= step
