"""Rates, their refusals, and bans: 10 events/s, 100/min, 10 refusals in 60 s end in 300 s of ban."""

import asyncio

import pytest

from tests.support.daemon import unique
from tests.support.js_client import JsClient, JsConnectError
from tests.support.portal import Portal, names


async def _hurry(client: JsClient, project: str, count: int) -> None:
    """Send commands that do no harm, as fast as possible."""
    for _ in range(count):
        await client.emit("leave_project", {"project_name": project})


def _retry_after(args: list[object]) -> float:
    """The seconds of a `rate_limited`, whose fields are those of the document."""
    (body,) = args
    assert isinstance(body, dict)
    assert sorted(body) == ["message", "retry_after"]
    assert body["message"]
    assert isinstance(body["retry_after"], int | float)
    return body["retry_after"]


async def test_the_eleventh_event_of_a_second_is_refused(portal: Portal) -> None:
    """`rate_limited {message, retry_after}`: after so many seconds the client may go on."""
    client = await portal.connect("/portal")
    await _hurry(client, portal.project, 11)
    retry_after = _retry_after((await client.wait_for("rate_limited"))[0])
    assert 0 < retry_after <= 1
    assert names(client) == ["rate_limited"]
    await asyncio.sleep(retry_after)  # what the client was told to do
    assert await client.call("leave_project", {"project_name": portal.project}) == {"status": "ok"}


async def test_a_refused_command_is_not_carried_out(portal: Portal) -> None:
    """The eleventh message of a second reaches no service; its ack says so."""
    commands = await portal.take_commands()
    client = await portal.chat_client()
    answers = await asyncio.gather(
        *(client.call("send_message", {"content": str(n), "type": "message"}) for n in range(11))
    )
    refused = answers[10]
    assert isinstance(refused, dict)
    assert (refused["status"], refused["code"]) == ("error", "RATE_LIMITED")
    assert 0 < refused["retry_after"] <= 1
    assert [answer["status"] for answer in answers if isinstance(answer, dict)] == ["ok"] * 10 + ["error"]
    other = await portal.chat_client(user=unique("bob"))
    await other.call("send_message", {"content": "mark", "type": "message"})
    messages = await commands.wait_for(11)
    assert len(messages) == 11
    assert b'"mark"' in messages[10].body


async def test_the_rate_is_of_the_connection(portal: Portal) -> None:
    """Namespaces of one connection share the rate; another connection has its own."""
    one = await portal.connect("/portal")
    two = await portal.project_client(shares=one)
    elsewhere = await portal.connect("/portal")
    await asyncio.gather(*(_hurry(client, portal.project, 6) for client in (one, two)))
    await one.until(lambda: bool(one.received("rate_limited") or two.received("rate_limited")))
    await _hurry(elsewhere, portal.project, 9)
    await elsewhere.emit("join_project", {"project_name": portal.project})
    await elsewhere.wait_for("joined_project")
    assert names(elsewhere) == ["joined_project"]


async def test_a_hundred_events_a_minute(quick: Portal) -> None:
    """The 101st event of a minute is refused, however evenly they came; the wait is most of the minute."""
    client = await quick.connect("/portal")
    await _hurry(client, quick.project, 101)
    assert 50 < _retry_after((await client.wait_for("rate_limited"))[0]) <= 60
    assert names(client) == ["rate_limited"]


async def test_unknown_and_invalid_commands_count_too(portal: Portal) -> None:
    """A client cannot get around the rate by sending nonsense."""
    client = await portal.connect("/portal")
    for number in range(11):
        await client.emit(f"nonsense-{number % 3}", number)
    await client.wait_for("rate_limited")
    await client.wait_for("error", 10)  # they wait in the inbox, the refusal does not
    assert (len(client.received("error")), len(client.received("rate_limited"))) == (10, 1)


async def test_ten_refusals_ban_the_user(portal: Portal) -> None:
    """All connections of the user end, and for 300 s none is let in; others go on."""
    other = await portal.connect("/portal", user=unique("bob"))
    window = await portal.project_client()
    client = await portal.connect("/portal")
    late = await portal.connect_unsigned("/portal")
    await _hurry(client, portal.project, 20)
    for each in (client, window):
        assert await each.wait_disconnected() == "io server disconnect"
        error = each.received("error")[-1][0]
        assert isinstance(error, dict)
        assert error["code"] == "BANNED"
    assert len(client.received("rate_limited")) == 10
    with pytest.raises(JsConnectError) as refused:
        await portal.connect("/portal")
    assert isinstance(refused.value.data, dict)
    assert refused.value.data["code"] == "BANNED"
    assert 290 < refused.value.data["retry_after"] <= 300
    await late.emit("authenticate", {"token": portal.token()})
    failed = (await late.wait_for("authentication_failed"))[0][0]
    assert isinstance(failed, dict)
    assert failed["code"] == "BANNED"
    await other.emit("join_project", {"project_name": portal.project})
    await other.wait_for("joined_project")


async def test_nine_refusals_do_not(portal: Portal) -> None:
    """One refusal fewer, and the client stays."""
    client = await portal.connect("/portal")
    await _hurry(client, portal.project, 19)
    refusals = await client.wait_for("rate_limited", 9)
    await asyncio.sleep(_retry_after(refusals[-1]))  # what the client was told to do
    assert await client.call("leave_project", {"project_name": portal.project}) == {"status": "ok"}


async def test_a_ban_ends(quick: Portal) -> None:
    """After the ban (1 s here, 300 s as shipped) the user is let in again."""
    client = await quick.connect("/portal")
    await _hurry(client, quick.project, 110)
    await client.wait_disconnected()
    with pytest.raises(JsConnectError) as refused:
        await quick.connect("/portal")
    assert isinstance(refused.value.data, dict)
    await asyncio.sleep(refused.value.data["retry_after"])  # what the client was told to do
    again = await quick.connect("/portal")
    assert again.connected
