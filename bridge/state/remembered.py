"""The last events of rooms, for `{room.last.<event>.<field>}` and `{room.last_activity}`."""

from collections import OrderedDict
from collections.abc import Mapping

from msgspec import Struct

from bridge.model import Remember, RoomRef


class LastEvents(Struct, frozen=True, kw_only=True):
    """What is remembered of one room."""

    events: Mapping[str, object] = {}
    """Client event -> body of its last occurrence."""
    time: float | None = None
    """Epoch seconds of the last event of any kind; None before one."""


_NOTHING = LastEvents()


class _Known(Struct):
    """The same, as it grows: texts as a rule, since most of them are replaced before anybody reads them."""

    events: dict[str, Remember]
    time: float | None


class Remembered:
    """The last event of each kind of up to `bound` rooms.

    Only an event touches a room, reading does not: instances that read the same log forget the same
    rooms.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._rooms: OrderedDict[RoomRef, _Known] = OrderedDict()

    def put(self, last: Remember) -> None:
        """Remember an event; the room that was longest without one is forgotten beyond the bound."""
        rooms = self._rooms
        for room in last.rooms:
            known = rooms.get(room)
            if known is None:
                rooms[room] = _Known({last.event: last}, last.time)
                if len(rooms) > self._bound:
                    rooms.popitem(last=False)
                continue
            known.events[last.event] = last
            if last.time is not None:
                known.time = last.time
            rooms.move_to_end(room)

    def view(self, room: RoomRef) -> LastEvents:
        """What is remembered of a room; a copy that later events do not change."""
        known = self._rooms.get(room)
        if known is None:
            return _NOTHING
        return LastEvents(events={event: last.value for event, last in known.events.items()}, time=known.time)

    def __len__(self) -> int:
        return len(self._rooms)
