"""Bad input of clients and configurations: a code or a message, and the connection stays in order."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.support.daemon import ROOT, SECRET, edit_config, unique
from tests.support.js_client import JsClient, JsConnectError
from tests.support.portal import Portal, names

_BAD_NAMES = {
    "with a dot": "a.b",
    "with a hash": "a#b",
    "with a star": "a*b",
    "a hash": "#",
    "a star": "*",
    "with a space": "a b",
    "with a line break": "a\nb",
    "with a tab": "a\tb",
    "with a NUL": "a\x00b",
    "with a control character": "a\x85b",
    "with a wide space": "a\u3000b",
    "empty": "",
    "too long": "x" * 129,
    "a number": 7,
    "a list": ["a"],
    "an object": {"a": 1},
    "null": None,
    "true": True,
}


@pytest.mark.parametrize(
    "namespace",
    [
        "/unknown",
        "/project",
        "/project/",
        "/project/a/b",
        "/project/a/b/c",
        "/chat/a.b",
        "/chat/*",
        "/Portal",
        "/portal/",
        "/portal/x",
        "/monitoring/all",
        "/__proto__",
        f"/project/{'x' * 129}",
    ],
)
async def test_unknown_namespaces_are_refused_with_a_message(portal: Portal, namespace: str) -> None:
    """An unknown namespace and `/project/a/b` get a message and a code; the connection's others go on."""
    first = await portal.project_client(projects=["*"])
    with pytest.raises(JsConnectError) as refused:
        await portal.connect(namespace, shares=first, projects=["*"])
    assert refused.value.message
    assert isinstance(refused.value.data, dict)
    assert refused.value.data["code"] == "UNKNOWN_NAMESPACE"
    await portal.tell(first)
    assert first.connected


@pytest.mark.parametrize("name", ["größe", "日本", "a-b_c~d", "UPPER", "\uff41", "a%2Fb", "%20", "a:b"])
async def test_other_names_are_names(portal: Portal, name: str) -> None:
    """Any word that may stand in a routing key is a project's name, taken literally, also beyond ASCII."""
    client = await portal.connect(f"/project/{name}", projects=[name])
    body = {**portal.state_change(), "project_name": name}
    await portal.services.publish(f"project.{name}.state_change", body)
    assert await client.wait_for("state_change") == [[body]]


@pytest.mark.parametrize("kind", list(_BAD_NAMES))
async def test_bad_names_reach_no_room(portal: Portal, kind: str) -> None:
    """Names with `.`, `#`, `*`, whitespace or control characters are refused, even with all projects."""
    client = await portal.connect("/portal", projects=["*"])
    sent = {"project_name": _BAD_NAMES[kind]}
    await client.emit("join_project", sent)
    await client.emit("leave_project", sent)
    if kind != "null":  # an optional field may be null
        await client.emit("subscribe_to_events", {"events": ["state_change"], **sent})
    for (error,) in await client.wait_for("validation_error", 2 if kind == "null" else 3):
        assert isinstance(error, dict)
        assert error["details"]
    await _is_in_order(portal, client)


@pytest.mark.parametrize("name", ["a.b", "#", "*", "a b", "a\nb", "", 7, None], ids=repr)
async def test_bad_event_names_reach_no_room(portal: Portal, name: object) -> None:
    """The names of `subscribe_to_events` become rooms too."""
    client = await portal.connect("/portal", projects=["*"])
    await client.emit("subscribe_to_events", {"events": ["state_change", name]})
    await client.wait_for("validation_error")
    await _is_in_order(portal, client)
    await client.call("leave_project", {"project_name": portal.project})
    watcher = await portal.project_client(user=unique("bob"))
    await portal.tell(watcher)
    assert not client.received("state_change")


@pytest.mark.parametrize(
    "args",
    [
        (),
        (None,),
        ({},),
        ("text",),
        (7,),
        (True,),
        ([],),
        ([["project_name", "x"]],),
        ({"project_name": "x"}, {"project_name": "x"}),
        ({"project_name": "x"}, 1, 2, 3),
        ({"project_name": "x", "extra": 1},),
        ({"project_name": "x", "__proto__x": {"admin": True}},),
        ({"project_name": "x" * 500_000},),
        ({"project_name": {"toString": 1}},),
        (b"\x00\x01",),
        ({"project_name": "x"}, b"\x00"),
    ],
    ids=lambda args: repr(args)[:40],
)
async def test_arguments_that_do_not_fit_are_a_validation_error(
    portal: Portal, args: tuple[object, ...]
) -> None:
    """Wrong types, missing and extra arguments, huge strings, binary: a code, and all is in order."""
    client = await portal.connect("/portal", projects=["*"])
    await client.emit("join_project", *args)
    error = (await client.wait_for("validation_error"))[0][0]
    assert isinstance(error, dict)
    assert sorted(error) == ["details", "message"]
    assert len(json.dumps(error)) < 2000
    await _is_in_order(portal, client)


async def test_binary_inside_an_argument_ends_its_connection_alone(portal: Portal) -> None:
    """Binary may only be an argument of its own; hidden deeper in one, it is no packet of the protocol."""
    client = await portal.connect("/portal")
    other = await portal.project_client(user=unique("bob"))
    await client.emit("join_project", {"project_name": b"\x00\x01"})
    await client.wait_connected(2)
    await _is_in_order(portal, client)
    await portal.tell(other)
    assert other.connects == 1


@pytest.mark.parametrize(
    "event",
    [
        "dance",
        "",
        "state_change",
        "message_received",
        "__proto__",
        "constructor",
        "x" * 10_000,
        "日本",
        "a\nb",
    ],
    ids=lambda event: repr(event)[:20],
)
async def test_unknown_commands_get_a_code(portal: Portal, event: str) -> None:
    """`UNKNOWN_COMMAND` as event and as ack; events of the server are no commands of a client."""
    client = await portal.connect("/portal")
    other = await portal.connect("/portal", user=unique("bob"))
    answer = await client.call(event, {"project_name": portal.project})
    assert isinstance(answer, dict)
    assert (answer["status"], answer["code"]) == ("error", "UNKNOWN_COMMAND")
    await client.wait_for("error")
    await _is_in_order(portal, client)
    assert not other.events


async def test_a_deeply_nested_argument_does_no_harm(portal: Portal) -> None:
    """Nesting beyond reason gets a code, or ends this connection alone."""
    other = await portal.project_client(user=unique("bob"))
    async with _raw(portal, "/portal") as websocket:
        await websocket.send_str('42/portal,["join_project",' + "[" * 100_000 + "]" * 100_000 + "]")
        answer = await websocket.receive(timeout=5)
        assert answer.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.CLOSE)
        if answer.type is aiohttp.WSMsgType.TEXT:
            assert "validation_error" in answer.data
    await portal.tell(other)


async def test_a_message_over_the_limit_ends_its_connection_alone(portal: Portal) -> None:
    """More than 1 MB is not read; the client may come back."""
    client = await portal.connect("/portal")
    other = await portal.project_client(user=unique("bob"))
    await client.emit("join_project", {"project_name": "x" * 1_100_000})
    await client.until(lambda: bool(client.disconnects))
    await client.wait_connected(2)
    await _is_in_order(portal, client)
    await portal.tell(other)
    assert other.connects == 1


@pytest.mark.parametrize("event", ["connect", "disconnect", "connect_error", "disconnecting"])
async def test_a_client_that_emits_a_reserved_event_reaches_no_handler(quick: Portal, event: str) -> None:
    """A forged `connect` or `disconnect` ends the connection that sent it, as in the JS server.

    The official client refuses to send such an event, so the packet is written by hand.
    """
    other = await quick.connect("/portal", user=unique("bob"))
    await other.emit("join_project", {"project_name": quick.project})
    await other.wait_for("joined_project")
    async with _raw(quick, "/portal") as websocket:
        sent = json.dumps(["join_project", {"project_name": quick.project}])
        await websocket.send_str(f"42/portal,{sent}")
        assert (await websocket.receive_str(timeout=5)).startswith('42/portal,["joined_project"')
        forged = json.dumps([event, {"REMOTE_ADDR": "192.0.2.1"}, {"token": quick.token(user="root")}])
        await websocket.send_str(f"42/portal,{forged}")
        closed = await websocket.receive(timeout=5)
        assert closed.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
    await other.wait_for("user_left", timeout=10)
    assert names(other) == ["joined_project", "user_joined", "user_left"]
    users = {body["user_id"] for name, (body,) in other.events if name != "joined_project"}
    assert users == {quick.user}
    assert "Traceback" not in quick.daemon.log


@pytest.mark.parametrize("event", ["connect", "disconnect", "connect_error", "newListener", "removeListener"])
def test_reserved_event_names_are_refused_in_the_config(tmp_path: Path, event: str) -> None:
    """A service event of such a name would make every JS client of the room drop: no config can name it."""
    config = edit_config(
        tmp_path,
        portal={
            "namespaces./portal.events": {
                "a.b": {"schema": "StateChange", "as": event},
                f"a.{event}": {"schema": "StateChange"},
            },
            "namespaces./portal.commands": {event: {}, "dance": {"emit": {event: {}}}},
            "namespaces./project/{project}.rooms.project:{project}.presence": {"joined": {event: {}}},
            "errors.events.RATE_LIMITED": {event: {}},
            "auth.authenticated": {event: {}},
        },
    )
    code, text = _check(config)
    assert code == 1
    faults = [line for line in text.splitlines() if f'"{event}"' in line]
    places = ("a.b", f"a.{event}", f"commands.{event}", "dance", "presence", "errors", "authenticated")
    assert [place for place in places if not any(place in fault for fault in faults)] == []


def test_a_captured_word_cannot_name_an_event_freely(tmp_path: Path) -> None:
    """An event name takes captured words only from a list: so a service cannot choose a reserved one."""
    free = {"namespaces./portal.events": {"a.{action}": {"schema": "StateChange", "as": "{action}"}}}
    listed = {
        "namespaces./portal.events": {"a.{action:connect|b}": {"schema": "StateChange", "as": "{action}"}}
    }
    for number, edits in enumerate((free, listed)):
        code, text = _check(edit_config(tmp_path / str(number), portal=edits))
        assert code == 1, text


async def test_ids_never_reach_a_routing_key(portal: Portal) -> None:
    """Whatever names a client connects under, commands go out under keys of whole words."""
    everything = await portal.services.take("#")
    for name in ("a.b", "#", "*", "a b", "a\x00b", "a\x7fb", "a\u2028b"):
        with pytest.raises(JsConnectError):
            await portal.connect(f"/chat/{name}", projects=["*"])
    client = await portal.chat_client()
    await client.call("send_message", {"content": "hello", "type": "message"})
    messages = await everything.wait_for()
    assert [message.routing_key for message in messages] == [f"chat.{portal.project}.send_message"]


async def test_a_user_id_is_no_way_into_a_room(portal: Portal) -> None:
    """Odd but legal user ids are carried as they are; nothing of them is taken for a room or a key."""
    other = await portal.connect("/portal", user=unique("bob"))
    await other.emit("join_project", {"project_name": portal.project})
    await other.wait_for("joined_project")
    user = unique("user:*.#/%2F")
    client = await portal.connect("/portal", user=user)
    await client.emit("join_project", {"project_name": portal.project})
    ((told,),) = await other.wait_for("user_joined")
    assert isinstance(told, dict)
    assert told["user_id"] == user


@asynccontextmanager
async def _raw(portal: Portal, namespace: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A websocket that is connected to a namespace, for packets that the official client does not send."""
    address = f"{portal.daemon.url}/socket.io/?EIO=4&transport=websocket"
    async with aiohttp.ClientSession() as session, session.ws_connect(address) as websocket:
        assert (await websocket.receive_str(timeout=5)).startswith("0{")
        await websocket.send_str(f"40{namespace}," + json.dumps({"token": portal.token()}))
        assert (await websocket.receive_str(timeout=5)).startswith(f"40{namespace},")
        yield websocket


async def _is_in_order(portal: Portal, client: JsClient) -> None:
    """The client of `/portal` is still the same connection, and a command of it works."""
    connects = client.connects
    joined = len(client.received("joined_project"))
    await client.emit("join_project", {"project_name": portal.project})
    await client.wait_for("joined_project", joined + 1)
    assert client.connects == connects
    assert names(client).count("joined_project") == joined + 1


def _check(config: Path) -> tuple[int, str]:
    """Exit code and output of `bridged check`."""
    done = subprocess.run(  # noqa: S603  our own interpreter, no shell
        [sys.executable, "-m", "bridge", "check", "-c", str(config)],
        cwd=ROOT,
        env={**os.environ, "JWT_SECRET": SECRET},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr
