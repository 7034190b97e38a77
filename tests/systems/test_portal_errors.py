"""How the portal says no: `validation_error`, and the event `error` of the document."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.portal import Portal, names

_FILE = {"name": "a.txt", "size": 1, "type": "text/plain"}
_MESSAGE = {"content": "hello", "type": "message"}

BAD_MESSAGES: dict[str, object] = {
    "no content": {"type": "message"},
    "no type": {"content": "hello"},
    "empty content": {**_MESSAGE, "content": ""},
    "2001 characters": {**_MESSAGE, "content": "x" * 2001},
    "content of a number": {**_MESSAGE, "content": 1},
    "content null": {**_MESSAGE, "content": None},
    "another type": {**_MESSAGE, "type": "thread"},
    "type in capitals": {**_MESSAGE, "type": "MESSAGE"},
    "thread without a UUID": {**_MESSAGE, "type": "thread_reply", "thread_id": "thread-1"},
    "thread with more than a UUID": {**_MESSAGE, "thread_id": "6f9619ff-8b86-4011-b42d-00c04fc964ff\n"},
    "six attachments": {**_MESSAGE, "attachments": [_FILE] * 6},
    "attachments of an object": {**_MESSAGE, "attachments": _FILE},
    "an attachment over 10 MiB": {**_MESSAGE, "attachments": [{**_FILE, "size": 10 * 1024 * 1024 + 1}]},
    "an attachment of negative size": {**_MESSAGE, "attachments": [{**_FILE, "size": -1}]},
    "an attachment without a name": {**_MESSAGE, "attachments": [{"size": 1, "type": "text/plain"}]},
    "an attachment with a text as size": {**_MESSAGE, "attachments": [{**_FILE, "size": "1"}]},
    "an unknown field": {**_MESSAGE, "colour": "red"},
    "a text": "hello",
    "a number": 7,
    "a list": [_MESSAGE],
    "true": True,
    "nothing": {},
    "null": None,
}


@pytest.mark.parametrize("kind", list(BAD_MESSAGES))
async def test_a_message_that_does_not_fit_is_a_validation_error(portal: Portal, kind: str) -> None:
    """`validation_error {message, details}`, each detail with message and path; the next message goes on."""
    commands = await portal.take_commands()
    client = await portal.chat_client()
    await client.emit("send_message", BAD_MESSAGES[kind])
    error = (await client.wait_for("validation_error"))[0][0]
    assert isinstance(error, dict)
    assert sorted(error) == ["details", "message"]
    assert error["message"]
    assert error["details"]
    for detail in error["details"]:
        assert detail["message"]
        assert isinstance(detail["path"], list)
    answer = await client.call("send_message", _MESSAGE)
    assert isinstance(answer, dict)
    assert answer["status"] == "ok"
    assert (await commands.body())["content"] == "hello"
    assert names(client) == ["validation_error"]


async def test_details_name_the_field(portal: Portal) -> None:
    """The path leads to the fault inside the message."""
    client = await portal.chat_client()
    sent = {**_MESSAGE, "attachments": [_FILE, {**_FILE, "size": 99_999_999}]}
    answer = await client.call("send_message", sent)
    assert isinstance(answer, dict)
    assert (answer["status"], answer["code"]) == ("error", "VALIDATION_FAILED")
    error = (await client.wait_for("validation_error"))[0][0]
    assert isinstance(error, dict)
    assert error["details"][0]["path"] == ["attachments", 1, "size"]


async def test_the_error_event_is_that_of_the_document(portal: Portal) -> None:
    """`error {type, message, code, details?, timestamp}` with one of the document's five types."""
    client = await portal.connect("/portal")
    await client.emit("dance", {})
    error = (await client.wait_for("error"))[0][0]
    assert isinstance(error, dict)
    assert sorted({*error} - {"details"}) == ["code", "message", "timestamp", "type"]
    assert error["code"] == "UNKNOWN_COMMAND"
    assert error["type"] in {"connection", "authentication", "validation", "server", "network"}
    assert error["message"]
    at = datetime.fromisoformat(error["timestamp"])
    assert abs(at - datetime.now(UTC)) < timedelta(seconds=20)


async def test_no_one_listening_is_an_error_of_the_server(portal: Portal) -> None:
    """A refusal that is not the client's doing has the type `server`."""
    client = await portal.chat_client()
    await client.emit("send_message", _MESSAGE)
    error = (await client.wait_for("error"))[0][0]
    assert isinstance(error, dict)
    assert (error["type"], error["code"]) == ("server", "UNROUTABLE")


async def test_an_ack_does_not_replace_the_event(portal: Portal) -> None:
    """These clients listen for events: a refused command with an ack gets both."""
    client = await portal.connect("/portal")
    answer = await client.call("dance")
    assert isinstance(answer, dict)
    assert (answer["status"], answer["code"]) == ("error", "UNKNOWN_COMMAND")
    await client.wait_for("error")
    assert names(client) == ["error"]


@pytest.mark.parametrize("namespace", ["/monitoring", "/admin"])
async def test_namespaces_without_commands_take_none(portal: Portal, namespace: str) -> None:
    """Monitoring and administration are for looking."""
    client = await portal.connect(namespace, permissions=["monitoring:read"], roles=["admin"])
    answer = await client.call("join_project", {"project_name": portal.project})
    assert isinstance(answer, dict)
    assert answer["code"] == "UNKNOWN_COMMAND"
