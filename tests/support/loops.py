"""Tests that stand or fall with the event loop on which the daemon runs: asyncio's own has other faults."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import ParamSpec

import uvloop

P = ParamSpec("P")


def on_uvloop(test: Callable[P, Coroutine[object, object, None]]) -> Callable[P, None]:
    """Run a test on uvloop; async fixtures live on another loop and cannot be used."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(test(*args, **kwargs))

    return run
