"""Sessions whose connection broke, kept for a while so that their clients may come back."""

from collections import OrderedDict
from collections.abc import Callable, Iterator

from msgspec import Struct, structs

from bridge.state.progress import Progress


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
    shared: bool = False
    """Whether other instances were given it too."""


class LostSessions:
    """Lost sessions by key, each for `window` seconds, `bound` of them at most: the oldest goes first."""

    def __init__(self, window: float, bound: int) -> None:
        self._window = window
        self._bound = bound
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
            self._kept[lost.key] = (now + left, lost)
            self._kept.move_to_end(lost.key)
            if len(self._kept) > self._bound:
                self._kept.popitem(last=False)

    def get(self, key: str, now: float) -> LostSession | None:
        """Look at one."""
        until, lost = self._kept.get(key, (0.0, None))
        return lost if now < until else None

    def take(self, key: str, now: float) -> LostSession | None:
        """Hand one out, once."""
        until, lost = self._kept.pop(key, (0.0, None))
        return lost if now < until else None

    def drop_shared(self, key: str) -> None:
        """Drop the copy of one that goes on elsewhere; one that was lost here is newer than that."""
        _, lost = self._kept.get(key, (0.0, None))
        if lost is not None and lost.shared:
            del self._kept[key]

    def forget(self, covers: Callable[[str, str], bool]) -> None:
        """Drop those of whose identity and namespace this is true."""
        for key in [key for key, (_, lost) in self._kept.items() if covers(lost.identity, lost.namespace)]:
            del self._kept[key]

    def evict(self, covers: Callable[[str, str], bool], room: str) -> None:
        """Take a room out of those of whose identity and namespace this is true."""
        for key, (until, lost) in self._kept.items():
            if room in lost.rooms and covers(lost.identity, lost.namespace):
                rooms = {name: mark for name, mark in lost.rooms.items() if name != room}
                self._kept[key] = (until, structs.replace(lost, rooms=rooms))

    def clear(self) -> None:
        """Drop all: their cursors mean nothing any more."""
        self._kept.clear()

    def _expire(self, now: float) -> None:
        while self._kept:
            key, (until, _) = next(iter(self._kept.items()))
            if until > now:
                return
            del self._kept[key]
