"""Tells the other instances through the log that this one lives, and learns from it which others do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final
from uuid import uuid4

import structlog
from msgspec import Struct

from bridge.flow.own_messages import OwnMessages, OwnWriter
from bridge.model import Delivery, Emission, PublishOutcome
from bridge.state.instances import InstanceTable, Sign

STARTED_KEY: Final = "instance.started"
HEARTBEAT_KEY: Final = "instance.heartbeat"
STOPPED_KEY: Final = "instance.stopped"
ANSWERED_KEY: Final = "instance.answered"
ANSWER_SECONDS: Final = 5.0
"""How long a starting instance waits for what the others know: one of them may be dead and not yet missed."""
_RETRY_DELAY: Final = 1.0

log = structlog.get_logger()

EndHook = Callable[[str, float], Sequence[Emission]]
"""Told of an incarnation that ended, at `now` (epoch seconds); the emissions that this leads to."""


class Stopped(Struct, frozen=True, kw_only=True):
    """An instance ends in good order."""

    incarnation: str
    kept: int | None = None
    """As in `Sign`."""


class Answered(Struct, frozen=True, kw_only=True):
    """Before this message stands in the log all that one instance tells another that has just started."""

    to: str
    by: str


class Instances:
    """The instances of one log: `run` gives signs of life, and the messages of the log tell of all.

    What the hooks are told comes in log order, so that every instance sees the same one end before or
    after the same message.
    """

    def __init__(self, name: str, messages: OwnMessages, writer: OwnWriter, heartbeat: float) -> None:
        """`name` is the instance's; `heartbeat` the seconds between two of its signs."""
        self.incarnation = f"{name}:{uuid4().hex}"
        """This run of this instance, unlike any other."""
        self.on_dead: list[EndHook] = []
        """Told of each incarnation that gives no signs any more, or whose name another has taken over."""
        self.on_stopped: list[EndHook] = []
        """Told of each incarnation that ended in good order."""
        self.on_own_death: list[Callable[[], None]] = []
        """Told when the others held this instance for dead: what they dropped must be told them again."""
        self.on_eldest: list[Callable[[], None]] = []
        """Told when this instance becomes the eldest."""
        self.answers: list[Callable[[str], Awaitable[None]]] = []
        """Publish to the log what an incarnation that has just started must know; return once confirmed."""
        self.is_eldest = False
        """Whether this instance is the one that does what only one may do; up to date in the hooks."""
        self.find_kept: Callable[[], int | None] = lambda: None
        """Asked for the offset up to which this instance has published all that the eldest must publish."""
        self.read = -1
        """The offset of the last message of an instance: all before it has been handled here."""
        self.kept: int | None = None
        """The offset up to which those who were the eldest have published all of it."""
        self._name = name
        self._writer = writer
        self._heartbeat = float(heartbeat)  # no config type: it goes into messages
        self._table = InstanceTable()
        self._rank = 0
        self._number = 0
        self._stopping = False
        self._caught_up = asyncio.Event()
        self._started = asyncio.Event()  # the own sign was read: from here on others count on answers
        self._awaited: set[str] = set()
        self._answered = asyncio.Event()
        self._at_once = asyncio.Event()
        self._asking: dict[str, None] = {}  # incarnations that wait for an answer, each once
        self._asked = asyncio.Event()
        messages.register(STARTED_KEY, Sign, self._take_started)
        messages.register(HEARTBEAT_KEY, Sign, self._take_heartbeat)
        messages.register(STOPPED_KEY, Stopped, self._take_stopped)
        messages.register(ANSWERED_KEY, Answered, self._take_answered)

    @property
    def living(self) -> tuple[str, ...]:
        """The incarnations that live, the eldest first, and this one among them once its sign was read."""
        return self._table.living

    @property
    def others(self) -> tuple[str, ...]:
        """The incarnations that live besides this one."""
        return tuple(one for one in self._table.living if one != self.incarnation)

    def lives(self, incarnation: str) -> bool:
        """Whether an incarnation lives."""
        return incarnation in self._table

    def count(self) -> int:
        """How many instances live."""
        return len(self._table.living)

    def caught_up(self) -> None:
        """The log was read up to the moment of the start: the instance may take its place."""
        self._caught_up.set()

    def begin_epoch(self) -> None:
        """The log begins anew: no offset of before means anything in it."""
        self.read = -1
        self.kept = None

    async def await_answers(self) -> None:
        """Wait until all others that live have told this instance what it must know, or take too long."""
        await self._started.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._answered.wait()
        if self._awaited:
            log.warning("instances.silent", count=len(self._awaited))

    async def run(self) -> None:
        """Give signs of life and answer those who start, until cancelled."""
        await self._caught_up.wait()
        self._rank = self._table.next_rank
        await self._writer.write_until_taken(STARTED_KEY, self._sign())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._beat())
            tasks.create_task(self._answer())

    async def say_stopped(self) -> None:
        """Tell the others that this instance ends, unless the broker is away; it gives no sign after it."""
        self._stopping = True
        if self._number:
            stopped = Stopped(incarnation=self.incarnation, kept=self.find_kept())
            await self._writer.write(STOPPED_KEY, stopped)

    async def _beat(self) -> None:
        delay = self._heartbeat
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._at_once.wait()
            self._at_once.clear()
            if self._stopping:
                return
            # Never twice for one time: two signs of this instance must stay a heartbeat apart, since they
            # count against the others. One that found no broker comes soon after it is back.
            outcome = await self._writer.write(HEARTBEAT_KEY, self._sign())
            away = outcome is PublishOutcome.BROKER_UNAVAILABLE
            delay = min(_RETRY_DELAY, self._heartbeat) if away else self._heartbeat

    async def _answer(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            while self._asking:
                incarnation = next(iter(self._asking))
                del self._asking[incarnation]
                for answer in self.answers:
                    await answer(incarnation)
                answered = Answered(to=incarnation, by=self.incarnation)
                await self._writer.write_until_taken(ANSWERED_KEY, answered)

    def _sign(self) -> Sign:
        self._number += 1
        return Sign(
            name=self._name,
            incarnation=self.incarnation,
            rank=self._rank,
            number=self._number,
            every=self._heartbeat,
            kept=self.find_kept(),
        )

    def _take_started(self, sign: Sign, delivery: Delivery, now: float) -> Sequence[Emission]:
        self._note_read(delivery)
        emissions = self._end(self._table.started(sign), self.on_dead, now)
        if sign.incarnation != self.incarnation:
            if self._started.is_set() and self.lives(sign.incarnation):
                self._asking[sign.incarnation] = None
                self._asked.set()
        elif not self._started.is_set():
            self._awaited = set(self.others)
            self._started.set()
            self._settle()
        return emissions

    def _take_heartbeat(self, sign: Sign, delivery: Delivery, now: float) -> Sequence[Emission]:
        self._note_read(delivery)
        if sign.incarnation == self._table.eldest:
            self._note_kept(sign.kept)
        return self._end(self._table.beat(sign), self.on_dead, now)

    def _take_stopped(self, stopped: Stopped, delivery: Delivery, now: float) -> Sequence[Emission]:
        self._note_read(delivery)
        if stopped.incarnation == self._table.eldest:
            self._note_kept(stopped.kept)
        return self._end(self._table.stopped(stopped.incarnation), self.on_stopped, now)

    def _take_answered(self, answered: Answered, _delivery: Delivery, _now: float) -> Sequence[Emission]:
        if answered.to == self.incarnation:
            self._awaited.discard(answered.by)
            self._settle()
        return ()

    def _end(self, ended: Sequence[str], hooks: Sequence[EndHook], now: float) -> Sequence[Emission]:
        """Tell the hooks who ended, then whoever waits for this instance to be the eldest."""
        was_eldest, self.is_eldest = self.is_eldest, self._table.eldest == self.incarnation
        emissions: list[Emission] = []
        for incarnation in ended:
            how = "stopped" if hooks is self.on_stopped else "dead"
            log.info("instance.ended", incarnation=incarnation, how=how)
            for hook in hooks:
                emissions += hook(incarnation, now)
            self._awaited.discard(incarnation)
            self._asking.pop(incarnation, None)
            if incarnation == self.incarnation and not self._stopping:
                self._rise()
        self._settle()
        if self.is_eldest and not was_eldest:
            for become_eldest in self.on_eldest:
                become_eldest()
        return emissions

    def _note_read(self, delivery: Delivery) -> None:
        if delivery.offset is not None:
            self.read = delivery.offset

    def _note_kept(self, kept: int | None) -> None:
        if kept is not None:
            self.kept = kept if self.kept is None else max(kept, self.kept)

    def _rise(self) -> None:
        """The others heard nothing of this instance for too long: it is the youngest from here on."""
        log.warning(
            "instance.held_for_dead", meaning="it was cut off from the broker, or another has its name"
        )
        self._rank = self._table.next_rank
        self._at_once.set()
        for hook in self.on_own_death:
            hook()

    def _settle(self) -> None:
        if self._started.is_set() and not self._awaited:
            self._answered.set()
