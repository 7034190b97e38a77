"""Notices users who connect again and again: a page in a loop, or somebody who tries things."""

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

MANY: Final = 5
"""Connections of one user to one system ..."""
WITHIN: Final = 10.0
"""... within so many seconds that nobody wonders about: a reload of all of its tabs."""

USERS: Final = 10_000
"""Of whom connections are remembered; the longest unseen is forgotten first."""


class Reconnects:
    """Counts the connections of each user of a system in an exact sliding window."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds that never jump (`time.monotonic`)."""
        self._clock = clock
        self._times: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def note(self, system: str, user: str) -> bool:
        """Count a connection; True when `MANY` others of this user came within the time before it.

        Clients without a token are nobody's: they are not counted.
        """
        if not user:
            return False
        now = self._clock()
        times = self._times.setdefault((system, user), deque(maxlen=MANY))
        self._times.move_to_end((system, user))
        if len(self._times) > USERS:
            self._times.popitem(last=False)
        rapid = len(times) == MANY and now - times[0] < WITHIN
        times.append(now)
        return rapid
