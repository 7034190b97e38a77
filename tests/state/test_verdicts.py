"""Decisions of operators: the last one counts, in whatever order it is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model import Principal
from bridge.state.verdicts import Exclusions, Revocations, Verdict, Verdicts

NOW = 1_000.0


def verdict(time: float, until: float = 9_000.0, *, stamped: bool = True) -> Verdict:
    return Verdict(time=time, until=until, stamped=stamped)


def principal(**claims: object) -> Principal:
    return Principal(user="ann", claims=claims)


def test_a_decision_holds_until_its_end() -> None:
    """Then it is forgotten."""
    verdicts = Verdicts[str]()
    assert verdicts.put("ann", verdict(900, until=1_100), NOW)
    assert verdicts.get("ann", 1_099.9) == verdict(900, until=1_100)
    assert verdicts.get("bob", NOW) is None
    assert verdicts.get("ann", 1_100) is None
    assert len(verdicts) == 0


@given(st.permutations([verdict(100), verdict(200), verdict(300, until=0)]))
def test_what_was_taken_back_does_not_come_back(order: list[Verdict]) -> None:
    """Whatever of it is read behind."""
    verdicts = Verdicts[str]()
    for each in (*order, verdict(100)):
        verdicts.put("ann", each, NOW)
    assert verdicts.get("ann", NOW) is None
    assert verdicts.find("ann") == verdict(300, until=0)


def test_what_has_ended_is_remembered_within_the_bound() -> None:
    """As many as may hold; the one that ended first is forgotten."""
    verdicts = Verdicts[str](bound=2)
    for key in ("a", "b", "c"):
        verdicts.put(key, verdict(200, until=0), NOW)
        verdicts.put(key, verdict(100), NOW)
    assert [key for key, _ in verdicts] == []
    verdicts.put("a", verdict(100), NOW)
    assert [key for key, _ in verdicts] == ["a"]


@given(st.permutations([verdict(100), verdict(200, until=0), verdict(300, until=5_000)]))
def test_the_latest_decision_wins_when_earlier_ones_are_read_again(order: list[Verdict]) -> None:
    """The state repeats an old one behind a newer one when both were written in one moment."""
    verdicts = Verdicts[str]()
    for each in (*order, verdict(300, until=5_000), verdict(100)):
        verdicts.put("ann", each, NOW)
    assert verdicts.get("ann", NOW) == verdict(300, until=5_000)
    assert not verdicts.put("ann", verdict(300, until=5_000), NOW), "it is known"


def test_a_decision_that_has_ended_takes_an_earlier_one_back() -> None:
    """So a ban is lifted."""
    verdicts = Verdicts[str]()
    verdicts.put("ann", verdict(900), NOW)
    assert verdicts.put("ann", verdict(950, until=950), NOW)
    assert verdicts.get("ann", NOW) is None


def test_one_that_did_not_say_when_gives_way_to_its_copy_that_does() -> None:
    """Its time was that of the reading, later than that of the copy."""
    verdicts = Verdicts[str]()
    verdicts.put("ann", verdict(NOW, stamped=False), NOW)
    assert verdicts.put("ann", verdict(950), NOW)
    assert verdicts.get("ann", NOW) == verdict(950)


def test_while_the_state_is_read_nothing_changes() -> None:
    """Then only what is news is told: what it says last, which is not what it says first."""
    verdicts = Verdicts[str]()
    verdicts.put("ann", verdict(100), NOW)
    verdicts.put("eve", verdict(500, stamped=False), NOW)
    verdicts.begin()
    for key, each in (
        ("ann", verdict(NOW, stamped=False)),
        ("ann", verdict(100)),
        ("bob", verdict(NOW, stamped=False)),
        ("bob", verdict(300)),
        ("bob", verdict(NOW, stamped=False)),
        ("bob", verdict(300)),
        ("eve", verdict(NOW, stamped=False)),
    ):
        assert not verdicts.put(key, each, NOW)
        assert verdicts.find(key) is not None
    assert verdicts.get("ann", NOW) == verdict(100)
    assert verdicts.get("bob", NOW) is None
    assert verdicts.end() == [("bob", verdict(NOW, stamped=False))]
    assert verdicts.put("bob", verdict(NOW, stamped=False), NOW)
    assert verdicts.get("eve", NOW) == verdict(500, stamped=False)


def test_beyond_the_bound_those_go_first_that_have_ended_then_those_that_end_soonest() -> None:
    """A flood of decisions does not grow the table; what is lost is counted."""
    verdicts = Verdicts[str](bound=3)
    verdicts.put("ended", verdict(900, until=1_001), NOW)
    verdicts.put("soon", verdict(900, until=2_000), NOW)
    verdicts.put("later", verdict(900, until=3_000), NOW)
    verdicts.put("last", verdict(900, until=4_000), 1_002)
    assert {key for key, _ in verdicts} == {"soon", "later", "last"}
    assert verdicts.dropped == 0
    verdicts.put("more", verdict(900, until=5_000), 1_002)
    assert {key for key, _ in verdicts} == {"later", "last", "more"}
    assert verdicts.dropped == 1


@pytest.mark.parametrize(
    ("claims", "revoked"),
    [
        ({"iat": 899}, True),
        ({"iat": 900}, True),
        ({"iat": 900.9}, True),
        ({"iat": 901}, False),
        ({"iat": 10**400}, False),
        ({}, True),
        ({"iat": "901"}, True),
        ({"iat": True}, True),
        ({"iat": 1, "tenant": "acme"}, False),
    ],
)
def test_a_revocation_covers_what_was_issued_before_it_or_says_nothing(
    claims: dict[str, object], revoked: bool
) -> None:
    """Whole seconds: what was issued in the second of the revocation may be older than it."""
    revocations = Revocations()
    revocations.put("ann", verdict(900), NOW)
    assert revocations.covers(principal(**claims), NOW) is revoked


def test_a_user_is_shut_out_of_one_system_or_of_all() -> None:
    """Whichever ends later."""
    exclusions = Exclusions()
    assert exclusions.ends("portal", "ann", NOW) is None
    exclusions.put(("portal", "ann"), verdict(900, until=2_000), NOW)
    assert exclusions.ends("portal", "ann", NOW) == 2_000
    assert exclusions.ends("summit", "ann", NOW) is None
    exclusions.put(("", "ann"), verdict(900, until=3_000), NOW)
    assert exclusions.ends("portal", "ann", NOW) == 3_000
    assert exclusions.ends("summit", "ann", NOW) == 3_000
    assert exclusions.ends("portal", "bob", NOW) is None
