"""How fast is too fast: exact sliding windows over the times of commands, and of refusals."""

from collections import deque

from bridge.config.route_model import Ban
from bridge.config.units import Rate


class RateWindow:
    """The commands of one client, against all of its rates; holds as many times as the largest count."""

    __slots__ = ("_rates", "_size", "_start", "_times")

    def __init__(self, rates: tuple[Rate, ...]) -> None:
        self._rates = tuple((rate.count, rate.period) for rate in rates)
        self._size = max((rate.count for rate in rates), default=0)
        self._times: list[float] = []
        self._start = 0

    @property
    def memory(self) -> float:
        """Seconds after which a command no longer counts; 0 without rates."""
        return max((period for _, period in self._rates), default=0.0)

    def take(self, now: float) -> float | None:
        """Count one command at `now` (seconds of a monotonic clock); None when it is allowed.

        Otherwise seconds until one would be allowed; a refused one is not counted. A window of
        `10/s` is half open: an eleventh exactly a second after the first is allowed.
        """
        wait = 0.0
        times = self._times
        held = len(times)
        for count, period in self._rates:
            if held >= count:
                free = times[(self._start - count) % held] + period
                if now < free and free - now > wait:
                    wait = free - now
        if wait > 0.0:
            return wait
        self._count(now)
        return None

    def _count(self, now: float) -> None:
        if len(self._times) < self._size:
            self._times.append(now)
        elif self._size:
            self._times[self._start] = now
            self._start = (self._start + 1) % self._size


class BanCounter:
    """The refusals for rate of one user; so many within the ban's time shut the user out."""

    __slots__ = ("_after", "_duration", "_refusals", "_within")

    def __init__(self, ban: Ban) -> None:
        self._after = ban.after
        self._within = ban.within
        self._duration = ban.duration
        self._refusals: deque[float] = deque(maxlen=ban.after)

    def refused(self, now: float) -> float | None:
        """Count a refusal at `now`; returns until when the user is banned, once it was one too many.

        The count starts anew with a ban: whoever comes back from one has all of its tries again.
        """
        self._refusals.append(now)
        if len(self._refusals) < self._after or now >= self._refusals[0] + self._within:
            return None
        self._refusals.clear()
        return now + self._duration
