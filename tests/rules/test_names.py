"""Names of namespaces and rooms: quoting keeps values apart, patterns match whole names."""

import re
from urllib.parse import quote as percent_encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.rules.names import (
    NameIndex,
    parse_namespace_pattern,
    parse_room_pattern,
    quote,
    unquote,
)
from bridge.rules.words import is_id

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
_IDS = _TEXT.filter(is_id)


@given(_TEXT)
def test_quoting_is_percent_encoding(value: str) -> None:
    """Quoting is what the standard library does, with `@` and `*` left readable."""
    assert quote(value) == percent_encode(value, safe="@*")
    assert re.fullmatch(r"[A-Za-z0-9_.~@*%-]+", quote(value))
    assert unquote(quote(value)) == value


@given(_IDS, _IDS, _IDS, _IDS)
def test_different_values_never_name_one_room(a: str, b: str, c: str, d: str) -> None:
    """Two pairs of values render to one name only when they are equal."""
    assert (f"x:{quote(a)}:{quote(b)}" == f"x:{quote(c)}:{quote(d)}") == ((a, b) == (c, d))


@given(_IDS, _IDS)
def test_a_room_pattern_gives_back_the_values(project: str, event: str) -> None:
    """What was quoted into a name is captured from it unquoted."""
    pattern = parse_room_pattern("events:{project}:{event}")
    room = f"events:{quote(project)}:{quote(event)}"
    assert pattern.match(room) == {"project": project, "event": event}


@pytest.mark.parametrize("text", ["%41", "%c3%A9", "a%", "%C3", "%zz", "a:b", "é", "a b", "%2"])
def test_text_that_quoting_cannot_make_is_refused(text: str) -> None:
    """Only canonical names are read back, so that no room has two names."""
    with pytest.raises(ValueError, match=r".+"):
        unquote(text)


@pytest.mark.parametrize(
    "room", ["project:", "project:a:b", "xproject:a", "project:%41", "project:a ", "project"]
)
def test_a_room_pattern_matches_whole_canonical_names_only(room: str) -> None:
    """A prefix, a further segment or a name that is not canonical is another room."""
    assert parse_room_pattern("project:{project}").match(room) is None


def test_more_literal_text_wins_among_rooms() -> None:
    """`project:archive` is more than `project:{project}`, however they are ordered."""
    texts = ["{a}:{b}", "project:{project}", "project:archive", "{a}"]
    index = NameIndex((parse_room_pattern(text), text) for text in texts)
    assert index.find("project:archive") == ("project:archive", {})
    assert index.find("project:x") == ("project:{project}", {"project": "x"})
    assert index.find("user:x") == ("{a}:{b}", {"a": "user", "b": "x"})
    assert index.find("a:b:c") is None


def test_more_literal_text_wins_among_namespaces() -> None:
    """A literal namespace is more than one with a word."""
    index = NameIndex(
        (parse_namespace_pattern(t), t) for t in ["/{any}", "/portal", "/project/{project}", "/"]
    )
    assert index.find("/portal") == ("/portal", {})
    assert index.find("/other") == ("/{any}", {"any": "other"})
    assert index.find("/project/apollo") == ("/project/{project}", {"project": "apollo"})
    assert index.find("/") == ("/", {})
    assert index.find("/project/a/b") is None


@pytest.mark.parametrize(
    "name",
    [
        "/project/a/b",
        "/project/",
        "/project",
        "project/a",
        "/project/a.b",
        "/project/*",
        "/project/#",
        "/project/a b",
        "/project/a\x00",
        "/project/" + "x" * 129,
        "",
        "/project/a/",
        "//project/a",
        "/Project/a",
    ],
)
def test_a_namespace_word_is_one_key_word(name: str) -> None:
    """Anything else is an unknown namespace."""
    assert parse_namespace_pattern("/project/{project}").match(name) is None


@given(_IDS, _IDS)
def test_a_rendered_namespace_is_one_that_matches(project: str, thread: str) -> None:
    """Rendering undoes matching; words that no client could ask for render to nothing."""
    pattern = parse_namespace_pattern("/p/{project}/{thread}")
    words = {"project": project, "thread": thread}
    name = pattern.render(words)
    if name is not None:
        assert pattern.match(name) == words
    else:
        assert set(project + thread) & set("/.#*")


def test_a_value_is_not_read_as_a_placeholder() -> None:
    """A word whose value looks like another placeholder stays as it is."""
    pattern = parse_namespace_pattern("/p/{a}/{b}")
    assert pattern.render({"a": "{b}", "b": "x"}) == "/p/{b}/x"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("portal", "write /portal"),
        ("", "no namespace"),
        ("/a//b", "empty segment"),
        ("/a/", "empty segment"),
        ("/a/x{b}", "whole segment"),
        ("/a,b", "cannot stand"),
        ("/a b", "cannot stand"),
        ("/{a}/{a}", "twice"),
        ("/{sid}", "meaning of its own"),
        ("/{}", "names no word"),
    ],
)
def test_a_bad_namespace_says_why(text: str, reason: str) -> None:
    """Every namespace that is refused names its mistake."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse_namespace_pattern(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "needs a name"),
        ("{a}{b}", "apart"),
        ("{a}-{b}", "apart"),
        ("{a}:{a}", "twice"),
        ("a b", "cannot stand"),
        ("ä", "cannot stand"),
        ("a%41", "cannot stand"),
        ("a:{b", "cannot stand"),
        ("a:{body}", "meaning of its own"),
    ],
)
def test_a_bad_room_says_why(text: str, reason: str) -> None:
    """Every room that is refused names its mistake."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse_room_pattern(text)


def test_patterns_of_one_shape_are_found() -> None:
    """The names of words make no difference to what matches."""
    assert parse_namespace_pattern("/p/{a}").shape == parse_namespace_pattern("/p/{b}").shape == "/p/{}"
    assert parse_room_pattern("p:{a}").shape == "p:{}"
