"""Events that fit no schema: kept on `bridge.invalid` with the reason, while the next event flows."""

import asyncio
from collections.abc import Mapping

import pytest
from aio_pika.abc import AbstractIncomingMessage

from tests.support.portal import Portal, names


async def _next_invalid(portal: Portal) -> AbstractIncomingMessage:
    """The message of the test's project on the queue `bridge.invalid`; those of other tests are put aside."""
    queue = await portal.services.channel.get_queue("bridge.invalid", ensure=True)
    async with asyncio.timeout(5), queue.iterator(no_ack=True) as messages:
        async for message in messages:
            if portal.project in str(message.routing_key):
                return message
    raise AssertionError("the queue ended")


def _headers(message: AbstractIncomingMessage) -> dict[str, str]:
    return {
        name: value.decode() if isinstance(value, bytes) else str(value)
        for name, value in message.headers.items()
    }


_BAD: dict[str, tuple[object, Mapping[str, str]]] = {
    "not JSON": (b"{'progress': 1}", {"reason": "not_json", "path": "$"}),
    "empty": (b"", {"reason": "not_json", "path": "$"}),
    "not UTF-8": (b'{"new_state": "\xff"}', {}),
    "cut off": (b'{"project_name": "apollo", "old_st', {"reason": "not_json"}),
    "a list": ([1, 2], {"reason": "schema", "path": "$"}),
    "null": (None, {"reason": "schema", "path": "$"}),
    "a field missing": ({"new_state": None}, {"reason": "schema"}),
    "a wrong type": ({"triggered_by": 7}, {"reason": "schema", "path": "$.triggered_by"}),
    "no time": ({"timestamp": "yesterday"}, {"reason": "schema", "path": "$.timestamp"}),
    "an optional field of a wrong type": ({"reason": ["x"]}, {"reason": "schema", "path": "$.reason"}),
    "an id with whitespace": ({"project_name": "a b"}, {"reason": "schema", "path": "$.project_name"}),
}


@pytest.mark.parametrize("kind", list(_BAD))
async def test_an_invalid_event_is_kept_and_the_next_one_flows(portal: Portal, kind: str) -> None:
    """It reaches `bridge.invalid` with reason, error, path and route, no client; the next event arrives."""
    bad, expected = _BAD[kind]
    body = {**portal.state_change(), **bad} if isinstance(bad, dict) else bad
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if value is not None}
    client = await portal.project_client()
    await portal.publish("state_change", body)
    await portal.tell(client, "the next")
    assert client.events == [("state_change", [portal.state_change("the next")])]

    message = await _next_invalid(portal)
    headers = _headers(message)
    assert {"reason", "error", "path", "route"} <= headers.keys()
    assert {name: headers[name] for name in expected} == expected
    assert headers["error"]
    assert "state_change" in headers["route"]
    assert message.routing_key == f"project.{portal.project}.state_change"
    if isinstance(body, bytes):
        assert message.body == body
    assert message.delivery_mode is not None
    assert message.message_id is not None
    assert message.message_id.startswith("bridge.events:")


async def test_a_content_type_that_is_not_json_is_invalid(portal: Portal) -> None:
    """A body that does not say it is JSON, or says something else, is told apart."""
    client = await portal.project_client()
    key = f"project.{portal.project}.state_change"
    await portal.services.publish(key, b"\x00\x01", content_type="application/octet-stream")
    await portal.tell(client)
    assert names(client) == ["state_change"]
    assert _headers(await _next_invalid(portal))["reason"] in {"content_type", "not_json"}


async def test_a_body_without_a_content_type_is_read_as_json(portal: Portal) -> None:
    """Many tools set none; what decodes is taken."""
    client = await portal.project_client()
    key = f"project.{portal.project}.state_change"
    await portal.services.publish(key, portal.state_change("plain"), content_type=None)
    assert await client.wait_for("state_change") == [[portal.state_change("plain")]]


async def test_one_route_may_fail_where_another_does_not(portal: Portal) -> None:
    """A body that is invalid for all its namespaces is kept, with the name of a route that refused it."""
    client = await portal.connect("/portal")
    watcher = await portal.project_client()
    await client.call("subscribe_to_events", {"events": ["task_update"]})
    await portal.publish("task_update", {"project_name": portal.project})
    await portal.tell(watcher)
    assert not client.events
    assert "task_update" in _headers(await _next_invalid(portal))["route"]


async def test_deep_and_large_bodies_do_no_harm(portal: Portal) -> None:
    """Nesting beyond reason is invalid, size is not: the flow goes on."""
    client = await portal.project_client()
    await portal.publish("state_change", b"[" * 100_000)
    large = portal.state_change(reason="x" * 300_000)
    await portal.publish("state_change", large)
    assert await client.wait_for("state_change", timeout=10) == [[large]]


@pytest.mark.parametrize("milliseconds", [2**62, -(2**62), 0, True, "soon", [1]])
async def test_a_time_that_is_none_does_no_harm(portal: Portal, milliseconds: object) -> None:
    """Any service may send the header of RabbitMQ's clock, with an invalid event and with a valid one."""
    client = await portal.project_client()
    key, headers = f"project.{portal.project}.state_change", {"timestamp_in_ms": milliseconds}
    await portal.services.publish(key, {"bad": 1}, headers=headers)  # type: ignore[arg-type]
    await portal.services.publish(key, portal.state_change("odd"), headers=headers)  # type: ignore[arg-type]
    assert await client.wait_for("state_change") == [[portal.state_change("odd")]]
    assert (await _next_invalid(portal)).body == b'{"bad": 1}'
    await client.call("join_project", {"project_name": portal.project})
    [[joined]] = await client.wait_for("joined_project")
    assert isinstance(joined, dict)
    assert str(joined["last_activity"]).startswith("20")


async def test_invalid_events_are_counted_by_route(portal: Portal) -> None:
    """`/metrics` shows them by route and outcome, and the log names no body."""
    client = await portal.project_client()
    secret = "s3cret-in-a-payload"
    before = _invalid(portal)
    await portal.publish("state_change", portal.state_change(triggered_by=[secret]))
    await portal.tell(client)
    assert _invalid(portal) > before
    assert secret not in portal.daemon.log


async def test_the_queue_is_durable_and_bounded(portal: Portal) -> None:
    """The bound queue survives a restart of the broker and never grows beyond its bounds."""
    queue = await portal.services.channel.declare_queue(
        "bridge.invalid",
        durable=True,
        arguments={"x-max-length": 10_000, "x-max-length-bytes": 64_000_000, "x-overflow": "drop-head"},
    )
    assert queue.name == "bridge.invalid"


def _invalid(portal: Portal) -> float:
    return sum(
        value
        for name, value in portal.daemon.metrics().items()
        if name.startswith("bridged_events_total") and 'outcome="invalid"' in name and "state_change" in name
    )
