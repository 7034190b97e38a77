"""Lets clients in a few at a time: when all come at once, everybody else gets a turn in between.

After a break of the network thousands of clients connect within a moment. Each costs half a millisecond; one
after the other in one turn of the event loop, 5,000 of them held everything else up for seconds.
"""

import asyncio
from collections import deque
from typing import Final

_PER_TURN: Final = 16
"""Clients that are let in in one turn of the event loop: about 10 ms."""


class Door:
    """Those who enter go on in the order in which they came; who gives up meanwhile is passed over."""

    def __init__(self) -> None:
        self._free = _PER_TURN
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._opening = False

    async def enter(self) -> None:
        """Return at once, or in a later turn of the loop when this one has seen enough."""
        loop = asyncio.get_running_loop()
        if not self._opening:
            self._opening = True
            loop.call_soon(self._open, loop)
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Another turn of the loop: let the next ones in."""
        free = _PER_TURN
        while self._waiting and free:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1
        self._free = free
        self._opening = bool(self._waiting) or free < _PER_TURN
        if self._opening:
            loop.call_soon(self._open, loop)
