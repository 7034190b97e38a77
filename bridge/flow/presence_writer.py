"""Tells the log of this instance's members: their comings and goings, and all of them where somebody asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from bridge.flow.own_messages import OwnWriter
from bridge.flow.presence_messages import JOINED_KEY, LEFT_KEY, SNAPSHOT_KEY, Joined, Left, Snapshot
from bridge.state.presence import Member, Seat
from bridge.state.presence_changes import Joins, Leaves, PresenceChanges

PART_BYTES: Final = 60_000
"""Of members in one message, as JSON."""


class PresenceWriter:
    """Publishes one message after the other, each until it is confirmed, so that the log has their order."""

    def __init__(self, incarnation: str, writer: OwnWriter, clock: Callable[[], float]) -> None:
        """`incarnation` is this run of this instance; `clock` gives epoch seconds."""
        self._incarnation = incarnation
        self._writer = writer
        self._clock = clock
        self.changes = PresenceChanges()
        self._number = 0
        self._list_due = False
        self._turn = asyncio.Lock()
        self._worker: asyncio.Task[None] | None = None
        self._closing = False

    def join(self, member: Member) -> None:
        """A client has come into a room."""
        if not self._closing:
            self.changes.join(member)
            self._work()

    def leave(self, seat: Seat) -> None:
        """A client has gone from a room."""
        if not self._closing:
            self.changes.leave(seat)
            self._work()

    def tell_again(self, *, whole: bool) -> None:
        """Tell of all members as of newcomers, since others have dropped or missed them.

        `whole` says that there are no others: who is missing has gone.
        """
        if not self._closing:
            self._list_due = self._list_due or whole
            self.changes.renew()
            self._work()

    async def list_all(self) -> None:
        """Tell of all members that the log knows of; returns once it is confirmed."""
        async with self._turn:
            await self._list_members()

    def close(self) -> None:
        """Take no more."""
        self._closing = True

    async def drain(self) -> None:
        """Wait until all is confirmed that was taken; the caller bounds the time."""
        if self._worker is not None:
            await asyncio.wait([self._worker])

    def stop(self) -> None:
        """Give up what is not confirmed."""
        self._closing = True
        if self._worker is not None:
            self._worker.cancel()

    def _work(self) -> None:
        if self._worker is None or self._worker.done():
            self._worker = asyncio.get_running_loop().create_task(self._publish_all())

    async def _publish_all(self) -> None:
        while len(self.changes) or self._list_due:
            async with self._turn:
                await self._publish_next()

    async def _publish_next(self) -> None:
        match self.changes.take(PART_BYTES):
            case Joins(members):
                joined = Joined(
                    incarnation=self._incarnation, number=self._next(), at=self._clock(), members=members
                )
                await self._writer.write_until_taken(JOINED_KEY, joined)
            case Leaves(seats):
                left = Left(incarnation=self._incarnation, number=self._next(), at=self._clock(), seats=seats)
                await self._writer.write_until_taken(LEFT_KEY, left)
            case None:
                self._list_due = False
                await self._list_members()

    async def _list_members(self) -> None:
        parts = self.changes.list_announced(PART_BYTES)
        for index, members in enumerate(parts):
            snapshot = self._to_snapshot(members, first=index == 0, last=index == len(parts) - 1)
            await self._writer.write_until_taken(SNAPSHOT_KEY, snapshot)

    def _to_snapshot(self, members: Sequence[Member], *, first: bool, last: bool) -> Snapshot:
        return Snapshot(
            incarnation=self._incarnation,
            number=self._next(),
            at=self._clock(),
            members=members,
            first=first,
            last=last,
        )

    def _next(self) -> int:
        self._number += 1
        return self._number
