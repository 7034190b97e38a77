"""Rates hold exactly in every window, and refusals add up to a ban."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config.route_model import Ban
from bridge.config.units import Duration, Rate
from bridge.rules.limits import BanCounter, RateWindow

# Multiples of 1/16 s are exact in binary, so that the naive model and the window round alike.
_STEPS = st.lists(st.integers(0, 40).map(lambda step: step / 16), max_size=80)
_RATES = st.lists(st.sampled_from(["1/s", "2/s", "5/s", "7/min", "20/min", "30/h"]).map(Rate), max_size=3)


@given(_RATES, _STEPS)
def test_a_window_allows_what_a_list_of_all_times_allows(rates: list[Rate], steps: list[float]) -> None:
    """A command is allowed exactly when every window that ends now has room for it."""
    window = RateWindow(tuple(rates))
    allowed: list[float] = []
    now = 100.0
    for step in steps:
        now += step
        fits = all(sum(now - rate.period < time for time in allowed) < rate.count for rate in rates)
        wait = window.take(now)
        assert (wait is None) == fits
        if wait is None:
            allowed.append(now)
        else:
            assert wait == min(
                time + rate.period - now
                for time in allowed
                for rate in rates
                if all(
                    sum(time + rate.period - other.period < past for past in allowed) < other.count
                    for other in rates
                )
                and time + rate.period > now
            )


def test_the_promised_wait_is_long_enough_and_no_longer() -> None:
    """After the wait one command is allowed, a moment before it none is."""
    window = RateWindow((Rate("2/s"), Rate("3/min")))
    assert [window.take(now) for now in (0.0, 0.25, 0.5)] == [None, None, 0.5]
    assert window.take(0.9375) == 0.0625
    assert window.take(1.0) is None
    assert window.take(2.0) == 58.0
    assert window.take(60.0) is None


def test_refused_commands_are_not_counted() -> None:
    """Who keeps trying is let in as soon as who waits."""
    window = RateWindow((Rate("1/s"),))
    assert window.take(0.0) is None
    assert [window.take(step / 16) is None for step in range(1, 17)] == [False] * 15 + [True]


def test_no_rates_allow_everything() -> None:
    """A system without rates refuses nothing and keeps nothing."""
    window = RateWindow(())
    assert all(window.take(0.0) is None for _ in range(1000))


def test_memory_is_bounded_by_the_largest_count() -> None:
    """However long a client stays, as many times are kept as its largest rate counts."""
    window = RateWindow((Rate("3/s"), Rate("10/min")))
    for second in range(1000):
        window.take(float(second))
    assert len(window._times) == 10


@given(_STEPS, st.integers(1, 6))
def test_so_many_refusals_within_the_time_ban(steps: list[float], after: int) -> None:
    """The ban comes with the refusal that fills the window, and starts the count anew."""
    counter = BanCounter(Ban(after=after, within=Duration("10s"), duration=Duration("300s")))
    refusals: list[float] = []
    now = 5.0
    for step in steps:
        now += step
        refusals.append(now)
        full = sum(now - 10 < time for time in refusals) >= after
        assert counter.refused(now) == (now + 300 if full else None)
        if full:
            refusals.clear()


@pytest.mark.parametrize("after", [1, 10])
def test_refusals_that_are_far_apart_ban_nobody(after: int) -> None:
    """One refusal a minute never adds up to ten within a minute; a ban after the first is one at once."""
    counter = BanCounter(Ban(after=after, within=Duration("60s")))
    bans = [counter.refused(minute * 60.0) for minute in range(30)]
    assert all(ban is None for ban in bans) == (after > 1)
