"""What must be written into `bridge.state` again, before its stream drops it."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Upkeep(Generic[K]):
    """When each thing that must last was written last, and how much was written after it.

    The stream drops what is older than `max_age`, and what has more than `max_bytes` behind it. A
    thing is due at half of either: whoever writes it again has as long once more to do so.
    """

    def __init__(self, max_age: float, max_bytes: int) -> None:
        self._age = max_age / 2
        self._bytes = max_bytes // 2
        self._written: OrderedDict[K, tuple[int, float]] = OrderedDict()
        """Volume up to it, and time, in the order of the writing."""
        self._urgent: dict[K, None] = {}
        self.volume = 0
        """Bytes that were written, as far as it is known."""

    def begin(self) -> None:
        """The state is read from its beginning: what is not found in it must be written again."""
        self.volume = 0
        self._urgent = dict.fromkeys(self._written)

    def pass_over(self, size: int) -> None:
        """Something was written that need not last."""
        self.volume += size

    def note(self, key: K, size: int, time: float) -> None:
        """A thing was written: so many bytes, at `time` (epoch seconds; too early rather than too late)."""
        self.volume += size
        self._written[key] = (self.volume, time)
        self._written.move_to_end(key)
        self._urgent.pop(key, None)

    def note_early(self, key: K, time: float) -> None:
        """A thing was written, nobody knows how much before the end."""
        self._written[key] = (0, time)
        self._written.move_to_end(key, last=False)
        self._urgent.pop(key, None)

    def hasten(self, key: K) -> None:
        """What was written of a thing will not do: write it as soon as possible."""
        if key in self._written:
            self._urgent[key] = None

    def forget(self, key: K) -> None:
        """A thing need not last any more."""
        self._written.pop(key, None)
        self._urgent.pop(key, None)

    def keep(self, is_needed: Callable[[K], bool]) -> None:
        """Forget all that need not last any more."""
        for key in [key for key in self._written if not is_needed(key)]:
            self.forget(key)

    def due(self, now: float) -> list[K]:
        """What must be written again at `now` (epoch seconds)."""
        due = dict(self._urgent)
        for key, (volume, time) in self._written.items():
            if now - time < self._age and self.volume - volume < self._bytes:
                break
            due[key] = None
        return list(due)

    def __len__(self) -> int:
        return len(self._written)
