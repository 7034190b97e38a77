"""Who may: claims are asked strictly, and what is absent never permits."""

import re

import pytest

from bridge.config.model import Allow
from bridge.rules.access import compile_allow
from bridge.rules.scope import Known, TemplateError

KNOWN = Known(words=frozenset({"project"}), roots=frozenset({"body"}))


@pytest.mark.parametrize(
    ("allow", "claims", "expected"),
    [
        ({}, {}, True),
        ([], {}, False),
        ([{}], {}, True),
        ([{"a": 1}, {}], {}, True),
        ({"projects": "{project}"}, {"projects": ["x", "apollo"]}, True),
        ({"projects": "{project}"}, {"projects": ["x"]}, False),
        ({"projects": "{project}"}, {"projects": ["*"]}, True),
        ({"projects": "{project}"}, {"projects": "apollo"}, True),
        ({"projects": "{project}"}, {"projects": "apollo2"}, False),
        ({"sub": "{project}"}, {"sub": "*"}, False),
        ({"projects": "{project}"}, {}, False),
        ({"projects": "{project}"}, {"projects": None}, False),
        ({"projects": "{project}"}, {"projects": []}, False),
        ({"projects": "{project}"}, {"projects": {"apollo": True}}, False),
        ({"a": 1, "b": True}, {"a": 1, "b": True}, True),
        ({"a": 1, "b": True}, {"a": 1}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": True}, {"a": 1}, False),
        ({"a": True}, {"a": "true"}, False),
        ({"a": 1}, {"a": "1"}, False),
        ({"a": 1}, {"a": 1.0}, False),
        ({"a": "1"}, {"a": 1}, False),
        ({"a": False}, {"a": False}, True),
        ({"a": False}, {"a": 0}, False),
        ({"a": 0}, {}, False),
        ({"roles": ["admin", "auditor"]}, {"roles": ["auditor"]}, True),
        ({"roles": ["admin", "auditor"]}, {"roles": "admin"}, True),
        ({"roles": ["admin", "auditor"]}, {"roles": ["user"]}, False),
        ({"roles": []}, {"roles": ["user"]}, False),
        ([{"a": 1}, {"b": 2, "c": 3}], {"b": 2, "c": 3}, True),
        ([{"a": 1}, {"b": 2, "c": 3}], {"b": 2}, False),
        ({"projects": ["x-{project}"]}, {"projects": ["x-apollo"]}, True),
    ],
)
def test_claims(allow: Allow, claims: dict[str, object], expected: bool) -> None:
    """Several claims are and, several mappings or, several values any of them."""
    assert compile_allow(allow, KNOWN).permits(claims, {"project": "apollo"}) is expected


def test_a_word_that_is_missing_permits_nothing() -> None:
    """Without its word a wanted value is no value."""
    assert not compile_allow({"a": "{project}"}, KNOWN).permits({"a": ""}, {})


def test_everyone_is_told_apart() -> None:
    """Only an empty mapping asks nothing."""
    assert compile_allow({}, KNOWN).everyone
    assert not compile_allow([], KNOWN).everyone
    assert not compile_allow({"a": 1}, KNOWN).everyone


@pytest.mark.parametrize(
    ("allow", "path", "reason"),
    [
        ({"projects": "{projekt}"}, "projects", 'unknown word "projekt" (known: project)'),
        ([{"a": 1}, {"b": ["x", "{body.id}"]}], "[1].b", 'unknown word "body"'),
    ],
)
def test_unknown_words_are_found(allow: Allow, path: str, reason: str) -> None:
    """Only words may stand in an `allow`: it is asked before any body is read."""
    with pytest.raises(TemplateError, match=re.escape(reason)) as caught:
        compile_allow(allow, KNOWN)
    assert caught.value.problems[0].path == path
