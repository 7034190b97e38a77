"""Rooms of commands: whole names as clients write them, and the rooms that a sender must be in."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import Code
from bridge.model import Join, Leave, PublishMessage, Refuse
from bridge.rules.command_plan import CommandPlan
from bridge.rules.compile import Rules
from bridge.rules.names import NameIndex, canonize_room, parse_room_pattern, quote
from tests.support.rules import compile_project, find_faults, send, sign_in

BODIES = """
    from msgspec import UNSET, Struct

    class Rooms(Struct):
        room: object = UNSET
        rooms: list[object] = []
"""

ROUTES = """
exchange: shop.events
commands_exchange: shop.commands
schemas: shop
namespaces:
  /desk/{desk}:
    rooms:
      agent:{agent}: {}
      project:{project}: {allow: {projects: "{project}"}}
      own:{desk}: {}
      run:{tenant}:{run}: {allow: {tenant: "{tenant}"}}
      dashboard: {}
    commands:
      subscribe: {schema: Rooms, join: "{body.room}", ack: {room: "{body.room}", users: "{room.users}"}}
      subscribe_all: {schema: Rooms, join: ["{body.rooms[]}", dashboard]}
      unsubscribe: {schema: Rooms, leave: "{body.room}"}
      tell: {schema: Rooms, inside: "{body.room}", publish: "desk.{desk}.tell"}
      say: {inside: "own:{desk}", publish: "desk.{desk}.say"}
      shout: {inside: "project:{user.project}", publish: "desk.{desk}.shout"}
  /open:
    auth: {required: false}
    allow: {roles: staff}
    rooms:
      project:{project}: {allow: {projects: "{project}"}}
    commands:
      join: {schema: Rooms, allow: {roles: staff}, join: "{body.room}"}
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    """A desk whose clients name rooms themselves."""
    return compile_project(tmp_path_factory.mktemp("desk"), ROUTES, bodies=BODIES)


def actions(found: CommandPlan | Refuse) -> tuple[object, ...]:
    """The actions of a plan, which is no refusal."""
    assert isinstance(found, CommandPlan), found
    return found.actions


def code(found: CommandPlan | Refuse) -> Code:
    """The code of a refusal."""
    assert isinstance(found, Refuse), found
    return found.code


@pytest.mark.parametrize(
    ("name", "room"),
    [
        ("agent:7", "agent:7"),
        ("agent:zoë", "agent:zo%C3%AB"),
        ("agent:a/b", "agent:a%2Fb"),
        ("agent:a%3Ab", "agent:a%253Ab"),
        ("dashboard", "dashboard"),
        ("own:north", "own:north"),
        ("run:acme:1", "run:acme:1"),
    ],
)
def test_a_room_is_joined_by_its_whole_name(rules: Rules, name: str, room: str) -> None:
    """It is made canonical, as templates of events render it."""
    found = send(rules, "/desk/north", "subscribe", {"room": name}, principal=sign_in(tenant="acme"))
    assert actions(found) == (Join(rooms=(room,)),)
    assert actions(send(rules, "/desk/north", "unsubscribe", {"room": name})) == (Leave(rooms=(room,)),)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "agent:",
        "agent",
        "agent:a:b",
        "agent:a b",
        "agent:a.b",
        "agent:*",
        "agent:#",
        "agent:\n",
        "agent:7\n",
        "Agent:7",
        "dashboard ",
        "own:south",
        "run:acme",
        "run::1",
        "agent:" + "x" * 129,
        "x" * 100_000,
        "run:" * 20_000,
    ],
)
def test_a_name_that_fits_no_entry_is_unknown(rules: Rules, name: str) -> None:
    """Joining and leaving alike; words are key words without `:`, those of the namespace its own."""
    assert code(send(rules, "/desk/north", "subscribe", {"room": name})) is Code.UNKNOWN_ROOM
    assert code(send(rules, "/desk/north", "unsubscribe", {"room": name})) is Code.UNKNOWN_ROOM


def test_a_room_of_others_is_forbidden(rules: Rules) -> None:
    """Its name is known, but the claims do not allow it."""
    principal = sign_in(projects=["apollo"], tenant="acme")
    for name in ("project:gemini", "run:other:1"):
        found = send(rules, "/desk/north", "subscribe", {"room": name}, principal=principal)
        assert code(found) is Code.FORBIDDEN
    found = send(rules, "/desk/north", "subscribe", {"room": "project:apollo"}, principal=principal)
    assert actions(found) == (Join(rooms=("project:apollo",)),)


@pytest.mark.parametrize("value", [7, True, ["agent:7"], {"room": "agent:7"}])
def test_a_name_that_is_no_text_is_invalid(rules: Rules, value: object) -> None:
    """The client is told where."""
    found = send(rules, "/desk/north", "subscribe", {"room": value})
    assert code(found) is Code.VALIDATION_FAILED
    assert isinstance(found, Refuse)
    assert found.details == ({"message": "must be the name of a room", "path": ["room"]},)


def test_no_name_at_all_joins_nothing(rules: Rules) -> None:
    """An absent or null room is no room."""
    for body in ({}, {"room": None}):
        assert code(send(rules, "/desk/north", "subscribe", body)) is Code.FORBIDDEN
        assert actions(send(rules, "/desk/north", "unsubscribe", body)) == ()


def test_several_names_are_joined_together_or_not_at_all(rules: Rules) -> None:
    """Each once, besides those of templates; 1,000 at most."""
    found = send(rules, "/desk/n", "subscribe_all", {"rooms": ["agent:1", "agent:2", "agent:1"]})
    assert actions(found) == (Join(rooms=("dashboard", "agent:1", "agent:2")),)
    found = send(rules, "/desk/n", "subscribe_all", {"rooms": ["agent:1", "nothing"]})
    assert code(found) is Code.UNKNOWN_ROOM
    found = send(rules, "/desk/n", "subscribe_all", {"rooms": [f"agent:{i}" for i in range(1001)]})
    assert code(found) is Code.VALIDATION_FAILED


def test_the_sender_may_have_to_be_in_a_room(rules: Rules) -> None:
    """The plan says in which; the flow knows where the client is."""
    found = send(rules, "/desk/north", "say")
    assert isinstance(found, CommandPlan)
    assert found.inside == ("own:north",)
    assert isinstance(found.actions[0], PublishMessage)
    named = send(rules, "/desk/north", "tell", {"room": "agent:7"})
    assert isinstance(named, CommandPlan)
    assert named.inside == ("agent:7",)
    assert code(send(rules, "/desk/north", "tell", {"room": "nothing"})) is Code.UNKNOWN_ROOM


def test_no_room_to_be_in_is_forbidden(rules: Rules) -> None:
    """Where the value is missing nobody can be inside."""
    assert code(send(rules, "/desk/north", "tell", {})) is Code.FORBIDDEN
    assert code(send(rules, "/desk/north", "shout")) is Code.FORBIDDEN


def test_an_open_namespace_asks_nobody(rules: Rules) -> None:
    """No `allow` is asked there: of the namespace, of its commands, of its rooms."""
    found = rules.match_namespace("/open")
    assert found is not None
    assert found[0].allow.permits({}, {})
    joined = send(rules, "/open", "join", {"room": "project:apollo"}, principal=sign_in(""))
    assert actions(joined) == (Join(rooms=("project:apollo",)),)


@given(st.lists(st.text(max_size=12), min_size=2, max_size=2))
def test_a_canonical_name_is_the_one_that_events_render(words: list[str]) -> None:
    """Whatever a client writes names the room of exactly these words, or none."""
    index = NameIndex([(parse_room_pattern("run:{tenant}:{run}"), "run")])
    room = canonize_room(index, f"run:{words[0]}:{words[1]}")
    if room is not None:
        assert room == f"run:{quote(words[0])}:{quote(words[1])}"
        assert index.find(room) == ("run", {"tenant": words[0], "run": words[1]})


FAULTS = [
    ('{schema: Rooms, join: "{body.room:-x}"}', "join: ", "takes no default"),
    ('{schema: Rooms, join: "{body.roam}"}', "join: ", 'unknown field "roam"'),
    ('{schema: Rooms, inside: "own:{nobody}", publish: a}', "inside[0]: ", 'unknown word "nobody"'),
    ('{schema: Rooms, inside: "{body.room}"}', "inside: ", "has no effect without publish or request"),
]


@pytest.mark.parametrize(("command", "place", "text"), FAULTS)
def test_misuse_is_told(tmp_path: Path, command: str, place: str, text: str) -> None:
    """With its place."""
    routes = ROUTES.replace("      say: {", f"      bad: {command}\n      say: {{")
    [fault] = find_faults(tmp_path, routes, bodies=BODIES)
    assert f"commands.bad.{place}" in fault
    assert text in fault


def test_a_namespace_without_rooms_has_none_to_name(tmp_path: Path) -> None:
    """A whole name could never fit."""
    routes = """
exchange: shop.events
schemas: shop
namespaces:
  /desk:
    commands: {subscribe: {schema: Rooms, join: "{body.room}"}}
"""
    [fault] = find_faults(tmp_path, routes, bodies=BODIES)
    assert "the namespace has none" in fault
