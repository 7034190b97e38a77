"""Orders about sessions that come from elsewhere: those alone that were not obeyed there."""

from collections.abc import Callable

import pytest

from bridge.state.recent_orders import RecentOrders
from tests.state.test_lost_sessions import lose


@pytest.fixture
def orders() -> RecentOrders:
    """For two minutes, and three at most."""
    return RecentOrders(120, 3)


def only(identity: str) -> Callable[[str, str], bool]:
    """Whom an order is about."""
    return lambda found, namespace: (found, namespace) == (identity, "/n")


def test_what_was_said_since_a_session_was_lost_is_obeyed(orders: RecentOrders) -> None:
    """It was lost at 5: what was said until then its own instance has obeyed."""
    orders.note(5, only("ann"), "", 1000)
    assert orders.apply(lose("a")) == lose("a")
    orders.note(6, only("ann"), "", 1000)
    left = orders.apply(lose("a"))
    assert left is not None
    assert left.rooms == {}
    assert orders.apply(lose("b", "bob")) == lose("b", "bob")
    orders.note(7, only("ann"), None, 1000)
    assert orders.apply(lose("a")) is None
    assert orders.apply(lose("b", "bob")) == lose("b", "bob")


def test_whoever_is_older_than_what_was_forgotten_does_not_go_on(orders: RecentOrders) -> None:
    """Nobody can tell whether one of those was about it."""
    for offset in (5, 6, 7):
        orders.note(offset, only("eve"), None, 1000)
    orders.note(8, only("eve"), None, 1000)
    assert orders.apply(lose("a")) == lose("a")
    orders.note(9, only("eve"), None, 1000)
    assert orders.apply(lose("a")) is None


def test_orders_are_kept_as_long_as_sessions_are(orders: RecentOrders) -> None:
    """Whoever was lost before them has no time left."""
    orders.note(6, only("ann"), "", 1000)
    orders.note(9, only("eve"), None, 1119)
    left = orders.apply(lose("a"))
    assert left is not None
    assert left.rooms == {}
    orders.note(10, only("eve"), None, 1120)
    assert orders.apply(lose("a")) is None


def test_with_another_log_all_is_forgotten(orders: RecentOrders) -> None:
    """Its offsets begin anew."""
    for offset in range(50, 60):
        orders.note(offset, only("ann"), None, 1000)
    orders.clear()
    assert orders.apply(lose("a")) == lose("a")
    orders.note(5, only("ann"), None, 1000)
    assert orders.apply(lose("a")) == lose("a")


def test_a_window_of_no_time_keeps_no_order() -> None:
    """Nor does it keep any session."""
    orders = RecentOrders(0)
    orders.note(5, only("ann"), None, 1000)
    assert orders.apply(lose("a")) == lose("a")
