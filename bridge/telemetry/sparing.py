"""Owns how often the log says the same: a faulty service, or one that is refused, must not fill the disk."""

from collections.abc import Hashable
from typing import Final

_EVERY: Final = 60.0


class Sparing:
    """Lets the first line about a thing pass, and the next one a minute later; metrics count them all."""

    def __init__(self) -> None:
        self._said: dict[Hashable, float] = {}

    def may_say(self, thing: Hashable, now: float) -> bool:
        """Whether to write a line about a thing, of which there are a fixed few; `now` is in seconds."""
        if 0 <= now - self._said.get(thing, -_EVERY) < _EVERY:
            return False
        self._said[thing] = now
        return True
