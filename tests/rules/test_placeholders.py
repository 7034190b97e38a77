"""The grammar of templates: nested defaults, escaped braces, and mistakes that are named."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.rules.placeholders import Part, Placeholder, Step, parse_template

_NAMES = st.text("abcxyz_-", min_size=1, max_size=4)
_STEPS = st.lists(st.builds(Step, _NAMES, st.booleans()), min_size=1, max_size=3).map(tuple)
_LITERALS = st.text("ab {}:-[].", min_size=1, max_size=6)


def join_literals(parts: list[Part]) -> tuple[Part, ...]:
    """Join neighbouring literals, as the parser does."""
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)


def write(parts: tuple[Part, ...]) -> str:
    """Write a tree as a template."""
    texts = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part.replace("{", "{{").replace("}", "}}"))
        else:
            default = "" if part.default is None else ":-" + write(part.default)
            texts.append("{" + part.path + default + "}")
    return "".join(texts)


_DEFAULTS = st.recursive(
    st.lists(st.text("ab :-[].", min_size=1, max_size=6), max_size=1).map(tuple),
    lambda inner: st.lists(
        st.one_of(st.text("ab .", min_size=1), st.builds(Placeholder, _STEPS, st.none() | inner)), max_size=3
    ).map(join_literals),
    max_leaves=4,
)
_TREES = st.lists(
    st.one_of(_LITERALS, st.builds(Placeholder, _STEPS, st.none() | _DEFAULTS)), max_size=4
).map(join_literals)


@given(_TREES)
def test_what_is_written_is_read_back(tree: tuple[Part, ...]) -> None:
    """Any tree survives being written as text and parsed again."""
    assert parse_template(write(tree)) == tree


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("{{}}", ("{}",)),
        ("{a:-{{}}}", (Placeholder((Step("a"),), ("{}",)),)),
        ("{a:-{b:-c}}", (Placeholder((Step("a"),), (Placeholder((Step("b"),), ("c",)),)),)),
        ("{a:-}", (Placeholder((Step("a"),), ()),)),
        ("{a:b}", (Placeholder((Step("a:b"),)),)),
        ("{a.x-sid}", (Placeholder((Step("a"), Step("x-sid"))),)),
    ],
)
def test_the_grammar(text: str, expected: tuple[Part, ...]) -> None:
    """Braces are doubled to stand for themselves; a default closes with its placeholder."""
    assert parse_template(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "no placeholder"),
        ("{a", "is not closed"),
        ("{}", "no placeholder"),
        ("a}", 'without "{"'),
        ("{a b}", "no placeholder"),
        ("{a..b}", "no placeholder"),
        ("{a[0]}", "no placeholder"),
        ("{a:-{b}", "is not closed"),
        ("{a{b}}", "is not closed"),
        ("{a:-" * 9 + "x" + "}" * 9, "more than 8 deep"),
        ("{a:-" * 5000, "more than 8 deep"),
    ],
)
def test_a_bad_template_says_why(text: str, reason: str) -> None:
    """Every template that is refused names its mistake."""
    with pytest.raises(ValueError, match=re.escape(reason)):
        parse_template(text)


@given(st.text("{}:-[].ab ", max_size=20))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """No text leads to anything but a tree or a ValueError."""
    try:
        tree = parse_template(text)
    except ValueError:
        return
    assert isinstance(tree, tuple)
