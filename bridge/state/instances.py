"""Owns which instances live, told from their signs in the log alone, so that all who read it agree."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

DEAD_AFTER: Final = 4
"""Signs of one other instance without one of its own after which an instance is dead. Counting signs instead
of seconds, nobody dies while the broker is away and all are silent alike."""


class Sign(Struct, frozen=True, kw_only=True):
    """That an instance lives; goes into the log when it starts and every few seconds."""

    name: str
    """Of the instance; the same after a restart."""
    incarnation: str
    """Of this one run of the instance."""
    rank: int
    """One more than that of all who were known at its start: the least among the living is the eldest."""
    number: int
    """Counts the signs of this incarnation, so that one that comes twice is told."""
    every: float
    """Seconds between two of its signs."""
    kept: int | None = None
    """The offset up to which it has published all that the eldest must publish, such as invalid events."""


class _Instance:
    """What is known of one incarnation."""

    __slots__ = ("missed", "sign")

    def __init__(self, sign: Sign) -> None:
        self.sign = sign
        self.missed: dict[str, int] = {}
        """Signs of each other incarnation since the last one of its own."""


class InstanceTable:
    """The incarnations that live; what is fed is the log in its order, what comes back is who ended.

    An instance that reads only the end of the log knows the same as all others once each instance has
    given a sign again: each sign tells all.
    """

    def __init__(self, bound: int = 1000) -> None:
        """Beyond `bound` incarnations the one whose last sign is oldest counts as dead.

        As many that stopped are remembered.
        """
        self._bound = bound
        self._living: dict[str, _Instance] = {}
        self._stopped: dict[str, None] = {}
        """Those that said that they end: a sign that comes late, out of a broken connection, is no life."""

    @property
    def living(self) -> tuple[str, ...]:
        """All incarnations that live, the eldest first."""
        signs = sorted((one.sign for one in self._living.values()), key=_seniority)
        return tuple(sign.incarnation for sign in signs)

    @property
    def eldest(self) -> str | None:
        """The incarnation that started first; None before any gave a sign."""
        if not self._living:
            return None
        return min((one.sign for one in self._living.values()), key=_seniority).incarnation

    @property
    def next_rank(self) -> int:
        """The rank of an instance that starts now."""
        return max((one.sign.rank for one in self._living.values()), default=0) + 1

    def __contains__(self, incarnation: str) -> bool:
        return incarnation in self._living

    def started(self, sign: Sign) -> Sequence[str]:
        """An instance has started: what ran under its name before has ended."""
        if sign.incarnation in self._stopped:
            return ()
        ended = [
            one.sign.incarnation
            for one in self._living.values()
            if one.sign.name == sign.name and one.sign.incarnation != sign.incarnation
        ]
        return [*self._end(ended), *self._note(sign)]

    def beat(self, sign: Sign) -> Sequence[str]:
        """An instance lives; one that was held for dead lives again."""
        if sign.incarnation in self._stopped:
            return ()
        known = self._living.get(sign.incarnation)
        if known is not None and sign.number <= known.sign.number:
            return ()
        ended = []
        for incarnation, other in self._living.items():
            if incarnation != sign.incarnation:
                missed = other.missed[sign.incarnation] = other.missed.get(sign.incarnation, 0) + 1
                # Whoever gives signs more often must give more of them.
                if missed >= DEAD_AFTER * max(1.0, other.sign.every / sign.every):
                    ended.append(incarnation)
        return [*self._end(ended), *self._note(sign)]

    def stopped(self, incarnation: str) -> Sequence[str]:
        """An instance has ended in good order, and will not live again."""
        self._stopped[incarnation] = None
        if len(self._stopped) > self._bound:
            del self._stopped[next(iter(self._stopped))]
        return self._end([incarnation] if incarnation in self._living else [])

    def _note(self, sign: Sign) -> Sequence[str]:
        # Put at the end: the first is the one whose last sign is oldest.
        self._living.pop(sign.incarnation, None)
        self._living[sign.incarnation] = _Instance(sign)
        return self._end([next(iter(self._living))] if len(self._living) > self._bound else [])

    def _end(self, incarnations: Sequence[str]) -> Sequence[str]:
        for incarnation in incarnations:
            del self._living[incarnation]
            for other in self._living.values():
                other.missed.pop(incarnation, None)
        return incarnations


def _seniority(sign: Sign) -> tuple[int, str]:
    return sign.rank, sign.incarnation
