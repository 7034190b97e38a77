"""Who is in which room of which namespace: the one index that joins, leaves and the fan-out share."""

from collections.abc import Hashable
from typing import Generic, TypeVar

M = TypeVar("M", bound=Hashable)
"""A member: whatever the edge uses for one client."""

Place = tuple[str, str]
"""Namespace and room."""


class Memberships(Generic[M]):
    """Rooms and their members, in the order of joining.

    Every change costs O(1), or O(own rooms) for `leave_all`: a mass disconnect stays linear. Rooms
    without members are forgotten. `EVERYONE` is a room like any other.
    """

    def __init__(self) -> None:
        self._members: dict[Place, dict[M, None]] = {}
        self._places: dict[M, dict[Place, int]] = {}
        """With the mark of each: the offset behind which the member has all events of the room."""
        self._rooms: dict[str, int] = {}
        self._snapshots: dict[Place, tuple[M, ...]] = {}

    def join(self, namespace: str, room: str, member: M, mark: int | None = None) -> bool:
        """Put a member into a room; False when it was there already.

        `mark` is the offset in the log behind which the member has, or is given, all events of the room. One
        that was there already keeps its mark, unless it has been given older events since. Without a mark the
        member has had the room's events since ever.
        """
        place = (namespace, room)
        members = self._members.get(place)
        if members is None:
            members = self._members[place] = {}
            self._rooms[namespace] = self._rooms.get(namespace, 0) + 1
        elif member in members:
            if mark is not None:
                marks = self._places[member]
                marks[place] = min(mark, marks[place])
            return False
        members[member] = None
        self._places.setdefault(member, {})[place] = -1 if mark is None else mark
        self._snapshots.pop(place, None)
        return True

    def leave(self, namespace: str, room: str, member: M) -> bool:
        """Take a member out of a room; False when it was not there."""
        place = (namespace, room)
        places = self._places.get(member)
        if places is None or place not in places:
            return False
        del places[place]
        if not places:
            del self._places[member]
        self._remove(place, member)
        return True

    def leave_all(self, member: M) -> tuple[Place, ...]:
        """Take a member out of all its rooms; returns the (namespace, room) pairs that it left."""
        places = tuple(self._places.pop(member, ()))
        for place in places:
            self._remove(place, member)
        return places

    def members(self, namespace: str, room: str) -> tuple[M, ...]:
        """The members of a room.

        A snapshot, safe to iterate while members come and go: the very same tuple until the room
        changes, so `is` tells that two rooms' sets were not touched. Copying a changed room costs
        far less than sending to it.
        """
        place = (namespace, room)
        snapshot = self._snapshots.get(place)
        if snapshot is None:
            members = self._members.get(place)
            if members is None:
                return ()
            snapshot = self._snapshots[place] = tuple(members)
        return snapshot

    def contains(self, namespace: str, room: str, member: M) -> bool:
        """Whether the member is in the room."""
        return (namespace, room) in self._places.get(member, ())

    def rooms_of(self, namespace: str, member: M) -> tuple[str, ...]:
        """The rooms of one namespace that a member is in, in the order of joining."""
        return tuple(room for own, room in self._places.get(member, ()) if own == namespace)

    def marks(self, namespace: str, member: M) -> dict[str, int]:
        """The rooms of one namespace that a member is in, with its mark in each."""
        return {room: mark for (own, room), mark in self._places.get(member, {}).items() if own == namespace}

    def begin_log(self, mark: int) -> None:
        """Let all members have their rooms from this offset on: another log begins, or has just been read."""
        for places in self._places.values():
            for place in places:
                places[place] = mark

    def room_sizes(self, namespace: str) -> dict[str, int]:
        """The rooms of a namespace that have members, with their number; looks at all rooms."""
        return {room: len(members) for (own, room), members in self._members.items() if own == namespace}

    @property
    def member_count(self) -> int:
        """Members that are in at least one room."""
        return len(self._places)

    @property
    def room_count(self) -> int:
        """Rooms that have members, over all namespaces."""
        return len(self._members)

    @property
    def namespace_count(self) -> int:
        """Concrete namespaces, such as `/project/apollo`, in which some room has members."""
        return len(self._rooms)

    def _remove(self, place: Place, member: M) -> None:
        members = self._members[place]
        del members[member]
        self._snapshots.pop(place, None)
        if members:
            return
        del self._members[place]
        namespace = place[0]
        self._rooms[namespace] -= 1
        if not self._rooms[namespace]:
            del self._rooms[namespace]
