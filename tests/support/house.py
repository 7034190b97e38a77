"""Several instances around one log in memory: what the tests of what they tell one another work with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from bridge.flow.instances import Instances
from bridge.flow.own_messages import OwnMessages, OwnWriter
from bridge.model import Delivery, Emission, PublishMessage, PublishOutcome
from tests.support.fakes import Clock, settle

HEARTBEAT = 10.0


class MemoryLog:
    """A log that hands each message to all who read it, in order; implements flow.ports.Publisher."""

    def __init__(self) -> None:
        self.messages: list[PublishMessage] = []
        self.away = False
        """The broker is: nothing is taken."""
        self.refusing: list[PublishOutcome] = []
        """Outcomes of the next messages, which are not taken."""
        self.confirming = asyncio.Event()
        """What confirms wait for; a test may clear it."""
        self.confirming.set()
        self._readers: list[Callable[[Delivery], None]] = []

    def attach(self, read: Callable[[Delivery], None]) -> None:
        """Hand over all there is, then whatever comes."""
        for offset, message in enumerate(self.messages):
            read(to_delivery(message, offset))
        self._readers.append(read)

    def detach(self, read: Callable[[Delivery], None]) -> None:
        """Hand nothing over any more."""
        self._readers.remove(read)

    async def publish(self, message: PublishMessage) -> PublishOutcome:
        """Take a message."""
        await asyncio.sleep(0)
        if self.refusing:
            return self.refusing.pop(0)
        if self.away:
            return PublishOutcome.BROKER_UNAVAILABLE
        self.messages.append(message)
        for read in list(self._readers):
            read(to_delivery(message, len(self.messages) - 1))
        await self.confirming.wait()
        return PublishOutcome.CONFIRMED

    @property
    def keys(self) -> list[str]:
        """Routing keys of all messages, in order."""
        return [message.routing_key for message in self.messages]


class Member:
    """One instance: it reads the log from its beginning, then says that it lives."""

    def __init__(self, log: MemoryLog, name: str, clock: Clock, *, log_name: str = "log") -> None:
        self.log = log
        self.name = name
        self.messages = OwnMessages(log_name)
        self.writer = OwnWriter(log, log_name, lambda: clock.wall)
        self.instances = Instances(name, self.messages, self.writer, HEARTBEAT)
        self.ended: list[str] = []
        """Names of the instances that it saw end, in order; in brackets those that stopped in good order."""
        self.instances.on_dead.append(self._note_dead)
        self.instances.on_stopped.append(self._note_stopped)
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to read, and give signs of life."""
        self._task = asyncio.create_task(self.instances.run())
        self.log.attach(self.read)
        self.instances.caught_up()
        await settle()

    async def kill(self) -> None:
        """End without a word."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.log.detach(self.read)

    async def stop(self) -> None:
        """End in good order."""
        await self.instances.say_stopped()
        await self.kill()

    @property
    def living(self) -> list[str]:
        """Names of the instances that it knows to live, the eldest first."""
        return [to_name(one) for one in self.instances.living]

    def read(self, delivery: Delivery) -> None:
        """Take a message of the log."""
        self.messages.take(delivery, self._clock.wall)

    def _note_dead(self, incarnation: str, now: float) -> Sequence[Emission]:
        assert now == self._clock.wall
        self.ended.append(to_name(incarnation))
        return ()

    def _note_stopped(self, incarnation: str, now: float) -> Sequence[Emission]:
        assert now == self._clock.wall
        self.ended.append(f"({to_name(incarnation)})")
        return ()


def to_name(incarnation: str) -> str:
    """Of the instance whose run it is."""
    return incarnation.rpartition(":")[0]


def to_delivery(message: PublishMessage, offset: int) -> Delivery:
    """As the reader hands it over."""
    return Delivery(
        exchange=message.exchange,
        routing_key=message.routing_key,
        body=message.body,
        content_type=message.content_type,
        headers=message.headers,
        message_id=message.message_id,
        timestamp=message.timestamp,
        offset=offset,
    )
