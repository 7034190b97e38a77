"""Bodies of open Structs: what is not named goes on, what the bridge stamps or reads itself does not."""

from pathlib import Path

import msgspec
import pytest

from bridge.errors import Code
from bridge.model import PublishMessage, Refuse
from bridge.rules.command_plan import CommandPlan
from bridge.rules.compile import Rules
from bridge.rules.event_plan import plan_event
from tests.support.rules import compile_project, deliver, send, to_json

BODIES = """
    from typing import ClassVar
    from msgspec import Struct

    class Pin(Struct):
        keep_unknown_fields: ClassVar[bool] = True
        board: str
        items: str = "none"
"""

ROUTES = """
exchange: shop.events
commands_exchange: shop.commands
schemas: shop
namespaces:
  /shop:
    events:
      pin.{id}.put: {schema: Pin, rooms: ["board:{body.board}", "of:{body.items}"]}
    commands:
      pin:
        schema: Pin
        publish: pin.{body.board}.put
        set: {by: "{user.sub}", board_of: "{body.items:-x}"}
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    """A board on which anything may be pinned."""
    folder: Path = tmp_path_factory.mktemp("shop")
    return compile_project(folder, ROUTES, bodies=BODIES)


def pin(rules: Rules, **body: object) -> tuple[CommandPlan, dict[str, object]]:
    """Plan a command; returns the plan and what is published."""
    found = send(rules, "/shop", "pin", body)
    assert isinstance(found, CommandPlan), found
    (message,) = found.actions
    assert isinstance(message, PublishMessage)
    return found, msgspec.json.decode(message.body)


def test_an_open_command_is_published_whole(rules: Rules) -> None:
    """Fields of any name and type go on; those that the bridge stamps win over the client's."""
    _, published = pin(rules, board="b", deep={"x": [None, 1.5]}, by="eve", keys=1, __proto__="p")
    assert published == {
        "board": "b",
        "deep": {"x": [None, 1.5]},
        "keys": 1,
        "__proto__": "p",
        "by": "ann",
        "board_of": "x",
    }


def test_a_field_with_the_name_of_a_method_is_a_field(rules: Rules) -> None:
    """`items` of the body is the client's, not a mapping's method."""
    assert pin(rules, board="b", items="i")[1]["board_of"] == "i"


def test_an_idempotency_key_of_an_open_command_is_read(rules: Rules) -> None:
    """It is not taken for a field of the body."""
    plan, published = pin(rules, board="b", idempotency_key="k-1")
    assert plan.idempotency_key == "k-1"
    assert "idempotency_key" not in published


@pytest.mark.parametrize(
    "body", [{}, {"board": 5}, {"board": "b", "items": 1}, {"board": "a.b"}, [], "text", 5]
)
def test_what_an_open_command_names_must_fit(rules: Rules, body: object) -> None:
    """Named fields are checked, and the body is an object."""
    found = send(rules, "/shop", "pin", body)
    assert isinstance(found, Refuse)
    assert found.code is Code.VALIDATION_FAILED


def test_an_open_event_is_sent_whole(rules: Rules) -> None:
    """Rooms read its named fields, browsers receive all of it."""
    body = {"board": "b", "items": "i", "more": {"x": []}}
    (emission,) = plan_event(rules, deliver("pin.1.put", body), 0.0).emissions
    assert emission.rooms == ("board:b", "of:i")
    assert to_json(emission.args) == [body]


def test_a_body_of_any_depth_is_published_or_refused(rules: Rules) -> None:
    """Decoding and encoding give up at different depths: neither is a fault of the bridge."""
    published = set()
    for depth in range(1, 1200):
        deep = msgspec.Raw(b"[" * depth + b"]" * depth)
        found = send(rules, "/shop", "pin", {"board": "b", "deep": deep})
        if isinstance(found, Refuse):
            assert found.code is Code.VALIDATION_FAILED
        published.add(isinstance(found, CommandPlan))
    assert published == {True, False}
