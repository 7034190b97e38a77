"""The bodies of the SWE Agent: what its document shows passes, what it does not show is invalid."""

import pytest

from bridge.model import Refuse
from bridge.rules.command_plan import CommandPlan
from bridge.rules.compile import Rules
from bridge.rules.event_plan import plan_event
from tests.support.rules import compile_shipped, deliver, send, sign_in, to_json
from tests.systems.swe_events import ALL, DOCUMENTED, SIBLINGS, Example, bare


@pytest.fixture(scope="module")
def rules() -> Rules:
    """The configuration as it is shipped."""
    return compile_shipped()


def receive(rules: Rules, example: Example, body: object) -> list[object]:
    """What the clients of `/ws` receive; empty when the body is invalid."""
    plan = plan_event(rules, deliver(example.key, body, exchange="swe.events"), 0.0)
    assert bool(plan.emissions) != bool(plan.invalid)
    assert all(emission.event == example.event for emission in plan.emissions)
    return [to_json(emission.args)[0] for emission in plan.emissions]


def find(event: str) -> Example:
    """The example of an event."""
    return next(example for example in ALL if example.event == event)


def test_every_route_has_an_example(rules: Rules) -> None:
    """No event of the document is left untried, and none is made up."""
    routes = [route for route in rules.routes if route.exchange == "swe.events"]
    assert sorted(route.event for route in routes) == sorted(example.event for example in ALL)
    assert len(routes) == len(DOCUMENTED) + len(SIBLINGS) == 17


@pytest.mark.parametrize("example", ALL, ids=lambda example: example.event)
def test_example_passes_unchanged(rules: Rules, example: Example) -> None:
    """Nothing is added, nothing is lost; siblings also with their ids alone."""
    assert receive(rules, example, example.body) == [example.body]
    if example in SIBLINGS:
        assert receive(rules, example, bare(example)) == [bare(example)]


_OPTIONAL = {"assigned_to"}  # an issue of nobody


@pytest.mark.parametrize("example", DOCUMENTED, ids=lambda example: example.event)
def test_what_the_document_shows_must_be_there(rules: Rules, example: Example) -> None:
    """Every field of an example, and of the envelope around it."""
    for name in set(example.data) - _OPTIONAL:
        assert receive(rules, example, example.without(name)) == []
    for name in example.body:
        rest = {other: value for other, value in example.body.items() if other != name}
        assert receive(rules, example, rest) == []


@pytest.mark.parametrize("example", SIBLINGS, ids=lambda example: example.event)
def test_sibling_needs_its_ids(rules: Rules, example: Example) -> None:
    """And takes null for all else."""
    least = bare(example)
    assert isinstance(least["data"], dict)
    for name in least["data"]:
        assert receive(rules, example, example.without(name)) == []
    others = {name: None for name in example.data if name not in least["data"]}
    assert receive(rules, example, example.with_data(**others)) == [example.with_data(**others)]


@pytest.mark.parametrize("example", ALL, ids=lambda example: example.event)
def test_what_the_document_does_not_name_is_dropped(rules: Rules, example: Example) -> None:
    """An internal field of a service never reaches a browser."""
    body = {**example.with_data(internal_cost=1), "trace": "x"}
    assert receive(rules, example, body) == [example.body]


@pytest.mark.parametrize("example", ALL, ids=lambda example: example.event)
def test_envelope_names_its_event(rules: Rules, example: Example) -> None:
    """`type` is the event's own word, and the time is one."""
    for wrong in ({"type": "other.event"}, {"type": None}, {"timestamp": "soon"}, {"timestamp": 1}):
        assert receive(rules, example, {**example.body, **wrong}) == []


@pytest.mark.parametrize(
    ("event", "field", "values"),
    [
        ("agent.status_changed", "status", ["online", "offline", "busy", "idle", "error"]),
        ("workflow.progress", "status", ["pending", "running", "completed", "failed", "cancelled"]),
        ("workflow.progress", "progress", [0, 45, 99.5, 100]),
        ("issue.updated", "status", ["open", "in_progress", "closed", "blocked"]),
        ("issue.updated", "priority", ["low", "medium", "high", "critical"]),
        ("issue.updated", "assigned_to", [None, "ann"]),
        ("ai.suggestion", "target_type", ["issue", "pr", "code"]),
        (
            "ai.suggestion",
            "category",
            ["optimization", "refactor", "bug_fix", "security", "performance", "maintainability"],
        ),
        ("ai.suggestion", "severity", ["info", "warning", "critical"]),
        ("ai.suggestion", "metadata", [{}, {"deep": {"er": [1, None]}}, "text"]),
        ("ai.suggestion", "project_id", ["apollo", None]),
        ("project.updated", "changes", [{}, {"status": "updated"}]),
        (
            "project.updated",
            "repository_url",
            ["https://example.org/a?b#c", "git@github.com:user/repo.git", "ssh://git@example.org/a"],
        ),
        ("pr.updated", "status", ["open", "merged", "closed", "draft"]),
    ],
)
def test_values_of_the_document_pass(rules: Rules, event: str, field: str, values: list[object]) -> None:
    """All words of its enumerations."""
    for value in values:
        body = find(event).with_data(**{field: value})
        assert receive(rules, find(event), body) == [body]


@pytest.mark.parametrize(
    ("event", "field", "values"),
    [
        ("agent.status_changed", "status", ["ONLINE", "away", "", None]),
        ("agent.status_changed", "agent_id", ["", "a b", "a\n", "a" * 129, 5]),
        ("agent.connected", "status", ["connected"]),
        ("workflow.progress", "status", ["started"]),
        ("workflow.progress", "progress", [-1, 100.5, 101, "45%", True]),
        ("workflow.progress", "total_steps", [-1, 1.5]),
        ("workflow.progress", "logs", ["text", [1]]),
        ("issue.updated", "status", ["done"]),
        ("issue.updated", "priority", ["urgent"]),
        ("ai.suggestion", "target_type", ["project"]),
        ("ai.suggestion", "category", ["style"]),
        ("ai.suggestion", "severity", ["error"]),
        ("ai.suggestion", "metadata", [5, [1]]),
        ("project.updated", "changes", ["status", None]),
        ("project.updated", "repository_url", ["javascript:alert(1)", "data:text/html,x", "https://a b", ""]),
        ("pr.created", "github_url", ["javascript:alert(1)//https://github.com"]),
        ("pr.created", "created_at", ["yesterday", 1_700_000_000]),
    ],
)
def test_value_outside_the_document_is_invalid(
    rules: Rules, event: str, field: str, values: list[object]
) -> None:
    """Enumerations, bounds, ids, times; and no address that would run as a script."""
    for value in values:
        assert receive(rules, find(event), find(event).with_data(**{field: value})) == []


def test_commands_take_what_the_document_shows(rules: Rules) -> None:
    """A room by its name, and a ping with an empty object."""
    ann = sign_in(projects=["apollo"])
    for command in ("subscribe", "unsubscribe"):
        assert isinstance(send(rules, "/ws", command, {"room": "project:apollo"}, principal=ann), CommandPlan)
        assert isinstance(send(rules, "/ws", command, {"room": ["global"]}, principal=ann), Refuse)
    assert isinstance(send(rules, "/ws", "ping", {}, principal=ann), CommandPlan)
