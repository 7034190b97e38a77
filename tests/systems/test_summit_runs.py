"""Subscriptions to agent runs: what they answer, and `maestro:error` for all that fails."""

import pytest

from tests.support.js_client import JsClient
from tests.support.portal import names
from tests.support.summit import Summit

WITH_RUN = [
    "maestro:subscribe_run",
    "maestro:unsubscribe_run",
    "maestro:subscribe_logs",
    "maestro:unsubscribe_logs",
]
WITHOUT = ["maestro:subscribe_status", "maestro:unsubscribe_status"]

NO_RUNS: list[object] = [
    None,
    {},
    {"runId": None},
    {"runId": 5},
    {"runId": ""},
    {"runId": ["run-1"]},
    {"runId": {"$ne": ""}},
    {"runId": "a b"},
    {"runId": "a.b"},
    {"runId": "#"},
    {"runId": "*"},
    {"runId": "a\u0000"},
    {"runId": "x" * 129},
    {"runId": "run-1", "tenant": "default"},
    ["run-1"],
    "run-1",
    b"run-1",
]


async def check_failed(client: JsClient, count: int = 1) -> None:
    """It was told of so many failures, by `maestro:error` alone."""
    for args in await client.wait_for("maestro:error", count):
        (error,) = args
        assert isinstance(error, dict)
        assert sorted(error) == ["code", "message"]
        assert error["code"] == "SUBSCRIPTION_FAILED"
        assert error["message"]
    assert names(client) == ["maestro:error"] * count


@pytest.mark.parametrize("command", WITH_RUN)
async def test_a_run_that_is_none_is_told(summit: Summit, command: str) -> None:
    """Whatever is no run id fails with `maestro:error {code: SUBSCRIPTION_FAILED, message}`, each time."""
    client = await summit.connect()
    for payload in NO_RUNS:
        await client.emit(command, payload)
    await client.emit(command)
    await client.emit(command, {"runId": "run-1"}, {"runId": "run-1"})
    await check_failed(client, len(NO_RUNS) + 2)


@pytest.mark.parametrize("command", WITHOUT)
async def test_a_status_has_no_payload(summit: Summit, command: str) -> None:
    """`null`, nothing and `{}` do; anything else fails."""
    client = await summit.connect()
    for payload in ((None,), (), ({},)):
        assert await client.call(command, *payload) == {"status": "ok"}
    for odd in ({"runId": "run-1"}, "all", 5, [None], b"x"):
        await client.emit(command, odd)
    await check_failed(client, 5)


@pytest.mark.parametrize("command", WITH_RUN)
async def test_an_ack_tells_of_the_failure_too(summit: Summit, command: str) -> None:
    """Who asks for an ack gets the refusal there, and the event besides."""
    client = await summit.connect()
    ack = await client.call(command, {"runId": ""})
    assert isinstance(ack, dict)
    assert (ack["status"], ack["code"]) == ("error", "SUBSCRIPTION_FAILED")
    await check_failed(client)


async def test_a_subscription_beyond_the_bound_fails(summit: Summit) -> None:
    """A client may follow 128 runs; one more fails, and one that is left makes room."""
    client = await summit.connect()
    for number in range(128):
        assert await client.call("maestro:subscribe_run", {"runId": f"r-{number}"}) == {"status": "ok"}
    await client.emit("maestro:subscribe_run", {"runId": "r-128"})
    await check_failed(client)
    assert await client.call("maestro:subscribe_run", {"runId": "r-0"}) == {"status": "ok"}
    assert await client.call("maestro:unsubscribe_run", {"runId": "r-0"}) == {"status": "ok"}
    assert await client.call("maestro:subscribe_run", {"runId": "r-128"}) == {"status": "ok"}


@pytest.mark.parametrize("tenant", [["*"], ["acme", "other"], "*", "", "a b", 0, {"a": 1}, True], ids=str)
async def test_a_tenant_that_is_none_subscribes_to_nothing(summit: Summit, tenant: object) -> None:
    """A claim that is no name of one tenant opens no room."""
    client = await summit.connect(tenant=tenant)
    await client.emit("maestro:subscribe_run", {"runId": summit.run})
    await client.emit("maestro:subscribe_logs", {"runId": summit.run})
    await client.emit("maestro:subscribe_status", None)
    await check_failed(client, 3)
    await client.emit("investigation:join", {"investigationId": summit.investigation})
    (error,) = (await client.wait_for("error"))[0]
    assert isinstance(error, dict)
    assert error["code"] in ("FORBIDDEN", "VALIDATION_FAILED")


async def test_subscribing_twice_is_once(summit: Summit) -> None:
    """An event comes once however often a client subscribed, and not at all after one `unsubscribe`."""
    client = await summit.watch()
    for _ in range(3):
        assert await client.call("maestro:subscribe_run", {"runId": summit.run}) == {"status": "ok"}
    body = {"runId": summit.run, "status": "RUNNING", "progress": 0, "timestamp": 1}
    await summit.publish(f"maestro.run.{summit.run}.update", body)
    await summit.tell(client)
    assert client.received("maestro:run_update") == [[body]]
    assert await client.call("maestro:unsubscribe_run", {"runId": summit.run}) == {"status": "ok"}
    await summit.publish(f"maestro.run.{summit.run}.update", body)
    await summit.tell(client)
    assert client.received("maestro:run_update") == [[body]]


async def test_an_unknown_command_is_an_error(summit: Summit) -> None:
    """Other refusals are the event `error {code, message}`."""
    client = await summit.connect()
    await client.emit("maestro:start_run", {"runId": summit.run})
    (error,) = (await client.wait_for("error"))[0]
    assert isinstance(error, dict)
    assert sorted(error) == ["code", "message"]
    assert error["code"] == "UNKNOWN_COMMAND"
