"""Who is in which room of which namespace: the one index that joins, leaves and the fan-out share."""

from collections.abc import Hashable
from typing import Generic, TypeVar

M = TypeVar("M", bound=Hashable)
"""A member: whatever the edge uses for one client."""

_Room = tuple[str, str]
"""Namespace and room."""


class Memberships(Generic[M]):
    """Rooms and their members, in the order of joining.

    Every change costs O(1), or O(own rooms) for `leave_all`: a mass disconnect stays linear. Rooms
    without members are forgotten. `EVERYONE` is a room like any other.
    """

    def __init__(self) -> None:
        self._members: dict[_Room, dict[M, None]] = {}
        self._marks: dict[M, dict[_Room, int]] = {}
        """The rooms of each member, with the offset behind which it has all events of the room."""
        self._snapshots: dict[_Room, tuple[M, ...]] = {}

    def join(self, namespace: str, room: str, member: M, mark: int | None = None) -> bool:
        """Put a member into a room; False when it was there already.

        `mark` is the offset in the log behind which the member has, or is given, all events of the room. One
        that was there already keeps its mark, unless it has been given older events since. Without a mark the
        member has had the room's events since ever.
        """
        key = (namespace, room)
        members = self._members.get(key)
        if members is None:
            members = self._members[key] = {}
        elif member in members:
            if mark is not None:
                marks = self._marks[member]
                marks[key] = min(mark, marks[key])
            return False
        members[member] = None
        self._marks.setdefault(member, {})[key] = -1 if mark is None else mark
        self._snapshots.pop(key, None)
        return True

    def leave(self, namespace: str, room: str, member: M) -> bool:
        """Take a member out of a room; False when it was not there."""
        key = (namespace, room)
        marks = self._marks.get(member)
        if marks is None or key not in marks:
            return False
        del marks[key]
        if not marks:
            del self._marks[member]
        self._remove(key, member)
        return True

    def leave_all(self, member: M) -> tuple[_Room, ...]:
        """Take a member out of all its rooms; returns the (namespace, room) pairs that it left."""
        left = tuple(self._marks.pop(member, ()))
        for key in left:
            self._remove(key, member)
        return left

    def members(self, namespace: str, room: str) -> tuple[M, ...]:
        """The members of a room.

        A snapshot, safe to iterate while members come and go: the very same tuple until the room
        changes, so `is` tells that two rooms' sets were not touched. Copying a changed room costs
        far less than sending to it.
        """
        key = (namespace, room)
        snapshot = self._snapshots.get(key)
        if snapshot is None:
            members = self._members.get(key)
            if members is None:
                return ()
            snapshot = self._snapshots[key] = tuple(members)
        return snapshot

    def contains(self, namespace: str, room: str, member: M) -> bool:
        """Whether the member is in the room."""
        return (namespace, room) in self._marks.get(member, ())

    def rooms_of(self, namespace: str, member: M) -> tuple[str, ...]:
        """The rooms of one namespace that a member is in, in the order of joining."""
        return tuple(room for own, room in self._marks.get(member, ()) if own == namespace)

    def marks(self, namespace: str, member: M) -> dict[str, int]:
        """The rooms of one namespace that a member is in, with its mark in each."""
        return {room: mark for (own, room), mark in self._marks.get(member, {}).items() if own == namespace}

    def begin_log(self, mark: int) -> None:
        """Let all members have their rooms from this offset on: another log begins, or has just been read."""
        for marks in self._marks.values():
            for key in marks:
                marks[key] = mark

    def room_sizes(self, namespace: str) -> dict[str, int]:
        """The rooms of a namespace that have members, with their number; looks at all rooms."""
        return {room: len(members) for (own, room), members in self._members.items() if own == namespace}

    @property
    def room_count(self) -> int:
        """Rooms that have members, over all namespaces."""
        return len(self._members)

    def _remove(self, key: _Room, member: M) -> None:
        members = self._members[key]
        del members[member]
        self._snapshots.pop(key, None)
        if not members:
            del self._members[key]
