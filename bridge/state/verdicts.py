"""What operators decided about users: which of their tokens are revoked, and who is shut out of what."""

from collections.abc import Hashable, Iterator
from heapq import nsmallest
from typing import Generic, TypeVar

from msgspec import Struct

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


class Verdicts(Generic[K]):
    """The last decision about each key; beyond the bound those that end soonest, and of these the
    oldest, are forgotten."""

    def __init__(self, bound: int = _BOUND) -> None:
        self._bound = bound
        self._known: dict[K, Verdict] = {}
        self.dropped = 0
        """Decisions that were forgotten before their end."""

    def put(self, key: K, verdict: Verdict, now: float) -> bool:
        """Note a decision; False when it or a later one is known.

        The same decision may be read several times, and out of order: from the state, which repeats
        what it would else lose, and then from the log.
        """
        known = self._known.get(key)
        if known == verdict or (known is not None and known.stamped and verdict.time < known.time):
            return False
        self._known.pop(key, None)
        if verdict.until > now:
            self._known[key] = verdict
            if len(self._known) > self._bound:
                self._make_room(now)
        return True

    def get(self, key: K, now: float) -> Verdict | None:
        """The decision that holds; None without one."""
        verdict = self._known.get(key)
        if verdict is not None and verdict.until <= now:
            del self._known[key]
            return None
        return verdict

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
