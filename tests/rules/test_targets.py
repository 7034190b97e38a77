"""Rooms and routing keys: what no name may hold never reaches one, and no value reaches into another."""

import itertools
import re
from enum import Enum
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from bridge.rules.names import parse_room_pattern, quote
from bridge.rules.scope import BadValue, Known, Scope, TemplateError
from bridge.rules.targets import MAX_ROOMS, compile_key, compile_rooms
from bridge.rules.words import is_id, is_key_word

_ROOTS = frozenset({"body", "user", "header"})
EVENT = Known(words=frozenset({"project", "a", "b"}), roots=_ROOTS)
COMMAND = Known(words=frozenset({"project"}), roots=_ROOTS, client=True)


class Kind(Enum):
    """An enumeration whose value is the text in JSON."""

    BIG = "big one"


_VALUES = st.text(max_size=8) | st.sampled_from(["*", "a.b", "#", "x" * 129, "apollo", "é:/%"])


@given(st.lists(_VALUES, max_size=4), st.lists(_VALUES, max_size=4), _VALUES)
def test_rooms_are_the_product_of_their_valid_values(
    events: list[str], projects: list[str], tenant: str
) -> None:
    """Lists expand to every combination; a value of an event that is no id names no room."""
    rooms = compile_rooms(["w:{body.events[]}:{user.projects[]}:{header.tenant}", "all"], EVENT)
    scope = Scope(body={"events": events}, user={"projects": projects}, header={"tenant": tenant})
    fits = [
        f"w:{quote(event)}:{quote(project)}:{quote(tenant)}"
        for event, project in itertools.product(events, projects)
        if is_id(event) and event != "*" and is_id(project) and is_id(tenant) and tenant != "*"
    ]
    assert rooms.render(scope) == tuple(dict.fromkeys([*fits, "all"]))
    assert rooms.fault(scope) is None


@given(_VALUES, _VALUES, _VALUES, _VALUES)
def test_no_two_pairs_of_values_name_one_room(a: str, b: str, c: str, d: str) -> None:
    """`a:b` and `c` never name the room of `a` and `b:c`."""
    rooms = compile_rooms(["r:{a}:{b}"], EVENT)
    first, second = rooms.render(Scope(words={"a": a, "b": b})), rooms.render(Scope(words={"a": c, "b": d}))
    assert not first or (first == second) == ((a, b) == (c, d))


@given(_VALUES)
def test_a_rendered_room_is_one_that_its_pattern_matches(value: str) -> None:
    """Templates and patterns of rooms agree about quoting."""
    for room in compile_rooms(["project:{header.p}"], EVENT).render(Scope(header={"p": value})):
        assert parse_room_pattern("project:{project}").match(room) == {"project": value}


@given(_VALUES)
def test_a_client_value_is_a_key_word_or_a_fault(value: str) -> None:
    """What a client's body says either names its room or is told to be wrong, never both."""
    rooms = compile_rooms(["project:{body.project_name}"], COMMAND)
    scope = Scope(body={"project_name": value})
    if is_key_word(value):
        assert rooms.render(scope) == (f"project:{quote(value)}",)
        assert rooms.fault(scope) is None
    else:
        assert rooms.render(scope) == ()
        fault = rooms.fault(scope)
        assert fault is not None
        assert (fault.path, fault.client) == (("project_name",), True)


def test_a_fault_names_the_element() -> None:
    """The client learns which element of its list is wrong."""
    rooms = compile_rooms(["{body.a[].b[]}"], COMMAND)
    fault = rooms.fault(Scope(body={"a": [{"b": ["x"]}, {"b": ["y", "no good"]}]}))
    assert fault is not None
    assert fault.path == ("a", 1, "b", 1)


def test_a_client_may_not_say_all() -> None:
    """`*` names all projects in a list of claims; from a client or an event it names no room."""
    rooms = compile_rooms(["p:{body.p:-{user.projects[]}}"], COMMAND)
    assert rooms.render(Scope(user={"projects": ["*", "a"]}, body={})) == ("p:*", "p:a")
    assert rooms.render(Scope(user={"projects": ["*"]}, body={"p": "*"})) == ()
    assert compile_rooms(["p:{body.p}"], EVENT).render(Scope(body={"p": "*"})) == ()
    assert compile_rooms(["p:{user.sub}"], EVENT).render(Scope(user={"sub": "*"})) == ()


def test_a_default_stands_in_for_what_is_missing_not_for_what_is_wrong() -> None:
    """A client cannot reach the default's rooms with a value that is refused."""
    rooms = compile_rooms(["p:{body.p:-{user.projects[]}}"], COMMAND)
    claims = {"projects": ["a", "b c", "d"]}
    assert rooms.render(Scope(user=claims, body={"p": None})) == ("p:a", "p:d")
    assert rooms.fault(Scope(user=claims, body={})) is None
    assert rooms.render(Scope(user=claims, body={"p": "a b"})) == ()
    assert rooms.fault(Scope(user=claims, body={"p": "a b"})) is not None
    assert compile_rooms(["t:{header.tenant:-a:b}"], EVENT).render(Scope()) == ("t:a%3Ab",)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (5, ("r:5",)),
        (Kind.BIG, ()),
        (UUID(int=1), ("r:00000000-0000-0000-0000-000000000001",)),
        (True, ()),
        (1.5, ()),
        (None, ()),
        ("", ()),
        (["a"], ()),
        ({"a": 1}, ()),
        (b"a", ()),
        ("a\n", ()),
        ("\ud800", ()),
        ("日本", ("r:%E6%97%A5%E6%9C%AC",)),
    ],
)
def test_only_ids_name_rooms(value: object, expected: tuple[str, ...]) -> None:
    """Text, whole numbers and what JSON writes as text; nothing else has a place in a name."""
    assert compile_rooms(["r:{body.x}"], EVENT).render(Scope(body={"x": value})) == expected


def test_a_scalar_is_a_list_of_one() -> None:
    """`{x[]}` takes a single value as well."""
    rooms = compile_rooms(["p:{user.projects[]}"], EVENT)
    assert rooms.render(Scope(user={"projects": "a"})) == ("p:a",)
    assert rooms.render(Scope(user={})) == ()


def test_constant_rooms_are_rendered_once() -> None:
    """Rooms without a value are made when the configuration is read."""
    rooms = compile_rooms(["global", "x:y", "global"], EVENT)
    assert rooms.render(Scope()) == ("global", "x:y")
    assert rooms.render(Scope()) is rooms.render(Scope())
    assert rooms.roots == frozenset()


def test_lists_cannot_multiply_without_end() -> None:
    """More rooms than the bound are none, and a fault says why."""
    rooms = compile_rooms(["{body.a[]}:{body.b[]}"], COMMAND)
    many = [str(number) for number in range(40)]
    scope = Scope(body={"a": many, "b": many})
    assert rooms.render(scope) == ()
    assert rooms.fault(scope) == BadValue(
        message=f"must not name more than {MAX_ROOMS} rooms", path=(), client=True
    )
    one = compile_rooms(["{body.a[]}"], COMMAND)
    assert one.render(Scope(body={"a": [str(number) for number in range(MAX_ROOMS + 1)]})) == ()


@given(_VALUES, _VALUES)
def test_a_routing_key_is_made_of_key_words(project: str, user: str) -> None:
    """A value cannot add words or wildcards to a key."""
    key = compile_key("chat.{project}.{user.sub}.send", COMMAND).render(
        Scope(words={"project": project}, user={"sub": user})
    )
    if is_key_word(project) and is_key_word(user):
        assert key == f"chat.{project}.{user}.send"
    else:
        assert isinstance(key, BadValue)


def test_a_key_says_what_is_missing_and_what_is_too_long() -> None:
    """The outcome is a value that says where the fault lies."""
    key = compile_key("a.{body.x}", COMMAND)
    assert key.render(Scope(body={})) == BadValue(message="is missing", path=("x",), client=True)
    assert key.render(Scope(body={"x": 5})) == "a.5"
    long = key.render(Scope(body={"x": "é" * 127}))
    assert long == BadValue(message="is too long for a routing key", path=(), client=True)
    assert key.render(Scope(body={"x": "é" * 126})) == "a." + "é" * 126
    claim = compile_key("a.{user.sub}", COMMAND).render(Scope(user={"sub": "a.b"}))
    assert isinstance(claim, BadValue)
    assert (claim.path, claim.client) == (("user", "sub"), False)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "needs a name"),
        ("{a}{b}", "apart"),
        ("{a}-{b}", "apart"),
        ("{a}{b:-x}", "apart"),
        ("r {a}", "cannot stand"),
        ("r:{projekt}", "unknown word"),
        ("r:{a:-x y}", "the default"),
        ("r:{a:-}", "the default"),
        ("r:{a:-x{b}}", "must be text or one placeholder"),
    ],
)
def test_a_bad_room_template_says_why(text: str, reason: str) -> None:
    """Every template that is refused names its mistake and which of the list it is."""
    with pytest.raises(TemplateError, match=re.escape(reason)) as caught:
        compile_rooms(["fine", text], EVENT)
    assert [problem.path for problem in caught.value.problems] == ["[1]"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no routing key"),
        ("a..b", "no routing key"),
        ("a.*", "no routing key"),
        ("a.#", "no routing key"),
        ("a.{projekt}", "unknown word"),
        ("a.{body.x[]}", "one routing key"),
        ("a.{project:-b.c}", "the default"),
    ],
)
def test_a_bad_key_template_says_why(text: str, reason: str) -> None:
    """A key is checked as far as it is constant."""
    with pytest.raises(TemplateError, match=re.escape(reason)):
        compile_key(text, COMMAND)


def test_a_typed_body_names_rooms() -> None:
    """Fields of a Struct are read by their names in JSON, lists of Structs too."""

    class Item(Struct, rename="camel"):
        item_id: str

    class Order(Struct):
        items: list[Item]

    known = Known(roots=_ROOTS, body=Order, client=True)
    rooms = compile_rooms(["i:{body.items[].itemId}"], known)
    assert rooms.render(Scope(body=Order([Item("a"), Item("b")]))) == ("i:a", "i:b")
    with pytest.raises(TemplateError, match=r'unknown field "id" in body.items \(known: itemId\)'):
        compile_rooms(["i:{body.items[].id}"], known)
