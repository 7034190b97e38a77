"""What ties workers to their parent: it hears their pulse, and they notice when it is gone."""

import asyncio
import mmap
import os
import struct
import time
from collections.abc import Callable
from typing import Final

_PULSE: Final = struct.Struct("d")
BEAT_EVERY: Final = 1.0


class Tether:
    """Made by the parent before it forks: memory and a pipe that all of them share."""

    def __init__(self, count: int) -> None:
        self._pulses = mmap.mmap(-1, _PULSE.size * count)
        self._lifeline, self._held = os.pipe()

    # The parent's end

    def last_beat(self, number: int) -> float:
        """When that worker's event loop turned last, by the monotonic clock; 0 when it never has."""
        when: float = _PULSE.unpack_from(self._pulses, _PULSE.size * (number - 1))[0]
        return when

    def clear(self, number: int) -> None:
        """A new process begins under that number."""
        _PULSE.pack_into(self._pulses, _PULSE.size * (number - 1), 0.0)

    # A worker's end

    def enter(self) -> None:
        """Leave the pipe's end to the parent: once that is gone, nobody holds it."""
        os.close(self._held)

    def hold(self, number: int, parent_gone: Callable[[], None]) -> None:
        """Beat on the running loop, and call `parent_gone` once when the parent has died."""
        loop = asyncio.get_running_loop()

        def lost() -> None:
            loop.remove_reader(self._lifeline)
            parent_gone()

        loop.add_reader(self._lifeline, lost)
        self._beat(number)

    def _beat(self, number: int) -> None:
        _PULSE.pack_into(self._pulses, _PULSE.size * (number - 1), time.monotonic())
        asyncio.get_running_loop().call_later(BEAT_EVERY, self._beat, number)
