"""The bodies of the Agents: what their document shows passes, what it does not show is invalid."""

import pytest

from bridge.rules.compile import Rules
from bridge.rules.event_plan import plan_event
from tests.support.rules import compile_shipped, deliver, to_json

_BODIES: dict[str, dict[str, object]] = {
    "agent.a-1.status_changed": {"agent_id": "a-1", "old_status": "idle", "new_status": "busy"},
    "agent.a-1.heartbeat": {"agent_id": "a-1", "metadata": {"load": 0.5}},
    "task.t-1.created": {"task_id": "t-1", "task": {"title": "x"}},
    "task.t-1.assigned": {"task_id": "t-1", "agent_id": "a-1", "task": "x"},
    "task.t-1.updated": {"task_id": "t-1", "update": {"progress": 10}},
    "task.t-1.completed": {"task_id": "t-1", "result": ["x", 1, None]},
    "conversation.c-1.message": {"conversation_id": "c-1", "message": {"text": "x"}},
    "system.alert": {"message": "x", "severity": "critical"},
}


@pytest.fixture(scope="module")
def rules() -> Rules:
    """The configuration as it is shipped."""
    return compile_shipped()


def _receive(rules: Rules, key: str, body: object) -> list[object]:
    """What the clients of `/` receive; empty when the body is invalid."""
    plan = plan_event(rules, deliver(key, body, exchange="agents.events"), 0.0)
    assert bool(plan.emissions) != bool(plan.invalid)
    return [to_json(emission.args)[0] for emission in plan.emissions]


@pytest.mark.parametrize("timestamp", [0, 1234567890, 1.5, "2026-11-20T10:00:00Z"], ids=repr)
@pytest.mark.parametrize("key", _BODIES)
def test_event_passes_unchanged(rules: Rules, key: str, timestamp: object) -> None:
    """With a timestamp of any form, since the document fixes none; what it does not name is dropped."""
    body = {**_BODIES[key], "timestamp": timestamp}
    assert _receive(rules, key, {**body, "internal": 1}) == [body]


@pytest.mark.parametrize("key", _BODIES)
def test_every_field_is_required(rules: Rules, key: str) -> None:
    """The document shows all of them."""
    body = {**_BODIES[key], "timestamp": 1}
    for name in body:
        assert _receive(rules, key, {other: value for other, value in body.items() if other != name}) == []


@pytest.mark.parametrize("value", ["", "a b", "a\n", "a" * 129, 5, None], ids=repr)
def test_ids_are_ids(rules: Rules, value: object) -> None:
    """In a body they may hold anything but whitespace and control characters."""
    for key, body in _BODIES.items():
        for name in body:
            if name.endswith("_id"):
                assert _receive(rules, key, {**body, "timestamp": 1, name: value}) == []


def test_every_route_has_an_example(rules: Rules) -> None:
    """No event of the document is left untried."""
    routes = [route for route in rules.routes if route.exchange == "agents.events"]
    assert len(routes) == len(_BODIES)
    assert all(any(route.key.match(key) is not None for key in _BODIES) for route in routes)
