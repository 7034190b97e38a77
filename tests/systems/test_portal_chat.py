"""The chat of a project: `send_message` to the services, their answers back, typing from client to client."""

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from aio_pika import DeliveryMode

from tests.support.daemon import unique
from tests.support.portal import Portal, names

_THREAD = "6f9619ff-8b86-4011-b42d-00c04fc964ff"


async def test_a_message_reaches_the_services_stamped(portal: Portal) -> None:
    """`send_message` goes to `portal.commands` with the server's message id, user, project and time."""
    commands = await portal.take_commands()
    client = await portal.chat_client()
    answer = await client.call("send_message", {"content": "/sprint start", "type": "command"})
    body = await commands.body()
    assert {name: value for name, value in body.items() if name not in {"message_id", "timestamp"}} == {
        "content": "/sprint start",
        "type": "command",
        "user_id": portal.user,
        "project_name": portal.project,
    }
    assert answer == {"status": "ok", "message_id": body["message_id"]}
    assert uuid.UUID(str(body["message_id"]))
    assert _is_now(body["timestamp"])


async def test_a_message_travels_as_the_common_rules_say(portal: Portal) -> None:
    """Persistent, with message id, time, type, `app_id: bridged`, three headers; nothing of the client's."""
    commands = await portal.take_commands()
    client = await portal.chat_client()
    await client.emit("send_message", {"content": "hello", "type": "message"})
    (message,) = await commands.wait_for()
    assert message.exchange == "portal.commands"
    assert message.routing_key == f"chat.{portal.project}.send_message"
    assert message.delivery_mode is DeliveryMode.PERSISTENT
    assert message.content_type == "application/json"
    assert message.message_id == json.loads(message.body)["message_id"]
    assert message.type == "send_message"
    assert message.app_id == "bridged"
    assert message.timestamp is not None
    assert abs(message.timestamp - datetime.now(UTC)) < timedelta(seconds=20)
    assert {name: _text(value) for name, value in message.headers.items()} == {
        "x-user": portal.user,
        "x-sid": client.sid,
        "x-namespace": f"/chat/{portal.project}",
    }
    assert (message.reply_to, message.user_id, message.correlation_id, message.priority) == (
        None,
        None,
        None,
        0,
    )


@pytest.mark.parametrize(
    "sent",
    [
        {"content": "hello", "type": "message"},
        {"content": "yes", "type": "thread_reply", "thread_id": _THREAD},
        {"content": "x" * 2000, "type": "message"},
        {"content": 'größer 👋 \u2028 " \\ </script>', "type": "message"},
        {
            "content": "see there",
            "type": "message",
            "attachments": [
                {"name": f"{n}.txt", "size": 10 * 1024 * 1024, "type": "text/plain"} for n in range(5)
            ],
        },
        {"content": "empty", "type": "message", "attachments": []},
    ],
    ids=["message", "reply", "2000 characters", "any characters", "5 attachments", "no attachment"],
)
async def test_what_the_document_allows_is_passed_on(portal: Portal, sent: dict[str, object]) -> None:
    """Content, type, thread and attachments reach the service as the client sent them."""
    commands = await portal.take_commands()
    client = await portal.chat_client()
    await client.emit("send_message", sent)
    body = await commands.body()
    assert {name: body[name] for name in sent} == sent
    assert sorted(body) == sorted({*sent, "message_id", "user_id", "project_name", "timestamp"})


async def test_the_servers_fields_win(portal: Portal) -> None:
    """Whatever a client sends under the names of the stamps is replaced."""
    commands = await portal.take_commands()
    client = await portal.chat_client()
    forged = {"user_id": "root", "project_name": "another", "message_id": "1", "timestamp": "then"}
    await client.emit("send_message", {"content": "hello", "type": "message", **forged})
    body = await commands.body()
    assert body["user_id"] == portal.user
    assert body["project_name"] == portal.project
    assert body["message_id"] != "1"
    assert _is_now(body["timestamp"])


async def test_messages_of_one_client_keep_their_order(portal: Portal) -> None:
    """The services receive a client's messages as it sent them."""
    commands = await portal.take_commands()
    client = await portal.chat_client()
    for number in range(10):
        await client.emit("send_message", {"content": str(number), "type": "message"})
    messages = await commands.wait_for(10)
    assert [json.loads(message.body)["content"] for message in messages] == [str(n) for n in range(10)]


async def test_a_conversation_goes_around(portal: Portal) -> None:
    """A message reaches the service, and its `message_received` reaches both who sent it and who reads."""
    commands = await portal.take_commands()
    writer = await portal.chat_client()
    reader = await portal.chat_client(user=unique("bob"))
    await writer.emit("send_message", {"content": "hello", "type": "message"})
    sent = await commands.body()
    said = {**sent, "type": "response"}
    result = {
        "message_id": sent["message_id"],
        "command": "hello",
        "success": True,
        "execution_time": 0.1,
        "timestamp": "2026-11-20T10:00:00Z",
    }
    await portal.services.publish(f"chat.{portal.project}.message_received", said)
    await portal.services.publish(f"chat.{portal.project}.command_result", result)
    for client in (writer, reader):
        await client.wait_for("command_result")
        assert client.events == [("message_received", [said]), ("command_result", [result])]


@pytest.mark.parametrize("event", ["typing_start", "typing_stop"])
async def test_typing_is_shown_to_the_others(portal: Portal, event: str) -> None:
    """Typing is stamped and relayed to all of the chat but who types; other windows of the user see it."""
    writer = await portal.chat_client()
    window = await portal.chat_client()
    reader = await portal.chat_client(user=unique("bob"))
    answer = await writer.call(event)
    assert isinstance(answer, dict)
    assert answer["status"] == "ok"
    for client in (window, reader):
        (args,) = await client.wait_for(event)
        (body,) = args
        assert isinstance(body, dict)
        assert sorted(body) == ["project_name", "timestamp", "user_id"]
        assert (body["user_id"], body["project_name"]) == (portal.user, portal.project)
        assert _is_now(body["timestamp"])
    end = {"thread_id": "t", "message_count": 1, "last_message_at": "2026-11-20", "participants": []}
    await portal.services.publish(f"chat.{portal.project}.thread_updated", end)
    await writer.wait_for("thread_updated")
    assert names(writer) == ["thread_updated"]


@pytest.mark.parametrize(
    "sent", [(), (None,), ({},), ({"user_id": "root", "project_name": "another"},)], ids=str
)
async def test_typing_takes_what_clients_send_with_it(portal: Portal, sent: tuple[object, ...]) -> None:
    """With no argument, null, an empty object or the document's own fields: the stamps are the server's."""
    writer = await portal.chat_client()
    reader = await portal.chat_client(user=unique("bob"))
    await writer.emit("typing_start", *sent)
    body = (await reader.wait_for("typing_start"))[0][0]
    assert isinstance(body, dict)
    assert (body["user_id"], body["project_name"]) == (portal.user, portal.project)


async def test_typing_is_no_command_for_the_services(portal: Portal) -> None:
    """Typing goes through `portal.events` alone."""
    commands = await portal.take_commands()
    writer = await portal.chat_client()
    await writer.emit("typing_start", {})
    await writer.emit("send_message", {"content": "done", "type": "message"})
    messages = await commands.wait_for()
    assert [message.type for message in messages] == ["send_message"]


async def test_typing_stays_in_its_chat(portal: Portal) -> None:
    """Another project's chat sees nothing of it."""
    other = unique("gemini")
    writer = await portal.chat_client()
    reader = await portal.chat_client(user=unique("bob"))
    stranger = await portal.connect(f"/chat/{other}", user=unique("eve"), projects=[other])
    await writer.emit("typing_start", {})
    await reader.wait_for("typing_start")
    end = {"user_id": "x", "project_name": other, "timestamp": "2026-11-20"}
    await portal.services.publish(f"chat.{other}.typing_stop", end)
    await stranger.wait_for("typing_stop")
    assert names(stranger) == ["typing_stop"]


def _is_now(text: object) -> bool:
    assert isinstance(text, str)
    return abs(datetime.fromisoformat(text) - datetime.now(UTC)) < timedelta(seconds=20)


def _text(value: object) -> object:
    return value.decode() if isinstance(value, bytes) else value
