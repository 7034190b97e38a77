"""A row of clubs around one log, which ask one another: what tests of sessions that travel work with."""

from __future__ import annotations

import asyncio
from itertools import count

import msgspec
from msgspec import structs

from bridge.flow.own_messages import OwnMessages
from bridge.model import CONTROL_EXCHANGE, INSTANCES_EXCHANGE, Delivery, PublishMessage, PublishOutcome
from bridge.rules.compile import Rules
from tests.support.club import Club
from tests.support.fakes import Clock, settle
from tests.support.house import to_delivery
from tests.support.rules import deliver


class Wire:
    """`bridge.instances` in memory: hands a message to those whose key it carries."""

    def __init__(self) -> None:
        self.queues: dict[str, list[OwnMessages]] = {}
        self.published: list[PublishMessage] = []
        self.away = False
        self.deaf: list[OwnMessages] = []
        """Those that what is published does not reach."""

    async def publish(self, message: PublishMessage) -> PublishOutcome:
        """Deliver at once; answers are there before the confirm."""
        if self.away:
            return PublishOutcome.BROKER_UNAVAILABLE
        assert message.exchange == INSTANCES_EXCHANGE
        self.published.append(message)
        for messages in self.queues.get(message.routing_key, []):
            if messages not in self.deaf:
                messages.take(to_delivery(message, 0), 0.0)
        await asyncio.sleep(0)
        return PublishOutcome.CONFIRMED


class Row:
    """Clubs whose log hands each message to all that do not lag; implements flow.ports.Publisher."""

    def __init__(self, rules: Rules) -> None:
        self.clock = Clock()
        self.clock.drive_loop()
        self.wire = Wire()
        self.log: list[Delivery] = []
        self.away = False
        """The broker is: nothing is taken into the log."""
        self.clubs: list[Club] = []
        self._rules = rules
        self._read: dict[Club, int] = {}
        """How much of the log each has read."""
        self._lagging: set[Club] = set()
        self._tasks: dict[Club, asyncio.Task[None]] = {}
        self._numbers = count(1)

    async def open(self) -> Club:
        """Start a further club, which reads the log from its beginning."""
        name = f"club-{len(self.clubs) + 1}"
        club = Club(self._rules, ready=False, name=name, clock=self.clock, log=self, wire=self.wire)
        club.numbers = self._numbers
        for key in club.peers.keys:
            self.wire.queues.setdefault(key, []).append(club.peer_messages)
        self.clubs.append(club)
        self._read[club] = 0
        await self._hand_over(club)
        club.catch_up()
        club.instances.caught_up()
        self._tasks[club] = asyncio.create_task(club.instances.run())
        await settle()
        return club

    async def close(self) -> None:
        """End all of them."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for club in self.clubs:
            await club.uplink.stop()
            await club.replays.stop()
            await club.handovers.stop()
            await club.peers.stop()
            club.presence.stop()

    async def kill(self, club: Club) -> None:
        """End one without a word."""
        self.lag(club)
        self.wire.deaf.append(club.peer_messages)
        self._tasks[club].cancel()
        await asyncio.gather(self._tasks[club], return_exceptions=True)

    def lag(self, club: Club) -> None:
        """Let one read nothing more."""
        self._lagging.add(club)

    async def go_on(self, club: Club) -> None:
        """Let one read what it has not."""
        self._lagging.discard(club)
        await self._hand_over(club)
        await settle()

    async def publish(self, message: PublishMessage) -> PublishOutcome:
        """Take a message into the log."""
        await asyncio.sleep(0)
        if self.away:
            return PublishOutcome.BROKER_UNAVAILABLE
        await self._append(to_delivery(message, len(self.log)))
        return PublishOutcome.CONFIRMED

    async def say(self, *texts: str, table: str = "1") -> None:
        """Publish events of a table."""
        for text in texts:
            await self._append(deliver(f"table.{table}.said", {"text": text}, exchange="club.events"))
        await settle()

    async def order(self, key: str, **body: object) -> None:
        """Publish what an operator wants."""
        await self._append(
            Delivery(
                exchange=CONTROL_EXCHANGE,
                routing_key=key,
                body=msgspec.json.encode(body),
                timestamp=self.clock.wall,
            )
        )
        await settle()

    @property
    def keys(self) -> list[str]:
        """Routing keys of all that is in the log, in order."""
        return [delivery.routing_key for delivery in self.log]

    async def _append(self, delivery: Delivery) -> None:
        offset = len(self.log)
        self.log.append(structs.replace(delivery, offset=offset, checksum=offset + 1))
        for club in self.clubs:
            if club not in self._lagging:
                await self._hand_over(club)

    async def _hand_over(self, club: Club) -> None:
        begin, self._read[club] = self._read[club], len(self.log)
        if begin < len(self.log):
            club.downlink.handle(self.log[begin:])
