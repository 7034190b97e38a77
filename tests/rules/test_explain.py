"""Explaining a routing key: what would become of it, or exactly why nothing does."""

import pytest

from bridge.rules.compile import Rules
from bridge.rules.explain import explain
from tests.support.rules import compile_shipped, to_json

STATE = (
    b'{"project_name":"apollo","old_state":"a","new_state":"b","timestamp":"2026-11-20",'
    b'"triggered_by":"x","extra":1}'
)


@pytest.fixture(scope="module")
def rules() -> Rules:
    """The shipped configuration."""
    return compile_shipped()


def test_a_body_shows_what_a_browser_would_get(rules: Rules) -> None:
    """Namespace, rooms, event and payload of every route, with its binding and words."""
    found = explain(rules, "project.apollo.state_change", body=STATE, now=0.0)

    assert found.near == ()
    portal, project = found.matches
    assert (portal.binding, portal.words) == ("project.*.state_change", {"project": "apollo"})
    assert portal.rooms == ("project:apollo", "watch:state_change:apollo", "watch:state_change:*")
    assert (project.namespace, project.event, project.rooms) == ("/project/apollo", "state_change", ())
    assert project.args is not None
    (payload,) = to_json(project.args)
    assert payload == {
        "project_name": "apollo",
        "old_state": "a",
        "new_state": "b",
        "timestamp": "2026-11-20",
        "triggered_by": "x",
    }
    assert (project.problem, project.invalid) == (None, None)


def test_without_a_body_only_what_the_key_decides_is_told(rules: Rules) -> None:
    """Rooms that stand in the body are not guessed."""
    found = explain(rules, "monitoring.agent_activity", now=0.0)

    assert [(match.namespace, match.rooms, match.args, match.problem) for match in found.matches] == [
        ("/portal", None, None, None),
        ("/monitoring", (), None, None),
    ]


def test_a_bad_body_is_told_as_it_would_be_recorded(rules: Rules) -> None:
    """Reason, message and path are those of the invalid queue."""
    found = explain(rules, "project.apollo.state_change", body=b'{"project_name": 1}', now=0.0)

    for match in found.matches:
        assert match.problem == "schema: Expected `str`, got `int` - at $.project_name"
        assert match.invalid is not None
        assert match.args is None


def test_the_sender_is_shown_as_left_out(rules: Rules) -> None:
    """Headers count as they would in a delivery."""
    body = b'{"user_id":"u","project_name":"p","timestamp":"2026-11-20"}'

    (match,) = explain(rules, "chat.p.typing_start", body=body, headers={"x-sid": "s"}, now=0.0).matches

    assert match.skip_sid == "s"


def test_a_namespace_that_cannot_be_is_told(rules: Rules) -> None:
    """A `/` in a word would name another namespace."""
    matches = explain(rules, "project.a/b.state_change", body=STATE, now=0.0).matches

    assert matches[1].namespace is None
    assert matches[1].problem is not None
    assert '"a/b" holds a /' in matches[1].problem


@pytest.mark.parametrize(
    ("key", "pattern", "reason"),
    [
        (
            "project.apollo.state_chnge",
            "project.{project}.state_change",
            'word 3 is "state_chnge", not "state_change"',
        ),
        ("projct.apollo.state_change", "project.{project}.state_change", 'word 1 is "projct", not "project"'),
        ("project.a b.state_change", "project.{project}.state_change", 'word 2 is "a b", which cannot be'),
        ("admin.user_action.x", "admin.user_action", "it has 2 words, the key 3"),
    ],
)
def test_the_nearest_route_is_named_with_the_word_that_differs(
    rules: Rules, key: str, pattern: str, reason: str
) -> None:
    """A typo is the usual reason why nothing arrives."""
    found = explain(rules, key, now=0.0)

    assert found.matches == ()
    assert found.near[0].route.key.text == pattern
    assert reason in found.near[0].reason


def test_an_exchange_that_is_not_read_is_told(rules: Rules) -> None:
    """The right key on the wrong exchange never arrives."""
    found = explain(rules, "project.apollo.state_change", exchange="portal.commands", now=0.0)

    assert found.unknown_exchange
    assert (found.matches, found.near) == ((), ())
    assert not explain(rules, "x", exchange="portal.events", now=0.0).unknown_exchange
