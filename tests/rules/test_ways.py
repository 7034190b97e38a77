"""Ways: what the routing key alone decides is rendered once, whatever it is asked for how often."""

from pathlib import Path

import pytest

from bridge.model import EVERYONE, RoomRef
from bridge.rules import ways as ways_module
from bridge.rules.compile import Rules
from tests.support.rules import compile_project

ROUTES = """
exchange: shop.events
schemas: shop
namespaces:
  /order/{id}:
    events:
      order.{id}.made: {schema: Order, remember: "order:{id}"}
      order.{id}.moved: {schema: Order, rooms: ["order:{id}", "all"]}
      order.{id}.noted: {schema: Order, rooms: "note:{body.note}", remember: "note:{body.note}"}
"""


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    """A shop whose rooms come from the key or from the body."""
    return compile_project(tmp_path, ROUTES)


def test_what_the_key_decides_is_rendered(rules: Rules) -> None:
    """Namespace, event and rooms stand, when only words of the key are in them."""
    (made,) = rules.ways.find("shop.events", "order.7.made")
    assert (made.namespace, made.event, made.rooms) == ("/order/7", "made", (EVERYONE,))
    assert made.remember == (RoomRef(system="shop", room="order:7"),)
    (moved,) = rules.ways.find("shop.events", "order.7.moved")
    assert (moved.rooms, moved.remember) == (("order:7", "all"), ())


def test_what_the_body_decides_is_left_open(rules: Rules) -> None:
    """Rooms that the body names are rendered for each event."""
    (noted,) = rules.ways.find("shop.events", "order.7.noted")
    assert (noted.rooms, noted.remember) == (None, None)


def test_ways_are_found_once(rules: Rules) -> None:
    """The same key gives the same ways; another one, or an exchange that nobody knows, its own."""
    first = rules.ways.find("shop.events", "order.7.made")
    assert rules.ways.find("shop.events", "order.7.made") is first
    assert rules.ways.find("shop.events", "order.8.made")[0].namespace == "/order/8"
    assert rules.ways.find("shop.events", "nothing") == ()
    assert rules.ways.find("other.events", "order.7.made") == ()


def test_what_is_kept_is_bounded(rules: Rules, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound ways are found anew, and are the same."""
    monkeypatch.setattr(ways_module, "_KEPT", 2)
    first = rules.ways.find("shop.events", "order.1.made")
    for number in range(2, 5):
        rules.ways.find("shop.events", f"order.{number}.made")
    assert len(rules.ways._kept) <= 2
    assert rules.ways.find("shop.events", "order.1.made") == first
