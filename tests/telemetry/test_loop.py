"""The watch of the event loop: sees what holds it up, and its tasks."""

import asyncio
import time

from bridge.telemetry.loop import LoopWatch
from bridge.telemetry.metrics import Metrics


async def test_what_holds_the_loop_up_is_seen() -> None:
    """One turn that takes 0.3 s makes the timer at least 0.25 s late."""
    metrics = Metrics()
    watch = asyncio.create_task(LoopWatch(metrics).run())
    await asyncio.sleep(0)
    time.sleep(0.3)  # noqa: ASYNC251  the fault itself
    while metrics.registry.get_sample_value("bridged_loop_lag_seconds_count") == 0:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    count, on_time = (
        metrics.registry.get_sample_value("bridged_loop_lag_seconds_bucket", {"le": bound})
        for bound in ("+Inf", "0.1")
    )
    assert (count, on_time) == (1.0, 0.0)
    assert metrics.registry.get_sample_value("bridged_tasks") == len(asyncio.all_tasks())
    watch.cancel()
