"""The Structs of the portal: each example of its document passes as it is; what breaks its rules does not."""

import itertools

import pytest

from bridge.model import Refuse
from bridge.rules.command_plan import CommandPlan
from bridge.rules.compile import Rules
from tests.support.rules import compile_shipped, deliver, plan_anyhow, send, sign_in, to_json
from tests.systems.portal_events import EXAMPLES, PROJECT, Example


@pytest.fixture(scope="module")
def rules() -> Rules:
    """The shipped configuration."""
    return compile_shipped()


def receive(rules: Rules, example: Example, body: object) -> list[object]:
    """What the clients of the example's namespace receive; empty when the body is invalid."""
    plan = plan_anyhow(rules, deliver(example.key, body, exchange="portal.events"))
    assert bool(plan.emissions) != bool(plan.invalid)
    return [
        to_json(emission.args)[0] for emission in plan.emissions if emission.namespace == example.namespace
    ]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.event)
def test_every_form_of_an_event_arrives_as_it_was_sent(rules: Rules, example: Example) -> None:
    """Whole, bare, with each optional field alone, and with each of these null."""
    nulls = [{**example.required, name: None} for name in example.optional]
    for body in [*example.bodies(PROJECT), *nulls]:
        assert receive(rules, example, body) == [body]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.event)
def test_a_required_field_must_be_there(rules: Rules, example: Example) -> None:
    """And must not be null."""
    for name in example.required:
        without = {other: value for other, value in example.required.items() if other != name}
        assert receive(rules, example, without) == []
        assert receive(rules, example, {**example.required, name: None}) == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.event)
def test_what_the_document_does_not_name_is_dropped(rules: Rules, example: Example) -> None:
    """An internal field of a service never reaches a browser."""
    assert receive(rules, example, {**example.required, "internal_cost": 1}) == [example.required]


def find(event: str) -> Example:
    """The example of an event."""
    return next(example for example in EXAMPLES if example.event == event)


@pytest.mark.parametrize(
    ("event", "field", "value"),
    [
        ("backlog_updated", "change_type", "moved"),
        ("message_received", "type", "message"),
        ("agent_activity", "status", "running"),
        ("test_output", "output_type", "log"),
        ("config_changed", "config_type", "other"),
        ("config_changed", "changes", "text"),
        ("state_change", "timestamp", "yesterday"),
        ("state_change", "timestamp", 1_700_000_000),
        ("state_change", "new_state", 5),
        ("state_change", "project_name", "a b"),
        ("state_change", "project_name", "a" * 129),
        ("task_update", "task_id", ""),
        ("task_update", "progress", "50%"),
        ("task_update", "progress", True),
        ("approval_resolved", "approved", "yes"),
        ("system_metrics", "network_io", {"bytes_sent": 1}),
        ("thread_updated", "participants", [1]),
    ],
)
def test_a_value_outside_the_document_is_invalid(rules: Rules, event: str, field: str, value: object) -> None:
    """Enumerations, ids, times and types hold."""
    assert receive(rules, find(event), {**find(event).required, field: value}) == []


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-20",
        "2026-11-20T10:00",
        "2026-11-20T10:00:00",
        "2026-11-20T10:00:00Z",
        "2026-11-20T10:00:00.123456789Z",
        "2026-11-20T10:00:00+01:00",
        "2026-11-20T10:00:00.5-0330",
        "2026-11-20 10:00:00.123456+00:00",
    ],
)
def test_a_time_keeps_its_text(rules: Rules, text: str) -> None:
    """What any language writes as ISO 8601 is taken, and nothing is rounded or shifted."""
    body = {**find("state_change").required, "timestamp": text}

    assert receive(rules, find("state_change"), body) == [body]


def test_numbers_stay_what_they_are(rules: Rules) -> None:
    """A whole number does not become a fraction, nor a large one an approximation."""
    for number in (0, -1, 7, 7.0, 0.1, 2**53 + 1, 2**70):
        body = {**find("task_update").required, "progress": number}
        (received,) = receive(rules, find("task_update"), body)
        assert isinstance(received, dict)
        assert repr(received["progress"]) == repr(number)


def chat(rules: Rules, **body: object) -> CommandPlan | Refuse:
    """`send_message` in a chat."""
    return send(rules, f"/chat/{PROJECT}", "send_message", body, principal=sign_in(projects=[PROJECT]))


UUID = "3F2504E0-4f89-41d3-9a0c-0305e82c3301"
FILE = {"name": "log.txt", "size": 10_485_760, "type": "text/plain"}


@pytest.mark.parametrize(
    "body",
    [
        {"content": "x", "type": "message"},
        {"content": "👋" * 2000, "type": "command"},
        {"content": "x", "type": "thread_reply", "thread_id": UUID},
        {"content": "x", "type": "message", "thread_id": None, "attachments": None},
        {"content": "x", "type": "message", "attachments": []},
        {"content": "x", "type": "message", "attachments": [FILE] * 5},
        {"content": "x", "type": "message", "attachments": [{**FILE, "size": 0.5}]},
    ],
)
def test_a_message_within_the_bounds_passes(rules: Rules, body: dict[str, object]) -> None:
    """Bounds are meant inclusively."""
    assert isinstance(chat(rules, **body), CommandPlan)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"type": "message"}, ["content"]),
        ({"content": "", "type": "message"}, ["content"]),
        ({"content": "x" * 2001, "type": "message"}, ["content"]),
        ({"content": 5, "type": "message"}, ["content"]),
        ({"content": "x"}, ["type"]),
        ({"content": "x", "type": "response"}, ["type"]),
        ({"content": "x", "type": "message", "thread_id": "t-1"}, ["thread_id"]),
        ({"content": "x", "type": "message", "thread_id": UUID + "\n"}, ["thread_id"]),
        ({"content": "x", "type": "message", "attachments": [FILE] * 6}, ["attachments"]),
        (
            {"content": "x", "type": "message", "attachments": [FILE, {**FILE, "size": 10_485_761}]},
            ["attachments", 1, "size"],
        ),
        (
            {"content": "x", "type": "message", "attachments": [{**FILE, "size": -1}]},
            ["attachments", 0, "size"],
        ),
        ({"content": "x", "type": "message", "attachments": [{"name": "a"}]}, ["attachments", 0, "size"]),
        (
            {"content": "x", "type": "message", "attachments": [{**FILE, "path": "/etc"}]},
            ["attachments", 0, "path"],
        ),
        ({"content": "x", "type": "message", "admin": True}, ["admin"]),
    ],
)
def test_a_message_outside_the_bounds_is_refused(
    rules: Rules, body: dict[str, object], path: list[object]
) -> None:
    """The details name the very field."""
    refusal = chat(rules, **body)

    assert isinstance(refusal, Refuse)
    assert refusal.details is not None
    assert refusal.details[0]["path"] == path


def test_every_event_of_the_document_has_an_example(rules: Rules) -> None:
    """No route is left untried."""
    keys = {example.key for example in EXAMPLES}
    routes = [route for route in rules.routes if route.system == "portal"]
    routed = [route for route in routes if any(route.key.match(key) is not None for key in keys)]

    assert routed == routes
    assert len(set(itertools.chain(*(route.events for route in routes)))) == 19
