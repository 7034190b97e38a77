"""Sessions whose connection broke, kept for a while so that their clients may come back."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct, structs

from bridge.state.progress import Progress

MOST_BYTES: Final = 64_000_000
"""Of memory, as estimated: 20,000 sessions in 15 rooms each, but not in 128 rooms of the longest names."""
_SESSION_BYTES: Final = 1000
_ROOM_BYTES: Final = 120


class LostSession(Struct, frozen=True, kw_only=True):
    """What a client comes back to: on this instance, or on another one to which it is handed over."""

    key: str
    """By which it is asked for: a hash of the secret that the client holds."""
    sid: str
    namespace: str
    """The concrete one."""
    identity: str
    """Whose it is: the user within its tenant."""
    rooms: dict[str, int]
    """With the offset from which on the client has each of them."""
    due: tuple[str, ...]
    """Those of them that it joined by itself, when it connected."""
    progress: Progress
    lost_at: int
    """The offset up to which its instance had read the log then: its client has seen nothing newer in it,
    and no later order of an operator was obeyed there."""
    shared: bool = False
    """Whether other instances were given it too."""

    def leave(self, room: str) -> "LostSession":
        """The same without a room."""
        return structs.replace(self, rooms={name: mark for name, mark in self.rooms.items() if name != room})


class LostSessions:
    """Lost sessions by key, each for `window` seconds, `bound` of them at most, and of `most_bytes` together:
    the oldest goes first."""

    def __init__(self, window: float, bound: int, most_bytes: int = MOST_BYTES) -> None:
        self._window = window
        self._bound = bound
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[str, tuple[float, LostSession]] = OrderedDict()
        """With the time at which each ends; nearly in that order."""

    def __len__(self) -> int:
        return len(self._kept)

    def aged(self, now: float) -> Iterator[tuple[float, LostSession]]:
        """All of them, with the seconds since each was lost."""
        for until, lost in list(self._kept.values()):
            if until > now:
                yield now + self._window - until, lost

    def put(self, lost: LostSession, now: float, age: float = 0.0) -> None:
        """Keep one whose connection broke `age` seconds ago."""
        self._expire(now)
        left = self._window - max(0.0, age)
        if left > 0:
            self._remove(lost.key)
            self._kept[lost.key] = (now + left, lost)
            self._bytes += _size_of(lost)
            while len(self._kept) > self._bound or self._bytes > self._most_bytes:
                self._remove(next(iter(self._kept)))

    def get(self, key: str, now: float) -> LostSession | None:
        """Look at one."""
        until, lost = self._kept.get(key, (0.0, None))
        return lost if now < until else None

    def take(self, key: str, now: float) -> LostSession | None:
        """Hand one out, once."""
        until, lost = self._remove(key)
        return lost if now < until else None

    def drop_shared(self, key: str) -> None:
        """Drop the copy of one that goes on elsewhere; one that was lost here is newer than that."""
        _, lost = self._kept.get(key, (0.0, None))
        if lost is not None and lost.shared:
            self._remove(key)

    def forget(self, covers: Callable[[str, str], bool]) -> None:
        """Drop those of whose identity and namespace this is true."""
        for key in [key for key, (_, lost) in self._kept.items() if covers(lost.identity, lost.namespace)]:
            self._remove(key)

    def evict(self, covers: Callable[[str, str], bool], room: str) -> None:
        """Take a room out of those of whose identity and namespace this is true."""
        for key, (until, lost) in self._kept.items():
            if room in lost.rooms and covers(lost.identity, lost.namespace):
                fewer = lost.leave(room)
                self._bytes += _size_of(fewer) - _size_of(lost)
                self._kept[key] = (until, fewer)

    def clear(self) -> None:
        """Drop all: their cursors mean nothing any more."""
        self._kept.clear()
        self._bytes = 0

    def _expire(self, now: float) -> None:
        while self._kept:
            key, (until, _) = next(iter(self._kept.items()))
            if until > now:
                return
            self._remove(key)

    def _remove(self, key: str) -> tuple[float, LostSession | None]:
        until, lost = self._kept.pop(key, (0.0, None))
        if lost is not None:
            self._bytes -= _size_of(lost)
        return until, lost


def _size_of(lost: LostSession) -> int:
    """Names of rooms are counted for each session: they are seldom shared between two."""
    names = (*lost.rooms, *lost.due)
    return _SESSION_BYTES + _ROOM_BYTES * len(names) + sum(map(len, names)) + len(lost.identity)
