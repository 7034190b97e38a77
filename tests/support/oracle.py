"""The oracle of the fault tests: what each client got, held against what the publisher got confirmed.

Pure: it is given the story of each client, and numbers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal

Word = Literal["recovered", "fresh", "since", "gap"]
"""What happened to a client between two of its events: it came back to its session (`socket.recovered`), or
to a fresh one; there its `since` was answered by `recovered: true`, or by false: it was told of a gap."""
Run = tuple[int, int]
"""First and last of numbers that came one after the other."""
Story = Sequence[Run | Word]

_WORDS: Final[tuple[Word, ...]] = ("recovered", "fresh", "since", "gap")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Of one client, or the sum of many."""

    lost: int = 0
    """Events that never came, without a word."""
    told: int = 0
    """Events that never came, and the client was told that something might be missing there."""
    doubled: int = 0
    """Events that came again."""
    inversions: int = 0
    """Events that came for the first time after a later one."""
    recovered: int = 0
    """How often a session was recovered."""
    fresh: int = 0
    """How often it was not."""
    since: int = 0
    """How often a `since` was honoured."""
    gaps: int = 0
    """How often it was not, and the client was told."""

    def __add__(self, other: "Verdict") -> "Verdict":
        return Verdict(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    @property
    def faultless(self) -> bool:
        """Whether nothing was lost in silence, doubled or out of order."""
        return not (self.lost or self.doubled or self.inversions)


@dataclass
class _Reading:
    """How far the reading of one story has come."""

    seen: list[Run] = field(default_factory=list)
    excused: list[Run] = field(default_factory=list)
    highest: int = -1
    doubled: int = 0
    inversions: int = 0
    gap: bool = False

    def take(self, first: int, last: int) -> None:
        """A run of numbers."""
        if self.gap and first > self.highest + 1:
            self.excused.append((self.highest + 1, first - 1))
        self.gap = False
        known = sum(_overlap((first, last), run) for run in self.seen)
        self.doubled += known
        late = max(0, min(last, self.highest) - first + 1)
        self.inversions += max(0, late - known)
        self.highest = max(self.highest, last)
        self.seen = _merge([*self.seen, (first, last)])


def judge(story: Story, confirmed: int) -> Verdict:
    """What became of the events 0 to `confirmed`, exclusive, at one client that followed all of them."""
    reading = _Reading()
    words = dict.fromkeys(_WORDS, 0)
    for entry in story:
        if isinstance(entry, str):
            words[entry] += 1
            reading.gap = reading.gap or entry == "gap"
        else:
            reading.take(*entry)
    if reading.gap and reading.highest < confirmed - 1:
        reading.excused.append((reading.highest + 1, confirmed - 1))
    missing = list(_missing(reading.seen, confirmed))
    absent = sum(last - first + 1 for first, last in missing)
    told = sum(_overlap(one, other) for one in missing for other in reading.excused)
    return Verdict(
        lost=absent - told,
        told=told,
        doubled=reading.doubled,
        inversions=reading.inversions,
        recovered=words["recovered"],
        fresh=words["fresh"],
        since=words["since"],
        gaps=words["gap"],
    )


def judge_all(stories: Iterable[Story], confirmed: int) -> Verdict:
    """The sum over all clients."""
    return sum((judge(story, confirmed) for story in stories), Verdict())


def _overlap(one: Run, other: Run) -> int:
    return max(0, min(one[1], other[1]) - max(one[0], other[0]) + 1)


def _merge(runs: list[Run]) -> list[Run]:
    """The same numbers as runs that neither touch nor overlap, in order."""
    merged: list[Run] = []
    for first, last in sorted(runs):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def _missing(seen: list[Run], confirmed: int) -> Iterable[Run]:
    borders = [(-1, -1), *seen, (confirmed, confirmed)]
    for (_, last), (first, _) in pairwise(borders):
        if last + 1 < min(first, confirmed):
            yield last + 1, min(first, confirmed) - 1
