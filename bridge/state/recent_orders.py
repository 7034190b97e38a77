"""What operators said of sessions lately, for those that come from an instance which had not read it yet."""

from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from bridge.state.lost_sessions import LostSession

MOST_ORDERS: Final = 1000

_Covers = Callable[[str, str], bool]


class _Order(Struct, frozen=True):
    offset: int
    time: float
    """When it was read."""
    covers: _Covers
    room: str | None
    """Which they had to leave; None ended them."""


class RecentOrders:
    """The orders of the last `window` seconds, `most` of them at most, in the order of the log.

    An instance that stops reads no orders any more, and one that lags has not read the last ones: sessions
    that come from there are held against them. Older orders need not be kept, since a session is not kept
    for longer; of one that is so old, or older than what had to be forgotten, nobody can tell.
    """

    def __init__(self, window: float, most: int = MOST_ORDERS) -> None:
        self._window = window
        self._most = most
        self._kept: deque[_Order] = deque()
        self._forgotten = -1
        """Offset of the last order that is not kept any more."""

    def note(self, offset: int, covers: _Covers, room: str | None, now: float) -> None:
        """An order was read, about sessions whose identity and namespace make `covers` true."""
        self._kept.append(_Order(offset, now, covers, room))
        while self._kept and (len(self._kept) > self._most or self._kept[0].time <= now - self._window):
            self._forgotten = self._kept.popleft().offset

    def apply(self, lost: LostSession) -> LostSession | None:
        """A session as it is by all that was said since it was lost; None when it may not go on."""
        if lost.lost_at < self._forgotten:
            return None
        for order in reversed(self._kept):
            if order.offset <= lost.lost_at:
                break
            if order.covers(lost.identity, lost.namespace):
                if order.room is None:
                    return None
                lost = lost.leave(order.room)
        return lost

    def clear(self) -> None:
        """Forget all: another log begins, in which offsets mean something else."""
        self._kept.clear()
        self._forgotten = -1
