"""The last deliveries of the log over all rooms, and what a client missed of them.

One ring, not one for each room: a ring of a room that is empty cannot tell whether nothing happened or
whether it was evicted. Everything up to the head and from the floor on is here, whatever became of it.
"""

import heapq
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from bridge.model import Emission, Place

DELIVERY_BYTES: Final = 180
"""What a delivery costs that led to nothing: 28 here, the rest is its message id among the duplicates."""
EMISSION_BYTES: Final = 420
"""What an emission costs besides its arguments and rooms."""
_ROOM_BYTES: Final = 120
"""What each of its rooms costs: more for the first event of a room, less where the name is shared."""
_WHOLE_SECONDS: Final = 1.0
"""A message's own timestamp may be in whole seconds: one that says 10 may have been sent at 10.9."""
_COMPACT_AFTER: Final = 4096
_LOOKED_AT: Final = 2000
"""Deliveries that a piece of a replay looks at, a few milliseconds: others wait for it meanwhile."""

_Room = tuple[str, str]
"""Namespace and room."""


class Replay(Struct, frozen=True):
    """What a client missed, or the first piece of it."""

    emissions: list[tuple[Emission, Place]]
    """In log order, each with the place up to which the client has everything once it has this one: of
    several emissions of one delivery only the last moves it, or a client that is cut between them would
    never learn of the others."""
    upto: Place
    """Nothing up to here is missing any more."""
    finished: bool
    """False when a limit ended it early."""


class History:
    """What the log held lately: all deliveries, and the emissions that they led to."""

    def __init__(self, max_bytes: int, max_age: float) -> None:
        """Keep about `max_bytes` of memory, and nothing that is older than `max_age` seconds.

        The last delivery stays in any case, so that who has it is known to miss nothing.
        """
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._offsets = array("q")
        self._checksums = array("I")
        self._times = array("d")
        self._sizes = array("I")
        self._first = 0
        """Where the ring begins in the arrays: what stands before is evicted."""
        self._emissions: dict[int, tuple[Emission, ...]] = {}
        """By offset, of those deliveries that led to any."""
        self._rooms: dict[_Room, array[int]] = {}
        """Offsets by room; evicted ones may stand at the beginning."""
        self._bytes = 0
        self._may_be_complete = True
        self._is_complete = False

    @property
    def head(self) -> Place | None:
        """The last delivery."""
        return self._place(len(self._offsets) - 1) if len(self) else None

    def append(self, place: Place, time: float, emissions: Sequence[Emission] = ()) -> None:
        """Keep one delivery, at `time` (epoch seconds, never less than that of the one before).

        ValueError when its offset is not beyond the head.
        """
        offset, offsets = place.offset, self._offsets
        if self._first == len(offsets):
            self._is_complete = self._may_be_complete and offset == 0
        elif offset <= offsets[-1]:
            raise ValueError(f"offset {offset} does not follow {offsets[-1]}")
        offsets.append(offset)
        self._checksums.append(place.checksum)
        self._times.append(time)
        size = DELIVERY_BYTES
        if emissions:
            rooms = self._rooms
            counted: object = None
            self._emissions[offset] = tuple(emissions)
            for emission in emissions:
                size += EMISSION_BYTES + _ROOM_BYTES * len(emission.rooms)
                for argument in emission.args:
                    if argument is not counted:  # emissions of one delivery share its body
                        counted = argument
                        size += len(argument)
                namespace = emission.namespace
                for room in emission.rooms:
                    listed = rooms.get((namespace, room))
                    if listed is None:
                        rooms[namespace, room] = array("q", (offset,))
                    elif listed[-1] != offset:  # else two emissions of one delivery
                        listed.append(offset)
        self._sizes.append(size)
        self._bytes += size
        while self._bytes > self._max_bytes and len(self) > 1:
            self._evict()

    def trim(self, now: float) -> None:
        """Forget what is too old at `now` (epoch seconds), but for the head: nothing came after it."""
        floor = now - self._max_age
        times = self._times
        while self._first < len(times) - 1 and times[self._first] < floor:
            self._evict()

    def date(self, time: float) -> None:
        """Say that all that is here happened at `time`, of which nobody knew better when it was appended."""
        for index in range(self._first, len(self._times)):
            self._times[index] = time

    def clear(self) -> None:
        """Forget everything: another log begins, or the same one behind a gap."""
        del self._offsets[:], self._checksums[:], self._times[:], self._sizes[:]
        self._first = self._bytes = 0
        self._emissions.clear()
        self._rooms.clear()
        self._may_be_complete = self._is_complete = False  # there was something before

    def holds(self, place: Place) -> bool:
        """Whether everything that came after this place is here; false for one that another log had."""
        if place.offset < 0:
            return self._is_complete and place == self._beginning()
        index = self._find(place.offset)
        return index < len(self._offsets) and self._place(index) == place

    def is_ahead(self, place: Place) -> bool:
        """Whether the place is beyond the head: this instance may not have read so far yet."""
        return len(self) == 0 or place.offset > self._offsets[-1]

    def place_before(self, time: float) -> Place | None:
        """A place that has everything behind it that happened after `time`, and as little more as is known.

        None when the ring does not reach back so far. Deliveries that do not say when they were sent have
        the time of one before them, so the first of equal times is taken; and the very first may not have
        known any, so that it is not relied on.
        """
        index = bisect_right(self._times, time - _WHOLE_SECONDS, self._first) - 1
        if index > self._first:
            index = bisect_left(self._times, self._times[index], self._first)
        if index > self._first:
            return self._place(index)
        return self._beginning() if self._is_complete else None

    def replay(
        self,
        namespace: str,
        rooms: Mapping[str, int],
        *,
        covered: Mapping[str, int] | None = None,
        sid: str | None = None,
        now: float | None = None,
        up_to: int | None = None,
        limit_bytes: int | None = None,
    ) -> Replay:
        """What a client has missed of `rooms`, each since the offset that it is given with.

        That is every emission of one of these rooms behind that room's offset which no room of `covered`,
        behind whose offset it is as well, has already brought to the client. `sid` is passed over where
        the event was its own. Nothing that is stale at `now` (epoch seconds), and nothing behind the offset
        `up_to`. ValueError when the ring is empty.

        With `limit_bytes` it ends with the delivery that reaches them, or when it has looked at many that
        were not for the client: the next piece is what the same rooms missed since `upto`. Whoever asks
        has made sure that the ring holds all places asked for.
        """
        if not len(self):
            raise ValueError("nothing has been read yet")
        end = len(self._offsets) if up_to is None else bisect_right(self._offsets, up_to, self._first)
        last = self._offsets[end - 1] if end > self._first else -1
        found: list[tuple[Emission, Place]] = []
        size = 0
        for looked_at, offset in enumerate(self._offsets_of(namespace, rooms, last), 1):
            missed = [
                emission
                for emission in self._emissions[offset]
                if emission.namespace == namespace
                and (sid is None or emission.skip_sid != sid)
                and (now is None or emission.until is None or emission.until >= now)
                and _is_behind(emission, offset, rooms)
                and not (covered and _is_behind(emission, offset, covered))
            ]
            if missed:
                found += self._mark(missed, offset)
                size += sum([_length(emission) for emission in missed])
            if limit_bytes is not None and (size >= limit_bytes or looked_at >= _LOOKED_AT):
                return Replay(found, self._place(self._find(offset)), finished=offset == last)
        upto = self._place(end - 1) if end > self._first else self._beginning()
        return Replay(found, upto, finished=True)

    def __len__(self) -> int:
        """Deliveries that it knows of."""
        return len(self._offsets) - self._first

    @property
    def emission_count(self) -> int:
        """Deliveries among them that led to something."""
        return len(self._emissions)

    @property
    def bytes(self) -> int:
        """Memory that it takes, as estimated."""
        return self._bytes

    @property
    def floor_time(self) -> float | None:
        """Epoch seconds of the oldest delivery."""
        return self._times[self._first] if len(self) else None

    @property
    def room_count(self) -> int:
        """Rooms, over all namespaces, of which it has anything."""
        return len(self._rooms)

    def _offsets_of(self, namespace: str, rooms: Mapping[str, int], last: int) -> Iterator[int]:
        """Offsets at which there may be something for these rooms, in order, each once."""
        floor = self._offsets[self._first]
        lists: list[Iterator[int]] = []
        for room, mark in rooms.items():
            offsets = self._rooms.get((namespace, room))
            if offsets is not None and offsets[-1] > mark:
                lists.append(_walk(offsets, max(mark + 1, floor), last))
        previous = -1
        for offset in heapq.merge(*lists):
            if offset != previous:
                previous = offset
                yield offset

    def _mark(self, missed: list[Emission], offset: int) -> list[tuple[Emission, Place]]:
        """Emissions of one delivery with what the client holds after each."""
        index = self._find(offset)
        before = self._place(index - 1) if index > self._first else self._beginning()
        return [*((emission, before) for emission in missed[:-1]), (missed[-1], self._place(index))]

    def _evict(self) -> None:
        """Forget the oldest delivery; cost O(1), over many of them."""
        first = self._first
        self._is_complete = False
        self._bytes -= self._sizes[first]
        offset = self._offsets[first]
        emissions = self._emissions.pop(offset, None)
        if emissions is not None:
            rooms = self._rooms
            for emission in emissions:
                for room in emission.rooms:
                    key = (emission.namespace, room)
                    offsets = rooms.get(key)
                    if offsets is None:
                        continue
                    if offsets[-1] <= offset:
                        del rooms[key]
                    elif offsets[len(offsets) // 2] <= offset:  # half of the list is evicted: cut it off
                        del offsets[: bisect_right(offsets, offset)]
        self._first = first = first + 1
        if first >= _COMPACT_AFTER and first * 2 >= len(self._offsets):
            del self._offsets[:first], self._checksums[:first], self._times[:first], self._sizes[:first]
            self._first = 0

    def _find(self, offset: int) -> int:
        return bisect_left(self._offsets, offset, self._first)

    def _place(self, index: int) -> Place:
        return Place(self._offsets[index], self._checksums[index])

    def _beginning(self) -> Place:
        """Before the first delivery; told from that of another log by what comes first."""
        return Place(-1, self._checksums[self._first])


def _walk(offsets: "array[int]", begin: int, last: int) -> Iterator[int]:
    for index in range(bisect_left(offsets, begin), len(offsets)):
        if offsets[index] > last:
            return
        yield offsets[index]


def _is_behind(emission: Emission, offset: int, marks: Mapping[str, int]) -> bool:
    for room in emission.rooms:
        mark = marks.get(room)
        if mark is not None and mark < offset:
            return True
    return False


def _length(emission: Emission) -> int:
    return sum([len(argument) for argument in emission.args])
