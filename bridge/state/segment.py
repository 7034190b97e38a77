"""One piece of the history: deliveries in a row, what they led to, and an index by room once it is asked for.

The index is made late, since nearly all that is remembered is forgotten before anybody has missed it: a
delivery that nobody asks for costs less than half, and a whole piece is forgotten at once.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence

from bridge.model import Emission, Place

_Room = tuple[str, str]
"""Namespace and room."""


class Segment:
    """Deliveries by position, the oldest at 0; it is never empty for long."""

    __slots__ = ("_checksums", "_indexed", "_rooms", "bytes", "emissions", "offsets", "times")

    def __init__(self) -> None:
        self.offsets = array("q")
        self.times = array("d")
        self.emissions: list[Sequence[Emission]] = []
        """Of each delivery what it led to; often nothing."""
        self.bytes = 0
        self._checksums = array("I")
        self._rooms: dict[_Room, list[int]] = {}
        """Positions by room, of the deliveries before `_indexed`."""
        self._indexed = 0

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def first(self) -> Place:
        """The oldest delivery."""
        return self.place(0)

    @property
    def last(self) -> Place:
        """The newest delivery."""
        return self.place(-1)

    def extend(
        self,
        offsets: Sequence[int],
        checksums: Sequence[int],
        times: Sequence[float],
        emissions: Sequence[Sequence[Emission]],
        size: int,
    ) -> None:
        """Keep deliveries behind the last one, which take about `size` bytes."""
        self.offsets.extend(offsets)
        self._checksums.extend(checksums)
        self.times.extend(times)
        self.emissions += emissions
        self.bytes += size

    def place(self, position: int) -> Place:
        """Where the delivery at a position stands in the log."""
        return Place(self.offsets[position], self._checksums[position])

    def last_place(self, offset: int) -> Place:
        """Where its last delivery stands that is not behind an offset, of which there is one."""
        return self.place(bisect_right(self.offsets, offset) - 1)

    def date(self, time: float) -> None:
        """Say that all of it happened at `time` (epoch seconds)."""
        self.times = array("d", [time]) * len(self.times)

    def holds(self, place: Place) -> bool:
        """Whether one of its deliveries stands at this place."""
        position = bisect_left(self.offsets, place.offset)
        return position < len(self.offsets) and self.place(position) == place

    def index(self) -> int:
        """Bring the index by room up to date; returns how many deliveries that took."""
        rooms, begin = self._rooms, self._indexed
        for position in range(begin, len(self.emissions)):
            for emission in self.emissions[position]:
                for room in emission.rooms:
                    listed = rooms.setdefault((emission.namespace, room), [])
                    if not listed or listed[-1] != position:  # else two emissions of one delivery
                        listed.append(position)
        self._indexed = len(self.emissions)
        return self._indexed - begin

    def find(self, namespace: str, rooms: Mapping[str, int], up_to: int) -> Iterator[int]:
        """Positions at which there may be something for these rooms, each behind its room's offset; in order.

        The index must be up to date. None behind the offset `up_to`.
        """
        end = bisect_right(self.offsets, up_to)
        found: set[int] = set()
        for room, mark in rooms.items():
            listed = self._rooms.get((namespace, room))
            if listed is not None:
                begin = bisect_right(self.offsets, mark)
                found.update(listed[bisect_left(listed, begin) : bisect_left(listed, end)])
        return iter(sorted(found))
