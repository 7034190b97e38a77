"""One worker as its parent sees it: its process, and when it is to be started again."""

from typing import Final

FIRST_DELAY: Final = 0.5
LONGEST_DELAY: Final = 30.0
"""Seconds before a worker that has ended is started again: each time twice as long, up to this."""
SOUND: Final = 60.0
"""Whoever has lived so long begins with the shortest delay again."""


class Child:
    """The worker of one number. It runs, or it is due at some time; `now` is monotonic seconds."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.pid: int | None = None
        self.starts = 0
        self.due: float | None = 0.0
        """When to start it; None while it runs."""
        self.began = 0.0
        """When its process was started last."""
        self._failures = 0

    def started(self, pid: int, now: float) -> None:
        """Its process runs."""
        self.pid, self.due, self.began = pid, None, now
        self.starts += 1

    def ended(self, now: float) -> float:
        """Its process has ended; returns the seconds after which to start it again."""
        self.pid = None
        if now - self.began >= SOUND:
            self._failures = 0
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0**self._failures)
        self._failures = min(self._failures + 1, 16)
        self.due = now + delay
        return delay
