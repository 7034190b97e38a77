"""How the Agents' clients connect, what their commands answer, and the document's Python client."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.support.agents import Agents
from tests.support.daemon import ROOT, make_token, unique
from tests.support.js_client import JsClient, JsConnectError

_PATHS = ["/ws", "/ws/", "/socket.io", "/socket.io/"]
_TRANSPORTS = [["websocket"], ["polling"], ["polling", "websocket"]]
_DOCUMENT = Path(__file__).parent / "agents_client.py"


@pytest.mark.parametrize("transports", _TRANSPORTS, ids="+".join)
@pytest.mark.parametrize("path", _PATHS)
async def test_both_paths_speak_all_transports(agents: Agents, path: str, transports: list[str]) -> None:
    """Events arrive on either path, by websocket, by polling, and through the upgrade between them."""
    client = await agents.connect(f"agent:{agents.agent}", path=path, transports=transports)
    if len(transports) > 1:
        await client.until(lambda: client.transport == "websocket")
    bodies = [{"agent_id": agents.agent, "timestamp": number, "metadata": {}} for number in range(20)]
    for body in bodies:
        await agents.publish(f"agent.{agents.agent}.heartbeat", body)
    assert await client.wait_for("agent:heartbeat", len(bodies)) == [[body] for body in bodies]
    assert client.transport == transports[-1]


async def test_no_other_path_is_served(agents: Agents) -> None:
    """A path that the configuration does not name is none."""
    assert agents.daemon.get("/socket/?EIO=4&transport=polling")[0] == 404
    assert agents.daemon.get("/ws/?EIO=4&transport=polling")[0] == 200


@pytest.mark.parametrize(
    ("auth", "code"),
    [
        ({}, "NOT_AUTHENTICATED"),
        ({"token": "your-jwt-token"}, "INVALID_TOKEN"),
        ({"token": make_token("ann", -1)}, "INVALID_TOKEN"),
        ({"token": make_token("ann", secret="another secret, over 32 bytes long")}, "INVALID_TOKEN"),
    ],
    ids=["none", "nonsense", "expired", "forged"],
)
@pytest.mark.parametrize("path", ["/ws", "/socket.io"])
async def test_a_connection_without_a_valid_token_is_refused(
    agents: Agents, auth: dict[str, object], code: str, path: str
) -> None:
    """`connect_error` with the reason; nothing else ever arrives."""
    with pytest.raises(JsConnectError) as refused:
        await agents.js.connect(agents.daemon.url, path=path, auth=auth, transports=["websocket"])
    assert refused.value.message
    assert isinstance(refused.value.data, dict)
    assert refused.value.data["code"] == code


async def test_commands_answer_by_events(agents: Agents) -> None:
    """`subscribed`, `unsubscribed` and `heartbeat_ack` as the document shows them, without any ack."""
    client = await agents.connect()
    for room in (f"agent:{agents.agent}", f"task:{agents.task}", "dashboard"):
        await client.emit("subscribe", {"room": room})
        await client.emit("unsubscribe", {"room": room})
    await client.emit("heartbeat", {"timestamp": 1234567890})
    await client.wait_for("heartbeat_ack")
    rooms = [{"room": room} for room in (f"agent:{agents.agent}", f"task:{agents.task}", "dashboard")]
    assert [args for name, args in client.events if name == "subscribed"] == [[room] for room in rooms]
    assert [args for name, args in client.events if name == "unsubscribed"] == [[room] for room in rooms]
    assert client.received("heartbeat_ack") == [[{"timestamp": 1234567890}]]


@pytest.mark.parametrize("timestamp", [0, 1.5, 1732096800000, "2026-11-20T10:00:00Z"], ids=repr)
async def test_a_heartbeat_gets_its_own_timestamp_back(agents: Agents, timestamp: object) -> None:
    """Number or text, as it was sent."""
    client = await agents.connect()
    assert await client.call("heartbeat", {"timestamp": timestamp}) == {"status": "ok"}
    assert await client.wait_for("heartbeat_ack") == [[{"timestamp": timestamp}]]


async def test_acks_are_given_beside_the_events(agents: Agents) -> None:
    """Whoever asks for an ack gets one, and the event as well."""
    client = await agents.connect()
    room = f"conversation:{agents.conversation}"
    assert await client.call("subscribe", {"room": room}) == {"status": "ok", "room": room}
    assert await client.call("unsubscribe", {"room": room}) == {"status": "ok", "room": room}
    assert await client.wait_for("unsubscribed") == [[{"room": room}]]


async def _refusal(client: JsClient, event: str, *args: object) -> dict[str, object]:
    """The ack of a refused command; the event `error {message}` came with it, and nothing else."""
    client.events.clear()
    answer = await client.call(event, *args)
    assert isinstance(answer, dict)
    await client.wait_for("error")
    assert client.events == [("error", [{"message": answer["message"]}])]
    return answer


@pytest.mark.parametrize(
    "room",
    [
        "",
        "agents",
        "agent:",
        "agent:a b",
        "agent:a:b",
        "agent:*",
        "agent:#",
        "agent:a.b",
        "agent:" + "a" * 129,
        "dashboard ",
        "Dashboard",
        "project:apollo",
        "run:default:demo",
        "agent:a\n",
    ],
    ids=repr,
)
async def test_a_room_that_is_none_is_refused(agents: Agents, room: str) -> None:
    """Rooms of other systems, wildcards and what cannot be an id lead nowhere, and the client stays."""
    client = await agents.connect()
    answer = await _refusal(client, "subscribe", {"room": room})
    assert answer["code"] in {"UNKNOWN_ROOM", "VALIDATION_FAILED"}
    assert await client.call("heartbeat", {"timestamp": 1}) == {"status": "ok"}


@pytest.mark.parametrize(
    ("event", "args", "code"),
    [
        ("subscribe", [], "VALIDATION_FAILED"),
        ("subscribe", [{}], "VALIDATION_FAILED"),
        ("subscribe", ["agent:1"], "VALIDATION_FAILED"),
        ("subscribe", [{"room": 5}], "VALIDATION_FAILED"),
        ("subscribe", [{"room": "agent:1", "all": True}], "VALIDATION_FAILED"),
        ("subscribe", [{"room": "agent:1"}, 2], "VALIDATION_FAILED"),
        ("heartbeat", [{"timestamp": []}], "VALIDATION_FAILED"),
        ("task:created", [{"task_id": "1"}], "UNKNOWN_COMMAND"),
    ],
)
async def test_bad_commands_are_answered(agents: Agents, event: str, args: list[object], code: str) -> None:
    """By the event `error {message}`, and a code in the ack."""
    client = await agents.connect()
    assert (await _refusal(client, event, *args))["code"] == code


async def test_the_documents_python_client_runs_as_it_stands_there(agents: Agents) -> None:
    """Connect, subscribe to `agent:123`, print its status changes; URL, token and the wait aside."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-u",
        str(_DOCUMENT),
        agents.daemon.url,
        make_token(unique("ann")),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    changed = {"agent_id": "123", "old_status": "idle", "new_status": "busy", "timestamp": 1}
    try:
        async with asyncio.timeout(15):
            assert await process.stdout.readline() == b"Connected!\n"
            # It does not wait for `subscribed`: publish until the subscription has been carried out.
            line = asyncio.ensure_future(process.stdout.readline())
            while not line.done():
                await agents.publish("agent.123.status_changed", changed)
                await asyncio.wait([line], timeout=0.1)
            assert line.result().decode().strip() == f"Status changed: {changed}"
    finally:
        process.kill()
        await process.wait()
