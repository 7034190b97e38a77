"""Values of any type from templates, checked against the body's type when they are compiled."""

import re
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Raw, Struct, UnsetType

from bridge.rules.scope import MISSING, ROOTS, Known, RoomView, Scope, TemplateError
from bridge.rules.sources import format_time
from bridge.rules.templates import compile_text, compile_value


class Task(Struct, rename="camel"):
    """A part of a body whose fields have other names in JSON."""

    task_id: str
    state: str | None = None


class Body(Struct, tag_field="type", tag="task.updated"):
    """A body with every kind of field."""

    name: str
    task: Task | None = None
    note: str | UnsetType | None = UNSET
    tags: list[str] = []
    tasks: list[Task] = []
    extra: dict[str, int] = {}
    anything: object = None
    raw: Raw = Raw()


KNOWN = Known(words=frozenset({"project"}), roots=ROOTS, body=Body)
SCOPE = Scope(
    words={"project": "apollo"},
    body=Body("n", Task("t1"), tags=["a", "b"], extra={"x": 1}, anything={"deep": [1]}),
    header={"tenant": "acme", "x-sid": "s9"},
    message={"id": "m1"},
    user={"sub": "u1", "projects": ["p", "q"], "admin": True},
    sid="s1",
    now=1769860800.0005,
    uuid_of="m1",
    room=RoomView(users=3, last={"state_change": {"new_state": "DONE"}}, last_activity=1.5),
    error={"code": "FORBIDDEN", "retry_after": 1.5},
)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        (5, 5),
        (None, None),
        ("{project}", "apollo"),
        ("{project}!", "apollo!"),
        ("{body.name}", "n"),
        ("{body.type}", "task.updated"),
        ("{body.task.taskId}", "t1"),
        ("{body.task.state}", None),
        ("{body.tags}", ["a", "b"]),
        ("{body.extra.x}", 1),
        ("{body.extra.y}", MISSING),
        ("{body.anything.deep}", [1]),
        ("{body.anything.deep.x}", MISSING),
        ("{body.note}", MISSING),
        ("{body.note:-none}", "none"),
        ("{body.note:-null}", None),
        ("{body.note:-[1, 2]}", [1, 2]),
        ("{body.note:-7}", 7),
        ("{body.note:-}", ""),
        ("{body.note:-{user.projects}}", ["p", "q"]),
        ("{body.note:-{body.task.state:-{header.nothing:-3}}}", 3),
        ("{body.note:-x{project}}", "xapollo"),
        ("{body.task.state:-fresh}", "fresh"),
        ("<{body.note:-7}>", "<7>"),
        ("<{body.note}>", MISSING),
        ("<{body.task.state}>", MISSING),
        ("{header.tenant}", "acme"),
        ("{header.x-sid}", "s9"),
        ("{message.id}", "m1"),
        ("{user.sub}", "u1"),
        ("{user.admin}", True),
        ("is {user.admin} of {user.projects}", 'is true of ["p","q"]'),
        ("{sid}", "s1"),
        ("{now}", "2026-01-31T12:00:00.000Z"),
        ("{now.ms}", 1769860800000),
        ("{uuid}", "ca996425-384f-58b0-8c25-be950041619d"),
        ("{room.users}", 3),
        ("{room.last.state_change.new_state}", "DONE"),
        ("{room.last.task_update.title:-null}", None),
        ("{room.last_activity}", "1970-01-01T00:00:01.500Z"),
        ("{error.code}", "FORBIDDEN"),
        ("{error.retry_after}", 1.5),
        ("{error.details}", MISSING),
        ("{{project}}", "{project}"),
        (["{body.note}", "{project}"], [None, "apollo"]),
        ({"a": {"b": "{body.note}", "c": "{project}"}, "d": 1}, {"a": {"c": "apollo"}, "d": 1}),
        ({"a": ["{project}"]}, {"a": ["apollo"]}),
    ],
)
def test_values(template: object, expected: object) -> None:
    """A template of one placeholder keeps the type; a missing value drops its key."""
    assert compile_value(template, KNOWN).render(SCOPE) == expected


def test_the_body_itself_is_a_value() -> None:
    """`{body}` is the whole payload."""
    assert compile_value("{body}", KNOWN).render(SCOPE) is SCOPE.body


def test_nothing_is_there_in_an_empty_scope() -> None:
    """What a scope does not hold is missing, not an error."""
    for name in (
        "{project}",
        "{body}",
        "{body.task.taskId}",
        "{sid}",
        "{uuid}",
        "{room.users}",
        "{user.sub}",
    ):
        assert compile_value(name, KNOWN).render(Scope()) is MISSING
    assert compile_value("{room.last_activity}", KNOWN).render(Scope(room=RoomView())) is MISSING


def test_a_body_of_plain_mappings_is_read_too() -> None:
    """A getter that was compiled for a Struct also reads the JSON that it came from."""
    template = compile_value("{body.task.taskId}", KNOWN)
    assert template.render(Scope(body={"task": {"taskId": "t2"}})) == "t2"
    assert template.render(Scope(body={"task": None})) is MISSING


def test_templates_tell_what_they_read() -> None:
    """A caller need not fill in what no template asks for."""
    template = compile_value({"a": "{project} {now}", "b": ["{body.note:-{user.sub}}"]}, KNOWN)
    assert template.roots == {"words", "now", "body", "user"}
    assert compile_value({"a": 1}, KNOWN).roots == frozenset()
    assert compile_text("x{uuid}", KNOWN).roots == {"uuid"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("task:{project}", "task:apollo"),
        ("{project}", "apollo"),
        ("{now.ms}", "1769860800000"),
        ("{body.note}", MISSING),
        ("{body.task.state}", MISSING),
        ("{body.note:-5}", "5"),
        ("plain", "plain"),
    ],
)
def test_text(text: str, expected: object) -> None:
    """A name is always text, or missing as a whole."""
    assert compile_text(text, KNOWN).render(SCOPE) == expected


@pytest.mark.parametrize(
    ("template", "path", "reason"),
    [
        ("{projekt}", "", 'unknown word "projekt" (known: project'),
        ({"a": {"b": ["x", "{projekt}"]}}, "a.b[1]", "unknown word"),
        ("{body.nmae}", "", 'unknown field "nmae" in body (known: anything, extra, name, note, raw, tags'),
        ("{body.task.task_id}", "", 'unknown field "task_id" in body.task (known: state, taskId)'),
        ("{body.name.first}", "", 'unknown field "first" in body.name (known: none)'),
        ("{body.tasks.taskId}", "", "write body.tasks[]"),
        ("{body.tags[]}", "", '"[]" is for rooms'),
        ("{project.x}", "", "nothing below it"),
        ("{user}", "", "needs a name below it"),
        ("{room}", "", "write {room.users}"),
        ("{room.last}", "", "needs an event"),
        ("{room.size}", "", "known: users, last, last_activity"),
        ("{room.users.x}", "", "nothing below it"),
        ("{now.s}", "", "known: ms"),
        ("{sid.x}", "", "nothing below it"),
        ("{error.text}", "", "known: type"),
        ("{message.key}", "", "known: id"),
        ("{body.note:-{nobody}}", "", 'unknown word "nobody"'),
        ({1: "x"}, "1", "is not text"),
        ("{project", "", "is not closed"),
    ],
)
def test_a_mistake_is_named_with_its_place(template: object, path: str, reason: str) -> None:
    """Unknown words and fields are found when the template is compiled, with those that are known."""
    with pytest.raises(TemplateError, match=re.escape(reason)) as caught:
        compile_value(template, KNOWN)
    assert [problem.path for problem in caught.value.problems] == [path]


def test_all_mistakes_are_named() -> None:
    """One compilation reports every problem in a value."""
    with pytest.raises(TemplateError) as caught:
        compile_value({"a": "{x}", "b": "{y}", "c": "{project}"}, KNOWN)
    assert [problem.path for problem in caught.value.problems] == ["a", "b"]


def test_a_place_knows_only_its_own_roots() -> None:
    """A route without a body type takes any path; one that has no room does not know `{room}`."""
    known = Known(roots=frozenset({"body"}))
    assert compile_value("{body.any.path}", known).render(Scope(body={"any": {"path": 1}})) == 1
    with pytest.raises(TemplateError, match=r'unknown word "room" \(known: body\)'):
        compile_value("{room.users}", known)


def test_a_union_of_structs_is_read_by_what_is_there() -> None:
    """Where several Structs may stand, a field of any of them is known."""

    class Done(Struct, tag="done"):
        result: str

    class Failed(Struct, tag="failed"):
        reason: str

    class Either(Struct):
        outcome: Done | Failed

    known = Known(roots=frozenset({"body"}), body=Either)
    template = compile_value("{body.outcome.reason}", known)
    assert template.render(Scope(body=Either(Failed("late")))) == "late"
    assert template.render(Scope(body=Either(Done("ok")))) is MISSING


@given(st.floats(0, 4e9, allow_nan=False))
def test_times_have_milliseconds_and_agree(now: float) -> None:
    """`{now}` and `{now.ms}` are one time, however it is rounded."""
    text = format_time(now)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text)
    assert round(datetime.fromisoformat(text).timestamp() * 1000) == round(now * 1000)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab "),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=8,
)


@given(_JSON)
def test_values_without_placeholders_stay_as_they_are(value: object) -> None:
    """A constant renders to itself."""
    template = compile_value(value, Known())
    assert template.render(Scope()) == value
    assert template.roots == frozenset()
