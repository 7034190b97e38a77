"""Users who connect again and again are noticed, each for himself, in bounded memory."""

import pytest

from bridge.flow import reconnects
from bridge.flow.reconnects import Reconnects


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_sixth_connection_within_ten_seconds_is_rapid() -> None:
    """And each further one, as long as five others lie within the ten seconds before it."""
    clock = Clock()
    counter = Reconnects(clock)
    found = []
    for second in (0, 1, 2, 3, 4, 9.9, 9.95, 14, 19.89, 30):
        clock.now = second
        found.append(counter.note("swe_agent", "ann"))
    assert found == [False] * 5 + [True, True, False, False, False]


def test_loop_of_one_connection_a_second_is_rapid_throughout() -> None:
    """What the official client does when its session ends at once, over and over."""
    clock = Clock()
    counter = Reconnects(clock)
    found = []
    for second in range(30):
        clock.now = second
        found.append(counter.note("swe_agent", "ann"))
    assert found == [False] * 5 + [True] * 25


def test_users_and_systems_are_counted_apart() -> None:
    """Nobody is rapid by another's doing, and clients without a token are nobody."""
    counter = Reconnects(Clock())
    assert not any(counter.note("swe_agent", f"user-{number}") for number in range(20))
    assert not any(counter.note(f"system-{number}", "ann") for number in range(20))
    assert not any(counter.note("swallowtail", "") for _ in range(20))


def test_longest_unseen_user_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of users that are remembered is bounded."""
    monkeypatch.setattr(reconnects, "USERS", 2)
    counter = Reconnects(Clock())
    for _ in range(5):
        counter.note("s", "ann")
    counter.note("s", "bob")
    assert counter.note("s", "ann")
    counter.note("s", "cid")
    counter.note("s", "dan")
    assert not counter.note("s", "ann")
