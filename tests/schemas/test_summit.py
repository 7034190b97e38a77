"""The Structs of Summit: each example of its document passes as it is; what breaks its rules does not."""

from typing import Any

import pytest

from bridge.model import Emission, Invalid, PublishMessage, Refuse
from bridge.rules.command_plan import CommandPlan
from bridge.rules.compile import Rules
from tests.support.rules import compile_shipped, deliver, plan_anyhow, send, sign_in, to_json
from tests.systems.summit_events import EXAMPLES, INVESTIGATION, RUN_EXAMPLES, Example


@pytest.fixture(scope="module")
def rules() -> Rules:
    """The shipped configuration."""
    return compile_shipped()


def receive(rules: Rules, key: str, body: object, **fields: Any) -> Emission | Invalid:
    """What one event of Summit leads to."""
    plan = plan_anyhow(rules, deliver(key, body, exchange="summit.events", **fields))
    (only,) = (*plan.emissions, *plan.invalid)
    return only


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.event)
def test_an_example_arrives_as_it_was_sent(rules: Rules, example: Example) -> None:
    """In the room of its tenant, under the document's name."""
    emission = receive(rules, example.key, example.body, headers={"tenant": "acme"})
    assert isinstance(emission, Emission)
    assert (emission.namespace, emission.event) == ("/realtime", example.event)
    assert to_json(emission.args) == example.args(INVESTIGATION)
    assert all(room.split(":")[1] == "acme" for room in emission.rooms)


@pytest.mark.parametrize("example", RUN_EXAMPLES, ids=lambda example: example.event)
def test_a_required_field_must_be_there(rules: Rules, example: Example) -> None:
    """And must not be null; what is not named is dropped."""
    assert isinstance(example.body, dict)
    for name in example.body:
        without = {other: value for other, value in example.body.items() if other != name}
        assert isinstance(receive(rules, example.key, without), Invalid)
        assert isinstance(receive(rules, example.key, {**example.body, name: None}), Invalid)
    emission = receive(rules, example.key, {**example.body, "host": "10.0.0.1"})
    assert isinstance(emission, Emission)
    assert to_json(emission.args) == [example.body]


@pytest.mark.parametrize(
    ("event", "field", "value"),
    [
        ("update", "status", "PAUSED"),
        ("update", "status", "running"),
        ("update", "progress", "50%"),
        ("update", "progress", True),
        ("update", "timestamp", "2023-10-27T10:00:00Z"),
        ("update", "runId", ""),
        ("update", "runId", "a b"),
        ("log", "entry", "Processing step 1..."),
        ("log", "entry", {"level": "info", "message": "x"}),
        ("log", "entry", {"level": "info", "message": "x", "timestamp": 5}),
        ("log", "entry", {"level": "info", "message": "x", "timestamp": "yesterday"}),
        ("log", "timestamp", None),
        ("status", "status", "DONE"),
        ("status", "runId", 5),
    ],
)
def test_a_value_outside_the_document_is_invalid(rules: Rules, event: str, field: str, value: object) -> None:
    """Enumerations, ids, times and types hold."""
    example = next(example for example in RUN_EXAMPLES if example.key.endswith(f".{event}"))
    assert isinstance(example.body, dict)
    assert isinstance(receive(rules, example.key, {**example.body, field: value}), Invalid)


@pytest.mark.parametrize("kind", ["presence.update", "annotation.add", "comment.delete"])
def test_what_is_shared_is_an_open_object(rules: Rules, kind: str) -> None:
    """Any fields, and none; but an object, whose ids are ids."""
    key = f"investigation.{INVESTIGATION}.{kind}"
    for body in ({}, {"a": {"b": [1, None]}}, {"timestamp": 5}, {"timestamp": None, "user_id": None}):
        emission = receive(rules, key, body)
        assert isinstance(emission, Emission)
        assert to_json(emission.args) == [body]
    for wrong in ([], "text", 5, None, {"investigationId": 5}, {"timestamp": {}}, {"user_id": 5}):
        assert isinstance(receive(rules, key, wrong), Invalid)


def test_a_graph_is_binary(rules: Rules) -> None:
    """JSON under a graph's key is no Y.js update."""
    key = f"investigation.{INVESTIGATION}.graph.update"
    assert isinstance(receive(rules, key, b"\x00", content_type="application/octet-stream"), Emission)
    assert isinstance(receive(rules, key, {}, content_type="application/json"), Invalid)


@pytest.mark.parametrize("event", ["graph:update", "graph:awareness", "graph:sync"])
def test_text_is_no_bytes(rules: Rules, event: str) -> None:
    """Base64, as JSON would carry bytes, is not taken for them."""
    user = sign_in(tenant="acme")
    for args in (("c", "eHg="), ({"investigationId": "c", "update": "eHg=", "stateVector": "eHg="},)):
        assert isinstance(send(rules, "/realtime", event, *args, principal=user), Refuse)


@pytest.mark.parametrize("event", ["annotation:add", "annotation:update", "annotation:delete", "comment:add"])
def test_a_change_is_published_with_its_tenant(rules: Rules, event: str) -> None:
    """The header comes from the claim."""
    body = {"investigationId": "c", "tenant": "other"}
    plan = send(rules, "/realtime", event, body, principal=sign_in(tenant="acme"))
    assert isinstance(plan, CommandPlan)
    (message,) = plan.actions
    assert isinstance(message, PublishMessage)
    assert message.headers["tenant"] == "acme"
    assert (message.exchange, message.routing_key) == (
        "summit.commands",
        f"investigation.c.{event.replace(':', '.')}",
    )
