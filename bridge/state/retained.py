"""The last value of each retained event of a room, for those who join it later."""

from collections import OrderedDict
from collections.abc import Sequence

from bridge.model import Delivery, Emission

_OVERHEAD = 600
"""Bytes of a delivery and its emission beside their bodies."""
_OVERHEAD_OF_A_ROOM = 300


class Kept:
    """A delivery that is the last value of some rooms."""

    __slots__ = ("delivery", "rewritten", "rooms", "size")

    def __init__(self, delivery: Delivery, size: int) -> None:
        self.delivery = delivery
        self.size = size
        """Bytes in memory, about."""
        self.rooms = 0
        """Of which it is the last value, counted by event."""
        self.rewritten: float | None = None
        """When it was last written into the state again (epoch seconds)."""


class Retained:
    """The last values of up to `rooms` rooms, `max_bytes` together; the longest untouched go first.

    As in `Remembered` only an event touches a room: instances that read the same log forget the same.
    """

    def __init__(self, rooms: int, max_bytes: int) -> None:
        self._most_rooms = rooms
        self._most_bytes = max_bytes
        self._rooms: OrderedDict[tuple[str, str], dict[str, tuple[Emission, Kept]]] = OrderedDict()
        self.bytes = 0

    def put(self, delivery: Delivery, emissions: Sequence[Emission]) -> tuple[Kept | None, list[Kept]]:
        """Keep the emissions of a delivery.

        Returns what is kept, None when nothing is, and what nobody needs any more. A delivery that would
        take more than a quarter of the bytes is not kept; what it replaces is not the last value any more.
        """
        kept = Kept(delivery, _size_of(delivery, emissions))
        gone: list[Kept] = []
        if kept.size > self._most_bytes // 4:
            self._drop(emissions, gone)
            return None, gone
        for emission in emissions:
            for room in emission.rooms:
                key = (emission.namespace, room)
                events = self._rooms.setdefault(key, {})
                self._rooms.move_to_end(key)
                before = events.pop(emission.event, None)
                events[emission.event] = (emission, kept)
                kept.rooms += 1
                if kept.rooms == 1:
                    self.bytes += kept.size
                if before is not None:
                    self._release(before[1], gone)
        while len(self._rooms) > self._most_rooms or self.bytes > self._most_bytes:
            _, events = self._rooms.popitem(last=False)
            for _, old in events.values():
                self._release(old, gone)
        return kept if kept.rooms else None, [each for each in gone if each is not kept]

    def clear(self) -> list[Kept]:
        """Forget all: nobody knows any more whether these are the last values. Returns what was kept."""
        kept = {each for events in self._rooms.values() for _, each in events.values()}
        for each in kept:
            each.rooms = 0
        self._rooms.clear()
        self.bytes = 0
        return list(kept)

    def of(self, namespace: str, room: str) -> Sequence[Emission]:
        """The last value of each retained event of a room, the longest unchanged first."""
        events = self._rooms.get((namespace, room))
        return () if events is None else tuple([emission for emission, _ in events.values()])

    def __len__(self) -> int:
        return len(self._rooms)

    def _drop(self, emissions: Sequence[Emission], gone: list[Kept]) -> None:
        for emission in emissions:
            for room in emission.rooms:
                key = (emission.namespace, room)
                before = self._rooms.get(key, {}).pop(emission.event, None)
                if before is not None:
                    self._release(before[1], gone)
                    if not self._rooms[key]:
                        del self._rooms[key]

    def _release(self, kept: Kept, gone: list[Kept]) -> None:
        kept.rooms -= 1
        if not kept.rooms:
            self.bytes -= kept.size
            gone.append(kept)


def _size_of(delivery: Delivery, emissions: Sequence[Emission]) -> int:
    bodies = {id(arg): memoryview(arg).nbytes for emission in emissions for arg in emission.args}
    rooms = sum(len(emission.rooms) for emission in emissions)
    return _OVERHEAD + len(delivery.body) + sum(bodies.values()) + _OVERHEAD_OF_A_ROOM * rooms
