"""What a client missed: which of the emissions of a delivery are for it, and what it is given of them."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from bridge.model import Emission, Place


class Replay(Struct, frozen=True):
    """What a client missed, or the first piece of it."""

    emissions: list[tuple[Emission, Place]]
    """In log order, each with the place up to which the client has everything once it has this one: of
    several emissions of one delivery only the last moves it, or a client that is cut between them would
    never learn of the others."""
    upto: Place
    """Nothing up to here is missing any more."""
    finished: bool
    """False when a limit ended it early."""


class Wanted(Struct, frozen=True):
    """Which emissions a client has missed."""

    namespace: str
    rooms: Mapping[str, int]
    covered: Mapping[str, int]
    sid: str | None
    now: float | None

    def pick(self, emissions: Sequence[Emission], offset: int) -> list[Emission]:
        """Those among what the delivery at an offset led to."""
        return [
            emission
            for emission in emissions
            if emission.namespace == self.namespace
            and (self.sid is None or emission.skip_sid != self.sid)
            and (self.now is None or emission.until is None or emission.until >= self.now)
            and _is_behind(emission, offset, self.rooms)
            and not (self.covered and _is_behind(emission, offset, self.covered))
        ]


def _is_behind(emission: Emission, offset: int, marks: Mapping[str, int]) -> bool:
    for room in emission.rooms:
        mark = marks.get(room)
        if mark is not None and mark < offset:
            return True
    return False
