"""The last deliveries of the log over all rooms, and what a client missed of them.

One ring, not one for each room: a ring of a room that is empty cannot tell whether nothing happened or
whether it was evicted. Everything up to the head and from the floor on is here, whatever became of it.
"""

import operator
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

from bridge.model import Emission, Place, size_of
from bridge.state.missed import Replay, Wanted
from bridge.state.segment import Segment

DELIVERY_BYTES: Final = 180
"""What a delivery costs that led to nothing: 28 here, the rest is its message id among the duplicates."""
EMISSION_BYTES: Final = 420
"""What an emission costs besides its arguments and rooms."""
_ROOM_BYTES: Final = 120
"""What each of its rooms costs once there is an index: more for a room's first event, less for others."""
_WHOLE_SECONDS: Final = 1.0
"""A message's own timestamp may be in whole seconds: one that says 10 may have been sent at 10.9."""
_SEGMENTS: Final = 64
"""A segment holds no more than this part of the ring, in bytes and in age: it is forgotten as a whole."""
_SEGMENT_LENGTH: Final = 1024
"""Deliveries: the index of so many takes about half a millisecond to make."""
_EFFORT: Final = 2000
"""What a piece of a replay may take, in deliveries that it looks at or indexes and rooms that it looks up in
a segment: a few milliseconds. Others wait for it meanwhile."""


class History:
    """What the log held lately: all deliveries, and the emissions that they led to."""

    def __init__(self, max_bytes: int, max_age: float) -> None:
        """Keep about `max_bytes` of memory, and nothing that is older than `max_age` seconds.

        The last delivery stays in any case, so that who has it is known to miss nothing.
        """
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._segments: list[Segment] = []
        self._length = 0
        self._bytes = 0
        self._may_be_complete = True
        self._is_complete = False

    @property
    def head(self) -> Place | None:
        """The last delivery."""
        return self._segments[-1].last if self._segments else None

    def extend(
        self,
        offsets: Sequence[int],
        checksums: Sequence[int],
        times: Sequence[float],
        emissions: Sequence[Sequence[Emission]],
    ) -> None:
        """Keep deliveries, each with its time (epoch seconds, never less than of the one before).

        ValueError when the offsets do not grow from the head on.
        """
        self._check_order(offsets)
        sizes = [_memory_of(led_to) if led_to else DELIVERY_BYTES for led_to in emissions]
        size = sum(sizes)
        is_short = size <= self._max_bytes // _SEGMENTS and times[-1] - times[0] <= self._max_age / _SEGMENTS
        if is_short and len(offsets) <= _SEGMENT_LENGTH:
            self._add(offsets, checksums, times, emissions, size)
        else:
            for at, one in enumerate(sizes):
                only = slice(at, at + 1)
                self._add(offsets[only], checksums[only], times[only], emissions[only], one)
        while self._bytes > self._max_bytes and len(self._segments) > 1:
            self._forget_segment()

    def trim(self, now: float) -> None:
        """Forget what is too old at `now` (epoch seconds), but for the head: nothing came after it."""
        floor = now - self._max_age
        while len(self._segments) > 1 and self._segments[0].times[0] < floor:
            self._forget_segment()

    def date(self, time: float) -> None:
        """Say that all that is here happened at `time`, of which nobody knew better when it was kept."""
        for segment in self._segments:
            segment.date(time)

    def clear(self) -> None:
        """Forget everything: another log begins, or the same one behind a gap."""
        self._segments.clear()
        self._length = self._bytes = 0
        self._may_be_complete = self._is_complete = False  # there was something before

    def holds(self, place: Place) -> bool:
        """Whether everything that came after this place is here; false for one that another log had."""
        if place.offset < 0:
            return self._is_complete and place == self._beginning()
        at = self._segment_of(place.offset)
        return at >= 0 and self._segments[at].holds(place)

    def is_ahead(self, place: Place) -> bool:
        """Whether the place is beyond the head: this instance may not have read so far yet."""
        head = self.head
        return head is None or place.offset > head.offset

    def place_before(self, time: float) -> Place | None:
        """A place that has everything behind it that happened after `time`, and as little more as is known.

        None when the ring does not reach back so far. Deliveries that do not say when they were sent have
        the time of one before them, so the first of equal times is taken; and the very first may not have
        known any, so that it is not relied on.
        """
        latest = time - _WHOLE_SECONDS
        at = bisect_right(self._segments, latest, key=lambda segment: segment.times[0]) - 1
        if at >= 0:
            times = self._segments[at].times
            equal = times[bisect_right(times, latest) - 1]
            at = bisect_left(self._segments, equal, key=lambda segment: segment.times[-1])
            position = bisect_left(self._segments[at].times, equal)
            if at or position:
                return self._segments[at].place(position)
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
        if not self._segments:
            raise ValueError("nothing has been read yet")
        end = self._segments[-1].offsets[-1] if up_to is None else up_to
        wanted = Wanted(namespace, rooms, covered or {}, sid, now)
        found: list[tuple[Emission, Place]] = []
        size = effort = 0
        for at in range(max(0, self._segment_of(min(rooms.values(), default=end) + 1)), len(self._segments)):
            segment = self._segments[at]
            if segment.offsets[0] > end:
                break
            effort += segment.index() + len(rooms)
            for position in segment.find(namespace, rooms, end):
                missed = wanted.pick(segment.emissions[position], segment.offsets[position])
                if missed:
                    found += self._mark(missed, at, position)
                    size += sum([size_of(emission.args) for emission in missed])
                effort += 1
                if limit_bytes is not None and (size >= limit_bytes or effort >= _EFFORT):
                    upto = segment.place(position)
                    return Replay(found, upto, finished=upto == self._last_place(end))
            if limit_bytes is not None and effort >= _EFFORT and segment.offsets[-1] < end:
                return Replay(found, segment.last, finished=False)
        return Replay(found, self._last_place(end), finished=True)

    def __len__(self) -> int:
        """Deliveries that it knows of."""
        return self._length

    @property
    def bytes(self) -> int:
        """Memory that it takes, as estimated."""
        return self._bytes

    @property
    def floor_time(self) -> float | None:
        """Epoch seconds of the oldest delivery."""
        return self._segments[0].times[0] if self._segments else None

    def _check_order(self, offsets: Sequence[int]) -> None:
        last = self._segments[-1].offsets[-1] if self._segments else -1
        if offsets[0] <= last or not all(map(operator.lt, offsets, islice(offsets, 1, None))):
            raise ValueError(f"offsets from {offsets[0]} on do not grow from {last} on")
        if not self._segments:
            self._is_complete = self._may_be_complete and offsets[0] == 0

    def _add(
        self,
        offsets: Sequence[int],
        checksums: Sequence[int],
        times: Sequence[float],
        emissions: Sequence[Sequence[Emission]],
        size: int,
    ) -> None:
        """Keep deliveries together, in the newest segment unless it would become too large by them."""
        segments = self._segments
        if not segments or not self._fits(segments[-1], times[-1], size):
            segments.append(Segment())
        segments[-1].extend(offsets, checksums, times, emissions, size)
        self._length += len(offsets)
        self._bytes += size

    def _fits(self, segment: Segment, time: float, size: int) -> bool:
        return (
            segment.bytes + size <= self._max_bytes // _SEGMENTS
            and time - segment.times[0] <= self._max_age / _SEGMENTS
            and len(segment) < _SEGMENT_LENGTH
        )

    def _forget_segment(self) -> None:
        segment = self._segments.pop(0)
        self._length -= len(segment)
        self._bytes -= segment.bytes
        self._is_complete = False

    def _segment_of(self, offset: int) -> int:
        """The segment where a delivery of that offset is, if anywhere; -1 for one that is before all."""
        return bisect_right(self._segments, offset, key=lambda segment: segment.offsets[0]) - 1

    def _last_place(self, offset: int) -> Place:
        """The place of the last delivery up to an offset."""
        at = self._segment_of(offset)
        return self._beginning() if at < 0 else self._segments[at].last_place(offset)

    def _mark(self, missed: list[Emission], at: int, position: int) -> list[tuple[Emission, Place]]:
        """Emissions of one delivery with what the client holds after each."""
        segment = self._segments[at]
        here = segment.place(position)
        if len(missed) == 1:
            return [(missed[0], here)]
        if position:
            before = segment.place(position - 1)
        else:
            before = self._segments[at - 1].last if at else self._beginning()
        return [*((emission, before) for emission in missed[:-1]), (missed[-1], here)]

    def _beginning(self) -> Place:
        """Before the first delivery; told from that of another log by what comes first."""
        return Place(-1, self._segments[0].first.checksum)


def _memory_of(emissions: Sequence[Emission]) -> int:
    """What a delivery takes; emissions of one delivery share its body."""
    size = DELIVERY_BYTES
    counted: object = None
    for emission in emissions:
        size += EMISSION_BYTES + _ROOM_BYTES * len(emission.rooms)
        for argument in emission.args:
            if argument is not counted:
                counted = argument
                size += len(argument)
    return size
