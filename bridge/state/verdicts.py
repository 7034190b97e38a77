"""What operators decided about users: which of their tokens are revoked, and who is shut out of what."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from heapq import nsmallest
from typing import Generic, TypeVar

from msgspec import Struct, structs

from bridge.model import Principal

K = TypeVar("K", bound=Hashable)

_BOUND = 25_000
"""Of one kind. A verdict takes about 300 bytes here and in `bridge.state`, which must hold all of them."""


class Verdict(Struct, frozen=True, kw_only=True):
    """One decision; a later one about the same user takes its place."""

    time: float
    """When it was made (epoch seconds, whole ones)."""
    until: float
    """When it ends; one that has ended is forgotten, so that a decision may also be taken back."""
    stamped: bool = True
    """Whether its message said when it was made; else `time` is when it was first read, which is too late."""

    @property
    def is_taken_back(self) -> bool:
        """Whether it only ends what was decided before."""
        return self.until <= self.time

    def repeats(self, other: Verdict) -> bool:
        """Whether both may come of one message that does not say when it was made, read at two times."""
        return self.until == other.until or self.until - self.time == other.until - other.time


class Verdicts(Generic[K]):
    """The last decision about each key; beyond the bound those that end soonest, and of these the
    oldest, are forgotten.

    The state tells of a decision several times: as it was given, then as copies of that which say when it
    was made. So what is read of the state counts once all of it was read, and till then for nothing.
    """

    def __init__(self, bound: int = _BOUND) -> None:
        self._bound = bound
        self._known: dict[K, Verdict] = {}
        self._over: dict[K, Verdict] = {}
        """Those that have ended: an earlier one that is read after them does not hold again."""
        self._reading: _Reading[K] | None = None
        self.dropped = 0
        """Decisions that were forgotten before their end."""

    def begin(self) -> None:
        """The state is about to be read, from its beginning."""
        self._reading = _Reading()

    def end(self) -> list[tuple[K, Verdict]]:
        """The state has been read whole: what of it is news, and must be `put`."""
        read, self._reading = self._reading, None
        if read is None:
            return []
        return [(key, verdict) for key, verdict in read.last.items() if self._is_news(key, verdict)]

    def put(self, key: K, verdict: Verdict, now: float) -> bool:
        """Note a decision; False when it or a later one is known, or while the state is read."""
        if self._reading is not None:
            self._reading.put(key, verdict)
            return False
        known = self._known.get(key) or self._over.get(key)
        if known == verdict or (known is not None and known.stamped and verdict.time < known.time):
            return False
        self._known.pop(key, None)
        self._over.pop(key, None)
        if verdict.until > now:
            self._known[key] = verdict
            if len(self._known) > self._bound:
                self._make_room(now)
        else:
            self._note_over(key, verdict)
        return True

    def get(self, key: K, now: float) -> Verdict | None:
        """The decision that holds; None without one."""
        verdict = self._known.get(key)
        if verdict is not None and verdict.until <= now:
            self._note_over(key, self._known.pop(key))
            return None
        return verdict

    def find(self, key: K) -> Verdict | None:
        """The last decision, though it may have ended; while the state is read, what that says so far."""
        if self._reading is not None:
            return self._reading.last.get(key)
        return self._known.get(key) or self._over.get(key)

    def stamp(self, key: K) -> None:
        """A copy of the decision that is known says when it was made."""
        for verdicts in (self._known, self._over):
            if key in verdicts:
                verdicts[key] = structs.replace(verdicts[key], stamped=True)

    def __iter__(self) -> Iterator[tuple[K, Verdict]]:
        return iter(self._known.items())

    def __len__(self) -> int:
        return len(self._known)

    def _make_room(self, now: float) -> None:
        """Forget what has ended, else a hundredth: looking for a single one each time would be slow."""
        ended = [key for key, verdict in self._known.items() if verdict.until <= now]
        if not ended:
            ended = nsmallest(max(1, self._bound // 100), self._known, key=lambda key: self._known[key].until)
            self.dropped += len(ended)
        for key in ended:
            del self._known[key]

    def _note_over(self, key: K, verdict: Verdict) -> None:
        self._over[key] = verdict
        if len(self._over) > self._bound:
            del self._over[next(iter(self._over))]

    def _is_news(self, key: K, verdict: Verdict) -> bool:
        """Whether the state tells of a decision that was not read before, or better when it was made."""
        known = self._known.get(key) or self._over.get(key)
        if known is None or known == verdict:
            return known is None
        # One without a time that is known without one is the same, which has been read before.
        return verdict.stamped or known.stamped or not verdict.repeats(known)


class _Reading(Generic[K]):
    """What has been read of the state, in its order."""

    def __init__(self) -> None:
        self.last: dict[K, Verdict] = {}
        self._before: dict[K, Verdict] = {}
        """What the last one, which does not say when it was made, took the place of."""

    def put(self, key: K, verdict: Verdict) -> None:
        known = self.last.get(key)
        if known is not None and verdict.stamped:
            # A copy may be written while a later decision is given, and then stands behind it.
            if (known.stamped and verdict.time < known.time) or self._before.get(key) == verdict:
                return
            self._before.pop(key, None)
        elif known is not None and known.stamped:
            self._before[key] = known
        self.last[key] = verdict


class Revocations(Verdicts[str]):
    """By identity: the user's tokens that were issued before are accepted no more."""

    def covers(self, principal: Principal, now: float) -> bool:
        """Whether a principal's token is revoked: it was issued by then, or does not say when.

        Times of tokens and of AMQP are whole seconds: what was issued within the second of the
        revocation may have been issued before it.
        """
        verdict = self.get(principal.identity, now) if self._known else None
        if verdict is None:
            return False
        issued = principal.claims.get("iat")
        if isinstance(issued, bool) or not isinstance(issued, int | float):
            return True
        return issued < verdict.time + 1


class Exclusions(Verdicts[tuple[str, str]]):
    """By system and identity: the user is shut out of it; no system (`""`) is all of them."""

    def ends(self, system: str, identity: str, now: float) -> float | None:
        """When the user may come back into the system; None when it may come now."""
        if not self._known:
            return None
        found = (self.get((system, identity), now), self.get(("", identity), now))
        return max((verdict.until for verdict in found if verdict is not None), default=None)
