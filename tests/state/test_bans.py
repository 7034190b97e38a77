"""Bans: who is shut out until when."""

from bridge.state.bans import Bans


def test_a_ban_holds_until_its_end_in_its_system_alone() -> None:
    """At its end it is over and forgotten."""
    bans = Bans()
    bans.ban("portal", "ada", until=400.0, now=100.0)
    assert bans.banned_until("portal", "ada", 399.9) == 400.0
    assert bans.banned_until("summit", "ada", 399.9) is None
    assert bans.banned_until("portal", "bob", 399.9) is None
    assert bans.banned_until("portal", "ada", 400.0) is None
    assert len(bans) == 0


def test_a_shorter_ban_does_not_shorten_a_longer_one() -> None:
    """The later end wins."""
    bans = Bans()
    bans.ban("portal", "ada", until=400.0, now=100.0)
    bans.ban("portal", "ada", until=200.0, now=100.0)
    assert bans.banned_until("portal", "ada", 300.0) == 400.0


def test_beyond_the_bound_ended_bans_go_first_then_the_one_that_ends_soonest() -> None:
    """A flood of bans does not grow the table."""
    bans = Bans(bound=2)
    bans.ban("portal", "over", until=150.0, now=100.0)
    bans.ban("portal", "long", until=900.0, now=100.0)
    bans.ban("portal", "short", until=300.0, now=200.0)
    assert len(bans) == 2
    bans.ban("portal", "middle", until=500.0, now=200.0)
    assert len(bans) == 2
    assert bans.banned_until("portal", "short", 200.0) is None
    assert bans.banned_until("portal", "long", 200.0) == 900.0
    assert bans.banned_until("portal", "middle", 200.0) == 500.0
