"""How many TCP connections the port has: those that ask for nothing give way when there are too many."""

import resource
from typing import Final

from bridge.intake import Intake

OTHER_FILES: Final = 200
"""Open files besides the connections of clients: to the broker, the log, between workers."""


def find_most_connections() -> int | None:
    """How many the port may have for the broker to have its files; None when the system sets no limit."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else max(soft - OTHER_FILES, soft // 2)


class Crowd:
    """Counts the connections, those of websockets among them, and knows which of them have no request.

    A client that polls has two, and one more while it changes to a websocket; a stranger has as many as it
    likes. Without a bound they would take the files that the way to the broker needs. Implements
    `intake.Crowd`.
    """

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._is_closed = False
        self._count = 0
        self._idle: dict[Intake, None] = {}
        """Without a request, the one that has been so for longest first."""

    def enter(self, intake: Intake) -> None:
        """One was accepted: if it is one too many, the longest idle gives way, else itself."""
        self._count += 1
        self._idle[intake] = None
        if self._is_closed:
            intake.cut()
        elif self._most is not None and self._count > self._most:
            next(iter(self._idle)).cut()

    def occupy(self, intake: Intake) -> None:
        """It has a request, or is gone."""
        self._idle.pop(intake, None)

    def rest(self, intake: Intake) -> None:
        """Its request has been answered."""
        if intake.connected:
            self._idle[intake] = None

    def close(self) -> None:
        """Let nobody else in: one may have been accepted just when the port was closed."""
        self._is_closed = True

    def leave(self) -> None:
        """One has ended."""
        self._count -= 1
