"""python-socketio's client works with the bridge as the official JavaScript client does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import socketio

from tests.support.daemon import unique
from tests.support.portal import Portal


@asynccontextmanager
async def _client(
    portal: Portal, *namespaces: str, token: str | None = None, transports: list[str] | None = None
) -> AsyncIterator[socketio.AsyncClient]:
    client = socketio.AsyncClient(reconnection=False)
    await client.connect(
        portal.daemon.url,
        namespaces=list(namespaces),
        auth={"token": token} if token else None,
        transports=transports or ["websocket"],
        wait_timeout=5,
    )
    try:
        yield client
    finally:
        await client.disconnect()


def _queue(client: socketio.AsyncClient, event: str, namespace: str) -> "asyncio.Queue[object]":
    """What arrives under an event's name."""
    arrived: asyncio.Queue[object] = asyncio.Queue()
    put: Callable[..., None] = lambda *args: arrived.put_nowait(args[0] if len(args) == 1 else args)  # noqa: E731
    client.on(event, put, namespace=namespace)
    return arrived


async def _next(arrived: "asyncio.Queue[object]") -> object:
    async with asyncio.timeout(5):
        return await arrived.get()


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]], ids=str)
async def test_events_arrive(portal: Portal, transports: list[str]) -> None:
    """Events of a project reach the Python client on every transport, as they were published."""
    namespace = f"/project/{portal.project}"
    async with _client(portal, namespace, token=portal.token(), transports=transports) as client:
        arrived = _queue(client, "state_change", namespace)
        await portal.publish("state_change", portal.state_change())
        assert await _next(arrived) == portal.state_change()


async def test_commands_are_acked(portal: Portal) -> None:
    """`call` returns the ack, and the message is with the services."""
    commands = await portal.take_commands()
    namespace = f"/chat/{portal.project}"
    async with _client(portal, namespace, token=portal.token()) as client:
        sent = {"content": "hello from Python", "type": "message"}
        answer = await client.call("send_message", sent, namespace=namespace, timeout=5)
        body = await commands.body()
        assert answer == {"status": "ok", "message_id": body["message_id"]}
        assert (body["content"], body["user_id"]) == (sent["content"], portal.user)


async def test_signing_in_late_and_joining(portal: Portal) -> None:
    """`authenticate` after connecting, then two namespaces of one connection at work."""
    namespace = f"/project/{portal.project}"
    async with _client(portal, "/portal", namespace) as client:
        signed_in, joined = (
            _queue(client, "authenticated", "/portal"),
            _queue(client, "joined_project", "/portal"),
        )
        await client.emit("join_project", {"project_name": portal.project}, namespace="/portal")
        await client.emit(
            "authenticate", {"token": portal.token(), "user_id": portal.user}, namespace="/portal"
        )
        assert await _next(signed_in) == {"user_id": portal.user, "permissions": []}
        answer = await _next(joined)
        assert isinstance(answer, dict)
        assert answer["active_users"] == 1


async def test_a_refusal_is_told(portal: Portal) -> None:
    """A namespace that the token does not allow: the client learns the message and the code."""
    client = socketio.AsyncClient(reconnection=False)
    refused: list[object] = []
    client.on("connect_error", refused.append, namespace="/admin")
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(
            portal.daemon.url,
            namespaces=["/admin"],
            auth={"token": portal.token()},
            transports=["websocket"],
            wait_timeout=5,
        )
    await client.disconnect()
    (told,) = refused
    assert isinstance(told, dict)
    assert told["message"]
    assert told["data"]["code"] == "FORBIDDEN"


async def test_both_clients_share_a_project(quick: Portal) -> None:
    """A Python client and a JavaScript client see each other come and go."""
    browser = await quick.connect("/portal", user=unique("bob"))
    await browser.emit("join_project", {"project_name": quick.project})
    await browser.wait_for("joined_project")
    async with _client(quick, "/portal", token=quick.token()) as client:
        await client.call("join_project", {"project_name": quick.project}, namespace="/portal", timeout=5)
        ((told,),) = await browser.wait_for("user_joined")
        assert isinstance(told, dict)
        assert told["user_id"] == quick.user
    await browser.wait_for("user_left", timeout=10)
