"""Bodies of open Structs, and the fields that the bridge reads itself."""

from pathlib import Path

import msgspec
import pytest

from bridge.errors import Code
from bridge.model import Join, Place, PublishMessage, Refuse
from bridge.rules.command_plan import CommandPlan
from bridge.rules.compile import Rules
from bridge.rules.event_plan import plan_event
from bridge.rules.since import Age
from bridge.state.cursors import Cursor
from tests.support.rules import compile_project, deliver, find_faults, send, to_json

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


JOINING = """
exchange: shop.events
commands_exchange: shop.commands
schemas: shop
namespaces:
  /shop:
    rooms: {"board:{board}": {}}
    commands:
      watch: {schema: Watch, join: "board:{body.board}", ack: {board: "{body.board}"}}
      look: {schema: Watch, args: [board], join: "board:{body.board}"}
      open: {schema: Pin, join: "board:{body.board}"}
      hide: {schema: Watch, leave: "board:{body.board}"}
"""
WATCH = """
    class Watch(Struct, forbid_unknown_fields=True):
        board: str
"""


@pytest.fixture(scope="module")
def joining(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    """Boards that may be joined by commands of every shape."""
    return compile_project(tmp_path_factory.mktemp("joining"), JOINING, bodies=BODIES + WATCH)


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("watch", [{"board": "b", "since": "30s"}]),
        ("open", [{"board": "b", "since": "30s"}]),
        ("look", ["b", {"since": "30s"}]),
    ],
)
def test_a_command_that_joins_takes_since(joining: Rules, command: str, args: list[object]) -> None:
    """Beside the fields of its schema, whatever their shape."""
    plan = send(joining, "/shop", command, *args)
    assert isinstance(plan, CommandPlan), plan
    assert plan.since == Age(30.0)
    assert plan.actions == (Join(rooms=("board:b",)),)


def test_since_may_be_a_cursor_or_null(joining: Rules) -> None:
    """Null is as if it were left out, and so is all that JavaScript makes of what is not set."""
    plan = send(joining, "/shop", "watch", {"board": "b", "since": "12-0a0b0c0d"})
    assert isinstance(plan, CommandPlan)
    assert plan.since == Cursor(Place(12, 0x0A0B0C0D))
    for command, args in (
        ("watch", [{"board": "b", "since": None}]),
        ("watch", [{"board": "b"}]),
        ("look", ["b", {"since": None}]),
        ("look", ["b", {}]),
        ("look", ["b", None]),
        ("look", ["b"]),
    ):
        plan = send(joining, "/shop", command, *args)
        assert isinstance(plan, CommandPlan)
        assert plan.since is None


@pytest.mark.parametrize(
    "since",
    [
        "",
        "30",
        "-30s",
        "12-0a0b0c0d ",
        "12-0A0B0C0D",
        "x" * 65,
        "9" * 64 + "s",
        "٣s",
        30,
        True,
        [],
        {},
        ["30s"],
    ],
)
def test_a_since_that_is_none_is_refused(joining: Rules, since: object) -> None:
    """With its place; it is neither a cursor nor an age."""
    for command, args in (
        ("watch", [{"board": "b", "since": since}]),
        ("open", [{"board": "b", "since": since}]),
        ("look", ["b", {"since": since}]),
    ):
        found = send(joining, "/shop", command, *args)
        assert isinstance(found, Refuse)
        assert found.code is Code.VALIDATION_FAILED
        assert found.details is not None
        assert found.details[0]["path"] == ["since"]


@pytest.mark.parametrize("last", [{"more": 1}, {"since": "30s", "more": 1}, [], False, "30s", b"30s"])
def test_nothing_but_since_may_stand_behind_the_arguments(joining: Rules, last: object) -> None:
    """Two arguments are one too many, unless the second says since when."""
    found = send(joining, "/shop", "look", "b", last)
    assert isinstance(found, Refuse)
    assert found.code is Code.VALIDATION_FAILED


def test_a_command_that_joins_nothing_takes_no_since(joining: Rules) -> None:
    """It is an unknown field."""
    found = send(joining, "/shop", "hide", {"board": "b", "since": "30s"})
    assert isinstance(found, Refuse)
    assert found.code is Code.VALIDATION_FAILED


def test_the_bridges_own_words_of_a_join_may_not_be_taken(tmp_path: Path) -> None:
    """Neither the field that clients add, nor those of the answer to it."""
    routes = """
        exchange: shop.events
        schemas: shop
        namespaces:
          /shop:
            rooms: {"board:{board}": {}}
            commands:
              since: {schema: Since, join: "board:{body.board}"}
              ack: {schema: Watch, join: "board:{body.board}", ack: {offset: 1}}
              emit: {schema: Watch, join: "board:{body.board}", emit: {seen: {recovered: yes}}}
              leave: {schema: Since, leave: "board:{body.board}", ack: {offset: 1, recovered: no}}
    """
    bodies = BODIES + WATCH + WATCH.replace("Watch", "Since") + "        since: str = ''\n"
    place = "routes/shop.yaml: namespaces./shop.commands"
    assert find_faults(tmp_path, routes, bodies=bodies) == [
        f'{place}.since: "since" is a field of the bridge itself where rooms are joined (take another name)',
        f'{place}.ack.ack: "offset" is the bridge\'s own answer to "since" (take another name)',
        f'{place}.emit.emit.seen: "recovered" is the bridge\'s own answer to "since" (take another name)',
    ]
