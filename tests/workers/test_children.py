"""When a worker that has ended is started again."""

from bridge.workers.children import FIRST_DELAY, LONGEST_DELAY, SOUND, Child


def test_each_end_in_a_row_doubles_the_delay_up_to_a_bound() -> None:
    """A crash in a loop costs the machine next to nothing, and never gives up."""
    child, now, delays = Child(1), 100.0, []
    for _ in range(40):
        child.started(7, now)
        assert child.due is None
        delays.append(child.ended(now + 1))
        assert (child.pid, child.due) == (None, now + 1 + delays[-1])
        now += 10
    assert delays[:4] == [FIRST_DELAY, 2 * FIRST_DELAY, 4 * FIRST_DELAY, 8 * FIRST_DELAY]
    assert set(delays[8:]) == {LONGEST_DELAY}
    assert child.starts == 40


def test_who_has_lived_long_enough_begins_anew() -> None:
    """An accident once an hour is no crash loop."""
    child = Child(1)
    for end in (1, 2, 3):
        child.started(7, end - 1)
        child.ended(end)
    child.started(7, 10)
    assert child.ended(10 + SOUND) == FIRST_DELAY
