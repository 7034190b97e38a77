"""Owns what the log has still to be told of this instance's members: their comings and goings, in order."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from msgspec import Struct, json

from bridge.state.presence import Member, Seat

_BOUND: Final = 1000


class Joins(Struct, frozen=True):
    """Clients that came, one after the other."""

    members: Sequence[Member]


class Leaves(Struct, frozen=True):
    """Clients that have gone, one after the other."""

    seats: Sequence[Seat]


class PresenceChanges:
    """A queue of changes, bounded by the members that there are and those that the log knows of.

    While it is short every coming and going is told. When it grows, since the broker is away, only the
    last state of each client remains: one that came and went meanwhile is told to nobody.
    """

    def __init__(self, bound: int = _BOUND) -> None:
        self.announced: dict[Seat, Member] = {}
        """The members that the log was told of."""
        self._queue: deque[Member | Seat] = deque()
        self._again: set[Seat] = set()  # announced, and to be told anew
        self._least_bound = self._bound = bound

    def __len__(self) -> int:
        return len(self._queue)

    def join(self, member: Member) -> None:
        """A client has come."""
        self._add(member)

    def leave(self, seat: Seat) -> None:
        """A client has gone."""
        self._add(seat)

    def take(self, most_bytes: int) -> Joins | Leaves | None:
        """The oldest changes of one kind, of this size as JSON or one at least; None when there is none.

        From here on `announced` takes them as told.
        """
        members: list[Member] = []
        seats: list[Seat] = []
        size = 0
        while self._queue:
            change = self._queue[0]
            size += len(json.encode(change))
            if isinstance(change, Member):
                if seats or (members and size > most_bytes):
                    break
                members.append(change)
                self.announced[change.seat] = change
                self._again.discard(change.seat)
            else:
                if members or (seats and size > most_bytes):
                    break
                seats.append(change)
                self.announced.pop(change, None)
            self._queue.popleft()
        if members:
            return Joins(members)
        return Leaves(seats) if seats else None

    def list_announced(self, most_bytes: int) -> list[list[Member]]:
        """All members that the log was told of, in parts of this size as JSON; one part at least."""
        parts: list[list[Member]] = [[]]
        size = 0
        for member in self.announced.values():
            more = len(json.encode(member))
            if parts[-1] and size + more > most_bytes:
                parts.append([])
                size = 0
            parts[-1].append(member)
            size += more
        return parts

    def renew(self) -> None:
        """The others have dropped this instance's members: those that are still there come anew."""
        changed = {_seat_of(change) for change in self._queue}
        again = [member for seat, member in self.announced.items() if seat not in changed]
        self._again.update(member.seat for member in again)
        self._queue.extendleft(reversed(again))

    def _add(self, change: Member | Seat) -> None:
        self._queue.append(change)
        if len(self._queue) > self._bound:
            self._collapse()
            self._bound = max(self._least_bound, 2 * len(self._queue))

    def _collapse(self) -> None:
        """Keep the last state of each client, where it is not what the log was told."""
        last: dict[Seat, Member | Seat] = {}
        for change in self._queue:
            seat = _seat_of(change)
            last.pop(seat, None)
            last[seat] = change
        self._queue = deque(
            change
            for seat, change in last.items()
            if isinstance(change, Member) != (seat in self.announced) or seat in self._again
        )


def _seat_of(change: Member | Seat) -> Seat:
    return change.seat if isinstance(change, Member) else change
