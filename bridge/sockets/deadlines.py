"""Deadlines of many connections on one timer of the event loop."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import structlog

T = TypeVar("T", bound=Hashable)

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Deadlines(Generic[T]):
    """Calls `expired` for each item that is neither cancelled nor started again within `delay` seconds.

    Since all wait equally long, the order of starting is the order of expiry: a dict is the whole queue,
    a change costs O(1), and ten thousand connections need no task and no timer of their own.
    """

    def __init__(self, delay: float, expired: Callable[[T], None]) -> None:
        self._delay = delay
        self._expired = expired
        self._due: dict[T, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self, item: T) -> None:
        """Let the item's time begin now, also if it ran already."""
        loop = asyncio.get_running_loop()
        self._due.pop(item, None)
        self._due[item] = when = loop.time() + self._delay
        if self._timer is None:
            self._timer = loop.call_at(when, self._fire)

    def cancel(self, item: T) -> bool:
        """Forget the item; False when its time was not running."""
        return self._due.pop(item, None) is not None

    def longest(self, seconds: float) -> T | None:
        """The item whose time has run longest, if it has run for so many seconds."""
        for item, when in self._due.items():
            return item if when - self._delay + seconds <= asyncio.get_running_loop().time() else None
        return None

    def clear(self) -> None:
        """Forget all items and the timer."""
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        expired = []
        for item, when in self._due.items():
            if when > now:
                break
            expired.append(item)
        try:
            for item in expired:
                # One that expired before it may have cancelled this one.
                if self._due.get(item, now + 1) <= now:
                    del self._due[item]
                    self._expire(item)
        finally:
            first = next(iter(self._due.values()), None)
            self._timer = None if first is None else loop.call_at(first, self._fire)

    def _expire(self, item: T) -> None:
        """Call `expired`; what goes wrong for one item must stop nobody else's time, nor the timer."""
        try:
            self._expired(item)
        except Exception:
            _log.exception("deadline.failed")
