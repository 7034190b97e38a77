"""Work of a test in an event loop of its own, in a thread: it goes on while the test waits, and fast.

The tests' own loop runs in asyncio's debug mode, in which a load of thousands of events a second would slow
everything else down.
"""

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

import uvloop

_Result = TypeVar("_Result")


class Beside:
    """A thread with an event loop: `with Beside() as beside: beside.run(...)`."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._loop.set_debug(False)
        self._thread = threading.Thread(target=self._loop.run_forever, name="beside", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.run(_cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, _Result], within: float = 30) -> _Result:
        """Have the other loop do something, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(within)

    async def wait(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """The same for a test that does other things meanwhile."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
