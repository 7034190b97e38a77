"""Who is behind: bounds what waits for a slow client, in bytes and in seconds, and has it cut."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import structlog

_SWEEP_SECONDS: Final = 1.0

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Debtor(Protocol):
    """A connection that something may wait for."""

    @property
    def waiting(self) -> int:
        """Bytes that it has been given and that have not left the process."""

    @property
    def tolerated(self) -> int:
        """So few waiting bytes do not count as being behind."""

    def cut(self) -> None:
        """End it, since it is too slow; not before this turn of the loop is over."""

    def caught_up(self) -> None:
        """It is no longer behind."""


class _Debt:
    """The bytes given to a debtor since it fell behind; `marks` says how many there were at which time."""

    __slots__ = ("marks", "total")

    def __init__(self, total: int) -> None:
        self.total = total
        self.marks: deque[tuple[float, int]] = deque()

    def age(self, waiting: int, now: float) -> float:
        """How long the oldest byte has waited, at most one sweep too little."""
        taken = self.total - waiting
        while self.marks and self.marks[0][1] <= taken:
            self.marks.popleft()
        return now - self.marks[0][0] if self.marks else 0.0


class Backlog:
    """Keeps the books of all connections that are behind; looks at each once a second."""

    def __init__(self, max_bytes: int, max_age: float, report: Callable[[int], None]) -> None:
        self._max_bytes = max_bytes
        self._max_age = max_age
        self._report = report
        self._debts: dict[Debtor, _Debt] = {}
        self._timer: asyncio.TimerHandle | None = None

    def owe(self, debtor: Debtor, size: int) -> bool:
        """Enter bytes that are about to be given to a debtor; False: it is cut instead.

        Whoever waits for nothing may be given one message of any size.
        """
        waiting = debtor.waiting
        if waiting and waiting + size > self._max_bytes:
            self._debts.pop(debtor, None)
            debtor.cut()
            return False
        debt = self._debts.get(debtor)
        if debt is None:
            self._begin(debtor, waiting + size)
        else:
            debt.total += size
        return True

    def fall_behind(self, debtor: Debtor) -> None:
        """A debtor that was not behind has not taken what it was given last, however much that was."""
        self._begin(debtor, debtor.waiting)

    def settle(self, debtor: Debtor) -> None:
        """Forget a debtor: it has everything, or is gone."""
        self._debts.pop(debtor, None)

    def clear(self) -> None:
        """Forget all debtors and the timer."""
        self._debts.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self, debtor: Debtor, waiting: int) -> None:
        loop = asyncio.get_running_loop()
        debt = self._debts[debtor] = _Debt(waiting)
        debt.marks.append((loop.time(), waiting))
        if self._timer is None:
            self._timer = loop.call_later(_SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        total = 0
        try:
            for debtor, debt in list(self._debts.items()):
                total += self._look_at(debtor, debt, now)
            self._report(total)
        finally:
            self._timer = loop.call_later(_SWEEP_SECONDS, self._sweep) if self._debts else None

    def _look_at(self, debtor: Debtor, debt: _Debt, now: float) -> int:
        """The bytes that go on waiting for one debtor; what goes wrong with it concerns no other."""
        try:
            waiting = debtor.waiting
            if waiting > debtor.tolerated and debt.age(waiting, now) < self._max_age:
                debt.marks.append((now, debt.total))
                return waiting
            self._debts.pop(debtor, None)
            if waiting <= debtor.tolerated:
                debtor.caught_up()
            else:
                debtor.cut()
        except Exception:
            self._debts.pop(debtor, None)
            _log.exception("backlog.failed")
        return 0
