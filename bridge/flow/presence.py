"""Who is present in which room over all instances: own clients come and go, and the log says it of all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from math import inf
from typing import Final

from bridge.flow.instances import Instances
from bridge.flow.occupancy import Occupancy
from bridge.flow.own_messages import OwnMessages, OwnWriter
from bridge.flow.presence_messages import (
    ASKED_KEY,
    GONE_KEY,
    JOINED_KEY,
    LEFT_KEY,
    SNAPSHOT_KEY,
    Asked,
    Gone,
    Joined,
    Left,
    Snapshot,
)
from bridge.flow.presence_writer import PresenceWriter
from bridge.model import Delivery, Emission, Principal, RoomRef
from bridge.rules.presence_plan import PresencePlans
from bridge.state.presence import Change, PresenceTable, Seat

STRANGER_SECONDS: Final = 60.0
"""An instance that tells of members and gives no sign of life for so long has ended unseen."""
DEAD_GRACE: Final = 5.0
"""Seconds for the members of an instance that was killed: it has been missed for long already."""
_LOOK_AGAIN: Final = 5.0
_PATIENCE: Final = 3
"""How often the eldest is left to say that an end is over, before everybody does: of what one instance alone
believes, since it has missed a part of the log, the eldest knows nothing."""


class Presence:
    """The members of all rooms whose rules ask for `presence` or `occupancy`.

    What a client does is told to the log, and counts for events when it is read there, by this instance as
    by all others: so all tell the same comings and goings in the same order, as events with a place in
    the log. Only `users` counts own clients at once.

    The members of an instance that has ended have the time of grace, like a client whose connection broke:
    they may come back, to whichever instance. The eldest then says that it is over, and it is when all
    read that. Whoever waits for it in vain says so itself, which changes nothing for the others.
    """

    def __init__(
        self,
        plans: PresencePlans,
        table: PresenceTable,
        instances: Instances,
        writer: OwnWriter,
        occupancy: Occupancy,
        clock: Callable[[], float],
    ) -> None:
        """`clock` gives epoch seconds."""
        self._plans = plans
        self._table = table
        self._instances = instances
        self._own_writer = writer
        self._writer = PresenceWriter(instances.incarnation, writer, clock)
        self._occupancy = occupancy
        self._clock = clock
        self._numbers: dict[str, int] = {}
        self._graces: dict[Seat, asyncio.TimerHandle] = {}
        self._doubled: dict[Seat, int] = {}
        self._ends: dict[str, asyncio.TimerHandle] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._closing = False
        self.on_read: list[Callable[[], None]] = []
        """Told when the log was read up to the moment at which its last epoch began."""
        instances.answers.append(self._answer)
        instances.on_dead.append(self._end_dead)
        instances.on_stopped.append(self._end)
        instances.on_own_death.append(lambda: self._writer.tell_again(whole=False))

    def register(self, messages: OwnMessages) -> None:
        """Take the messages of the log about presence."""
        messages.register(JOINED_KEY, Joined, self._take_joined)
        messages.register(LEFT_KEY, Left, self._take_left)
        messages.register(SNAPSHOT_KEY, Snapshot, self._take_snapshot)
        messages.register(GONE_KEY, Gone, self._take_gone)
        messages.register(ASKED_KEY, Asked, self._take_asked)

    def users(self, room: RoomRef) -> int:
        """How many distinct users are in the room, over all instances."""
        return self._table.users(room)

    def enter(self, room: RoomRef, namespace: str, principal: Principal, sid: str) -> None:
        """A client of this instance has come into a room; one that comes back within its grace never went."""
        member = self._plans.to_member(room, namespace, principal, sid)
        timer = self._graces.pop(member.seat, None)
        if timer is not None:
            timer.cancel()
        elif self._table.enter(member):
            self._writer.join(member)
        else:  # its session is here twice, until its first connection is found dead
            self._doubled[member.seat] = self._doubled.get(member.seat, 0) + 1

    def exit(self, room: RoomRef, sid: str) -> None:
        """A client has gone from a room on purpose."""
        seat = (room, sid)
        if not self._is_double(seat):
            self._leave(seat)

    def lose(self, room: RoomRef, sid: str, grace: float) -> None:
        """A client's connection broke: it has gone unless it comes back within `grace` seconds."""
        seat = (room, sid)
        if self._is_double(seat) or self._closing:
            return
        self._graces[seat] = asyncio.get_running_loop().call_later(grace, self._leave, seat)

    def new_epoch(self) -> None:
        """Messages of the log may have been missed: every instance shall say who is there."""
        self._publish_once(ASKED_KEY, ASKED_KEY, Asked(by=self._instances.incarnation))

    def close(self) -> None:
        """Tell of nobody any more: whoever stops leaves it to the others to wait for its clients."""
        self._closing = True
        self._writer.close()

    async def drain(self) -> None:
        """Wait until the log was told of all before `close`; the caller bounds the time."""
        await self._writer.drain()

    def stop(self) -> None:
        """Forget the times that still run, and what is not told yet."""
        self._closing = True
        for timer in (*self._graces.values(), *self._ends.values()):
            timer.cancel()
        self._graces.clear()
        self._ends.clear()
        self._writer.stop()
        for task in self._tasks.values():
            task.cancel()

    def waiting(self) -> int:
        """Changes that the log is still to be told."""
        return len(self._writer.changes)

    def left_over(self) -> int:
        """What is still held for own clients; nothing once all of them have gone."""
        return len(self._graces) + len(self._doubled) + len(self._writer.changes.announced)

    def _is_double(self, seat: Seat) -> bool:
        left = self._doubled.pop(seat, 0) - 1
        if left > 0:
            self._doubled[seat] = left
        return left >= 0

    def _leave(self, seat: Seat) -> None:
        self._graces.pop(seat, None)
        if self._table.exit(seat):
            self._writer.leave(seat)

    async def _answer(self, _incarnation: str) -> None:
        """Tell an instance that has just started who is here."""
        await self._writer.list_all()

    def _take_joined(self, message: Joined, delivery: Delivery, _now: float) -> Sequence[Emission]:
        if not self._is_new(message):
            return ()
        changes = self._table.joined(message.incarnation, message.members)
        return self._report(changes, message.at, delivery)

    def _take_left(self, message: Left, delivery: Delivery, _now: float) -> Sequence[Emission]:
        if not self._is_new(message):
            return ()
        return self._report(self._table.left(message.incarnation, message.seats), message.at, delivery)

    def _take_snapshot(self, message: Snapshot, delivery: Delivery, _now: float) -> Sequence[Emission]:
        if not self._is_new(message):
            return ()
        changes = self._table.listed(
            message.incarnation, message.members, first=message.first, last=message.last
        )
        return self._report(changes, message.at, delivery)

    def _take_gone(self, message: Gone, delivery: Delivery, _now: float) -> Sequence[Emission]:
        incarnation = message.incarnation
        if self._is_alive(incarnation) and not self._table.is_ending(incarnation):
            return ()  # said twice, or by one that missed a part of the log: here it is over, or never was
        timer = self._ends.pop(incarnation, None)
        if timer is not None:
            timer.cancel()
        changes = self._table.gone(incarnation)
        if not self._is_alive(incarnation):
            self._numbers.pop(incarnation, None)
        if incarnation == self._instances.incarnation:
            self._writer.tell_again(whole=False)
        return self._report(changes, message.at, delivery)

    def _take_asked(self, message: Asked, _delivery: Delivery, _now: float) -> Sequence[Emission]:
        if message.by == self._instances.incarnation:
            for hook in self.on_read:
                hook()
        if self._instances.lives(self._instances.incarnation):  # else it is from before the start
            self._writer.tell_again(whole=True)
        return ()

    def _is_new(self, message: Joined | Left | Snapshot) -> bool:
        """Whether it comes for the first time; notes who tells of members without a sign of life."""
        incarnation = message.incarnation
        if message.number <= self._numbers.get(incarnation, 0):
            return False
        self._numbers[incarnation] = message.number
        if not self._is_alive(incarnation) and incarnation not in self._ends:
            self._await_end(incarnation, STRANGER_SECONDS)
        return True

    def _report(self, changes: Sequence[Change], at: float, delivery: Delivery) -> Sequence[Emission]:
        """What clients and services are told of changes."""
        self._occupancy.note(changes, at, delivery)
        return [emission for change in changes for emission in self._plans.plan(change, at)]

    def _end_dead(self, incarnation: str, now: float) -> Sequence[Emission]:
        """An instance is held for dead, or another run of it has begun."""
        return self._end(incarnation, now, DEAD_GRACE)

    def _end(self, incarnation: str, _now: float, most: float = inf) -> Sequence[Emission]:
        """An instance has ended: its members have the time of grace, `most` seconds at most."""
        if self._table.has_members(incarnation):
            self._table.end(incarnation)
            self._await_end(incarnation, min(most, self._plans.longest_grace))
        else:
            self._numbers.pop(incarnation, None)
        return ()

    def _await_end(self, incarnation: str, delay: float, looked: int = 0) -> None:
        timer = self._ends.pop(incarnation, None)
        if timer is not None:
            timer.cancel()
        if not self._closing:
            loop = asyncio.get_running_loop()
            self._ends[incarnation] = loop.call_later(delay, self._finish_end, incarnation, looked)

    def _finish_end(self, incarnation: str, looked: int) -> None:
        """The time is over: the eldest says so; `looked` says how often it was left to it."""
        del self._ends[incarnation]
        if not self._table.is_ending(incarnation):
            if self._is_alive(incarnation):
                return
            if not self._table.has_members(incarnation):
                self._numbers.pop(incarnation, None)
                return
        self._await_end(incarnation, _LOOK_AGAIN, looked + 1)  # until it is read: the eldest may end too
        if self._instances.is_eldest or looked >= _PATIENCE:
            self._publish_once(GONE_KEY, incarnation, Gone(incarnation=incarnation, at=self._clock()))

    def _publish_once(self, key: str, name: str, message: object) -> None:
        """Publish a message unless the one of that name is on its way."""
        if name in self._tasks or self._closing:
            return
        work = self._own_writer.write_until_taken(key, message)
        task = self._tasks[name] = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(lambda _: self._tasks.pop(name, None))

    def _is_alive(self, incarnation: str) -> bool:
        return incarnation == self._instances.incarnation or self._instances.lives(incarnation)
