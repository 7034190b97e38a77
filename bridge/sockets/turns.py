"""How fast the packets of one connection are taken: others get their turn, and floods wait in the network."""

import asyncio
from typing import Final

_TURN: Final = 32
"""Packets that are taken at once; a loop that read on for as long as something came would be one client's."""
_PER_SECOND: Final = 1000
"""Packets of one connection in the long run ..."""
_BURST: Final = 2000
"""... and so many at once: a page that was offline, or text that is pasted into a shared document."""


class Turns:
    """Counts the packets of one connection, whatever they are: heartbeats and pings cost turns as well.

    Nothing is refused: who sends more is read more slowly, until the client's own network holds it back.
    """

    __slots__ = ("_due", "_taken")

    def __init__(self) -> None:
        self._taken = 0
        self._due = 0.0
        """The time (of the loop) at which all packets so far would have come at the rate of the long run."""

    def take(self) -> bool:
        """Count a packet; True when the turn is over, and the caller is to `pause` before the next."""
        self._taken += 1
        return self._taken % _TURN == 0

    def pause(self) -> float:
        """For how many seconds the others are to go on: longer when this connection sent more than it may."""
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now) + _TURN / _PER_SECOND
        return max(0.0, self._due - now - _BURST / _PER_SECOND)
