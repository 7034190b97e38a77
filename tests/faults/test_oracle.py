"""The oracle itself: it must see each fault, and none where there is none."""

import random

from hypothesis import given
from hypothesis import strategies as st

from tests.support.oracle import Verdict, judge, judge_all


def test_all_in_order_is_faultless() -> None:
    """Over as many connections as it takes."""
    verdict = judge([(0, 4), "recovered", (5, 7), "fresh", "since", (8, 9)], 10)
    assert verdict == Verdict(recovered=1, fresh=1, since=1)
    assert verdict.faultless


def test_what_never_came_is_lost() -> None:
    """In the middle, before the first, after the last, and where nothing came at all."""
    assert judge([(0, 4), (6, 9)], 10) == Verdict(lost=1)
    assert judge([(2, 9)], 10) == Verdict(lost=2)
    assert judge([(0, 7)], 10) == Verdict(lost=2)
    assert judge([], 10) == Verdict(lost=10)
    assert not judge([], 10).faultless


def test_an_unconfirmed_event_may_come_or_not() -> None:
    """Nothing was promised of it."""
    assert judge([(0, 11)], 10) == Verdict()


def test_what_came_again_is_doubled() -> None:
    """Each time."""
    assert judge([(0, 4), "recovered", (3, 9)], 10) == Verdict(doubled=2, recovered=1)
    assert judge([(0, 9), (5, 5), (5, 5)], 10) == Verdict(doubled=2)


def test_what_came_late_is_out_of_order() -> None:
    """And neither lost nor doubled."""
    assert judge([(0, 4), (6, 6), (5, 5), (7, 9)], 10) == Verdict(inversions=1)


def test_a_gap_that_was_told_excuses_what_lies_in_it() -> None:
    """And nothing else."""
    assert judge([(0, 4), "fresh", "gap", (7, 9)], 10) == Verdict(told=2, fresh=1, gaps=1)
    assert judge([(0, 2), (4, 4), "fresh", "gap", (7, 9)], 10) == Verdict(lost=1, told=2, fresh=1, gaps=1)
    assert judge([(0, 4), "fresh", "gap"], 10) == Verdict(told=5, fresh=1, gaps=1)


@given(st.lists(st.integers(0, 30), max_size=40), st.integers(0, 30))
def test_it_agrees_with_a_naive_count(numbers: list[int], confirmed: int) -> None:
    """However the numbers come, one by one or in runs."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    seen: set[int] = set()
    late = 0
    for number in numbers:
        late += number not in seen and any(other > number for other in seen)
        seen.add(number)
    verdict = judge(runs, confirmed)
    assert verdict.lost == len(set(range(confirmed)) - seen)
    assert verdict.doubled == len(numbers) - len(seen)
    assert verdict.inversions == late


def test_a_sum_is_of_all_clients() -> None:
    """Whatever their order."""
    stories = [[(0, 9)], [(0, 8)], [(0, 9), (9, 9)]]
    random.Random(5).shuffle(stories)  # noqa: S311  no secret
    assert judge_all(stories, 10) == Verdict(lost=1, doubled=1)
