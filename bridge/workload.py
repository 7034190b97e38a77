"""Divides what many connections bring at once into turns of the loop, so that nobody waits for all of it."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

_TURN: Final = 0.005
"""Seconds of work in one turn of the loop; whatever else has to be done comes between two of them."""

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

Work = Callable[[], None]


class Workload:
    """Work of all connections, in the order in which it came.

    The loop by itself takes what a thousand sockets have brought in one go, and then runs all tasks that
    this has led to: when 5,000 clients came back at once, everybody else waited for 8 s.
    """

    def __init__(self) -> None:
        self._waiting: deque[Work] = deque()
        self._spent = 0.0
        """Seconds, in this turn."""
        self._is_scheduled = False

    def do(self, work: Work) -> bool:
        """Do it now, if this turn has time left for it and nothing else waits; False when it has to wait."""
        if self._waiting or self._spent >= _TURN:
            self._waiting.append(work)
            return False
        self._run(work)
        self._schedule()
        return True

    async def wait(self, seconds: float) -> None:
        """Wait for the turn of something that takes about so long."""
        if not self._waiting and self._spent < _TURN:
            self._spent += seconds
            self._schedule()
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def begin() -> None:
            if not turn.done():
                turn.set_result(None)
                self._spent += seconds

        self._waiting.append(begin)
        await turn

    def _run(self, work: Work) -> None:
        began = time.perf_counter()
        try:
            work()
        except Exception:
            # The loop's top: a fault with one connection must not stop the others.
            _log.exception("connection.failed")
        self._spent += time.perf_counter() - began

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._begin_turn)

    def _begin_turn(self) -> None:
        self._is_scheduled = False
        self._spent = 0.0
        while self._waiting and self._spent < _TURN:
            self._run(self._waiting.popleft())
        if self._waiting or self._spent:
            self._schedule()
