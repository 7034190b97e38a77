"""Watches the event loop: how late it comes to what is due, and how much it has to do."""

import asyncio
from typing import Final

from bridge.telemetry.metrics import Metrics

_EVERY: Final = 0.05
"""Seconds; what holds everything up for longer than that is seen, in full."""


class LoopWatch:
    """Measures by a timer of its own; costs 20 wake-ups a second."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        self._metrics.tasks.set_function(lambda: len(asyncio.all_tasks(loop)))
        while True:
            due = loop.time() + _EVERY
            await asyncio.sleep(_EVERY)
            self._metrics.loop_lag.observe(max(0.0, loop.time() - due))
