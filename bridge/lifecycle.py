"""Runs one instance from its start to its end: signals, draining, and what the process exits with."""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
from enum import StrEnum
from typing import Any, Final

import structlog
import uvloop

from bridge import __version__
from bridge.app import App
from bridge.rules.compile import Rules
from bridge.web.crowd import OTHER_FILES
from bridge.web.worker import Worker
from bridge.workers.tether import Tether

log = structlog.get_logger()

_FILES_EACH: Final = 3
"""TCP connections of one client: two to poll with, and one more while it changes to a websocket."""


class Ending(StrEnum):
    """How a run ended."""

    STOPPED = "stopped"
    """A signal came, and everything was drained."""
    FORCED = "forced"
    """A second signal came, or draining took longer than `shutdown_timeout`."""
    FAILED = "failed"
    """A part that must run for ever ended; the log says why."""


def run(rules: Rules, worker: Worker | None = None, tether: Tether | None = None) -> Ending:
    """Run an instance until SIGTERM or SIGINT; OSError when its address cannot be had.

    A worker of several on one port ends too when its parent, at the other end of `tether`, is gone.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(rules, worker, tether))


async def _run(rules: Rules, worker: Worker | None, tether: Tether | None) -> Ending:
    loop = asyncio.get_running_loop()
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})  # a worker's begin blocked
    raise_file_limit(rules.config.limits.connections)
    app = App(rules, worker)
    try:
        await app.start()
        if worker is not None and tether is not None:
            tether.hold(worker.number, lambda: signals.put_nowait(signal.SIGTERM))
        # Modules and rules live for ever: looking at them again and again cost 1.9 of 11.6 us for each event.
        gc.collect()
        gc.freeze()
        # What an event makes is gone with its batch, and has no cycles: by default the collector would look
        # at each batch all the same, 2 us for each event. What clients leave behind waits a little longer. Of
        # 5,000 that came at once the second generation had 200,000 objects with 20 of the first: 110 ms each.
        gc.set_threshold(10_000, 5, 80)
        log.info(
            "bridge.started",
            version=__version__,
            instance=app.instance_id,
            address=f"{rules.config.http.host}:{rules.config.http.port}",
            namespaces=len(rules.namespaces),
            routes=len(rules.routes),
        )
        return await _run_until_signal(app, signals)
    finally:
        await app.stop()
        log.info("bridge.stopped")


async def _run_until_signal(app: App, signals: asyncio.Queue[signal.Signals]) -> Ending:
    """Wait for a signal or a failure; drain after a signal, unless a second one comes."""
    assert app.failed is not None  # noqa: S101  set by start
    first = asyncio.ensure_future(signals.get())
    ends: set[asyncio.Future[Any]] = {first, app.failed}
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if not first.done():
        first.cancel()
        log.error("bridge.failed", exc_info=app.failed.result())
        return Ending.FAILED
    log.info("bridge.draining", signal=first.result().name, limit=app.config.shutdown_timeout)
    second = asyncio.ensure_future(signals.get())
    drained = asyncio.ensure_future(app.drain())
    ends = {second, drained}
    await asyncio.wait(ends, timeout=app.config.shutdown_timeout, return_when=asyncio.FIRST_COMPLETED)
    second.cancel()
    if drained.done():
        drained.result()
        return Ending.STOPPED
    drained.cancel()
    await asyncio.gather(drained, return_exceptions=True)
    log.warning("bridge.forced", reason="a second signal, or the limit was reached")
    return Ending.FORCED


def raise_file_limit(connections: int) -> None:
    """Let the process have as many files open as its clients may need, or say that not all may connect.

    Shells and systemd start processes with a limit of 1024, which they may raise up to a far higher one. With
    less than the hungriest clients need, connections without a request give way (`web/crowd.py`).
    """
    wanted = _FILES_EACH * connections + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < connections + OTHER_FILES:
        log.warning("files.few", allowed=allowed, wanted=wanted, remedy="raise `ulimit -n` or LimitNOFILE")
