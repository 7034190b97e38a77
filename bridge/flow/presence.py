"""Who is present in which room over all instances: tells the log of own clients, and reads all from it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from msgspec import Struct

from bridge.flow.instances import Instances
from bridge.flow.occupancy import Occupancy
from bridge.flow.own_messages import OwnMessages, OwnWriter
from bridge.model import Delivery, Emission, Principal, RoomRef
from bridge.rules.presence_plan import PresencePlans
from bridge.state.presence import Change, Member, PresenceTable, Seat
from bridge.state.presence_changes import Joins, Leaves, PresenceChanges

JOINED_KEY: Final = "presence.joined"
LEFT_KEY: Final = "presence.left"
SNAPSHOT_KEY: Final = "presence.snapshot"
GONE_KEY: Final = "presence.gone"
PART_BYTES: Final = 60_000
"""Of members in one message, as JSON."""
STRANGER_SECONDS: Final = 60.0
"""An instance that tells of members and gives no sign of life for so long has ended unseen."""
_LOOK_AGAIN: Final = 5.0

log = structlog.get_logger()


class Joined(Struct, frozen=True, kw_only=True):
    """Clients of an instance came into rooms."""

    incarnation: str
    number: int
    """Counts the messages of an incarnation about its members: one that comes twice, late, says nothing."""
    at: float
    """Epoch seconds."""
    members: Sequence[Member]


class Left(Struct, frozen=True, kw_only=True):
    """Clients of an instance have gone from rooms."""

    incarnation: str
    number: int
    at: float
    seats: Sequence[Seat]


class Snapshot(Struct, frozen=True, kw_only=True):
    """A part of all members of an instance, for one that has just started."""

    incarnation: str
    number: int
    at: float
    members: Sequence[Member]
    first: bool
    last: bool


class Gone(Struct, frozen=True, kw_only=True):
    """The time of grace of an instance that has ended is over: its members have gone."""

    incarnation: str
    at: float


class Presence:
    """The members of all rooms whose rules ask for `presence` or `occupancy`.

    What a client does is told to the log, and counts for events when it is read there, by this instance as
    by all others: so all tell the same comings and goings in the same order, as events with a place in
    the log. Only `users` counts own clients at once.
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
        self._instances = instances
        self._writer = writer
        self._occupancy = occupancy
        self._clock = clock
        self.table = table
        self._changes = PresenceChanges()
        self._numbers: dict[str, int] = {}
        self._number = 0
        self._turn = asyncio.Lock()  # messages about own members go out one after the other
        self._worker: asyncio.Task[None] | None = None
        self._graces: dict[Seat, asyncio.TimerHandle] = {}
        self._doubled: dict[Seat, int] = {}
        self._ends: dict[str, asyncio.TimerHandle] = {}
        self._endings: dict[str, asyncio.Task[bool]] = {}
        self._closing = False
        instances.answers.append(self._answer)
        instances.on_dead.append(self._end)
        instances.on_stopped.append(self._end)
        instances.on_own_death.append(self._tell_again)

    def register(self, messages: OwnMessages) -> None:
        """Take the messages of the log about presence."""
        messages.register(JOINED_KEY, Joined, self._take_joined)
        messages.register(LEFT_KEY, Left, self._take_left)
        messages.register(SNAPSHOT_KEY, Snapshot, self._take_snapshot)
        messages.register(GONE_KEY, Gone, self._take_gone)

    def users(self, room: RoomRef) -> int:
        """How many distinct users are in the room, over all instances."""
        return self.table.users(room)

    def enter(self, room: RoomRef, namespace: str, principal: Principal, sid: str) -> None:
        """A client of this instance has come into a room; one that comes back within its grace never went."""
        member = self._plans.to_member(room, namespace, principal, sid)
        timer = self._graces.pop(member.seat, None)
        if timer is not None:
            timer.cancel()
        elif self.table.enter(member):
            self._tell(lambda: self._changes.join(member))
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
            return  # whoever stops leaves it to the others to wait for its clients
        loop = asyncio.get_running_loop()
        self._graces[seat] = loop.call_later(grace, self._leave, seat)

    async def drain(self) -> None:
        """From here on tell of nobody any more; wait until the log has been told of all before."""
        self._closing = True
        if self._worker is not None:
            await asyncio.wait([self._worker])

    def stop(self) -> None:
        """Forget the times that still run."""
        self._closing = True
        for timer in (*self._graces.values(), *self._ends.values()):
            timer.cancel()
        self._graces.clear()
        self._ends.clear()
        for task in (self._worker, *self._endings.values()):
            if task is not None:
                task.cancel()

    def _is_double(self, seat: Seat) -> bool:
        left = self._doubled.pop(seat, 0) - 1
        if left > 0:
            self._doubled[seat] = left
        return left >= 0

    def _leave(self, seat: Seat) -> None:
        self._graces.pop(seat, None)
        if self.table.exit(seat):
            self._tell(lambda: self._changes.leave(seat))

    def _tell(self, change: Callable[[], None]) -> None:
        """Queue a change, and see to it that it is published."""
        if self._closing:
            return
        change()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.get_running_loop().create_task(self._publish_changes())

    async def _publish_changes(self) -> None:
        while len(self._changes):
            async with self._turn:
                match self._changes.take(PART_BYTES):
                    case None:
                        return
                    case Joins(members):
                        await self._writer.write_until_confirmed(JOINED_KEY, self._to_joined(members))
                    case Leaves(seats):
                        await self._writer.write_until_confirmed(LEFT_KEY, self._to_left(seats))

    async def _answer(self, _incarnation: str) -> None:
        """Tell an instance that has just started of all members that the log knows of."""
        async with self._turn:
            parts = self._changes.list_announced(PART_BYTES)
            for number, members in enumerate(parts):
                first, last = number == 0, number == len(parts) - 1
                snapshot = self._to_snapshot(members, first=first, last=last)
                await self._writer.write_until_confirmed(SNAPSHOT_KEY, snapshot)

    def _tell_again(self) -> None:
        """The others hold this instance's members for gone, or are about to."""
        self._tell(self._changes.renew)

    def _to_joined(self, members: Sequence[Member]) -> Joined:
        return Joined(
            incarnation=self._instances.incarnation, number=self._next(), at=self._clock(), members=members
        )

    def _to_left(self, seats: Sequence[Seat]) -> Left:
        return Left(
            incarnation=self._instances.incarnation, number=self._next(), at=self._clock(), seats=seats
        )

    def _to_snapshot(self, members: Sequence[Member], *, first: bool, last: bool) -> Snapshot:
        return Snapshot(
            incarnation=self._instances.incarnation,
            number=self._next(),
            at=self._clock(),
            members=members,
            first=first,
            last=last,
        )

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _is_new(self, message: Joined | Left | Snapshot) -> bool:
        """Whether it comes for the first time; notes who tells of members without a sign of life."""
        incarnation = message.incarnation
        if message.number <= self._numbers.get(incarnation, 0):
            return False
        self._numbers[incarnation] = message.number
        if not self._is_alive(incarnation) and incarnation not in self._ends:
            self._await_end(incarnation, STRANGER_SECONDS)
        return True

    def _take_joined(self, message: Joined, delivery: Delivery, _now: float) -> Sequence[Emission]:
        if not self._is_new(message):
            return ()
        return self._report(self.table.joined(message.incarnation, message.members), message.at, delivery)

    def _take_left(self, message: Left, delivery: Delivery, _now: float) -> Sequence[Emission]:
        if not self._is_new(message):
            return ()
        return self._report(self.table.left(message.incarnation, message.seats), message.at, delivery)

    def _take_snapshot(self, message: Snapshot, delivery: Delivery, _now: float) -> Sequence[Emission]:
        if not self._is_new(message):
            return ()
        changes = self.table.listed(
            message.incarnation, message.members, first=message.first, last=message.last
        )
        return self._report(changes, message.at, delivery)

    def _take_gone(self, message: Gone, delivery: Delivery, _now: float) -> Sequence[Emission]:
        incarnation = message.incarnation
        timer = self._ends.pop(incarnation, None)
        if timer is not None:
            timer.cancel()
        changes = self.table.gone(incarnation)
        if not self._is_alive(incarnation):
            self._numbers.pop(incarnation, None)
        if incarnation == self._instances.incarnation:
            self._tell_again()
        return self._report(changes, message.at, delivery)

    def _report(self, changes: Sequence[Change], at: float, delivery: Delivery) -> Sequence[Emission]:
        """What clients and services are told of changes."""
        self._occupancy.note(changes, at, delivery)
        return [emission for change in changes for emission in self._plans.plan(change, at)]

    def _end(self, incarnation: str, _now: float) -> Sequence[Emission]:
        """An instance has ended: its clients have the time of grace to come back, to whichever instance."""
        if self.table.has_members(incarnation):
            self.table.end(incarnation)
            self._await_end(incarnation, self._plans.longest_grace)
        else:
            self._numbers.pop(incarnation, None)
        return ()

    def _await_end(self, incarnation: str, delay: float) -> None:
        timer = self._ends.pop(incarnation, None)
        if timer is not None:
            timer.cancel()
        if not self._closing:
            loop = asyncio.get_running_loop()
            self._ends[incarnation] = loop.call_later(delay, self._finish_end, incarnation)

    def _finish_end(self, incarnation: str) -> None:
        """The time is over: the eldest says so, and everybody believes it when they read it."""
        del self._ends[incarnation]
        if not self.table.is_ending(incarnation):
            if self._is_alive(incarnation):
                return
            if not self.table.has_members(incarnation):
                self._numbers.pop(incarnation, None)
                return
        self._await_end(incarnation, _LOOK_AGAIN)  # until it is read: the eldest may end too
        if self._instances.is_eldest and incarnation not in self._endings:
            gone = self._writer.write_until_confirmed(
                GONE_KEY, Gone(incarnation=incarnation, at=self._clock())
            )
            task = self._endings[incarnation] = asyncio.get_running_loop().create_task(gone)
            task.add_done_callback(lambda _: self._endings.pop(incarnation, None))

    def _is_alive(self, incarnation: str) -> bool:
        return incarnation == self._instances.incarnation or incarnation in self._instances.living
