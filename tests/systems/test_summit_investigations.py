"""Investigations: annotations and comments go to the service, presence and graphs to the others."""

import asyncio
import json
import re

import pytest

from tests.support.daemon import unique
from tests.support.js_client import JsClient
from tests.support.portal import names
from tests.support.summit import Summit

CHANGES = [f"{kind}:{action}" for kind in ("annotation", "comment") for action in ("add", "update", "delete")]
RELAYS = ["presence:update", "graph:update", "graph:awareness"]
ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def code_of(told: object) -> object:
    """The code of an ack of refusal, or of an `error` event, which holds nothing else but a message."""
    assert isinstance(told, dict)
    assert told["message"]
    assert set(told) <= {"status", "code", "message"}
    return told["code"]


def relay(event: str, investigation: str, tag: str = "x") -> tuple[object, ...]:
    """The arguments of a relayed event."""
    if event == "presence:update":
        return ({"investigationId": investigation, "cursor": tag},)
    return (investigation, tag.encode())


@pytest.mark.parametrize("event", CHANGES)
async def test_a_change_reaches_the_service(summit: Summit, event: str) -> None:
    """With what the client said, stamped by the bridge, whose fields win; its tenant is in the header."""
    service = await summit.services.take(f"investigation.{summit.investigation}.#")
    client = await summit.connect()
    said = {"investigationId": summit.investigation, "text": "größer", "at": {"node": [1, None]}}
    forged = {"user_id": "root", "timestamp": "never"}
    ack = await client.call(event, {**said, **forged, "tenant": "other", "headers": {"tenant": "other"}})
    (message,) = await service.wait_for()
    assert ack == {"status": "ok", "message_id": message.message_id}
    assert message.routing_key == f"investigation.{summit.investigation}.{event.replace(':', '.')}"
    body = json.loads(message.body)
    assert ISO.fullmatch(body.pop("timestamp"))
    assert body == {**said, "user_id": summit.user, "tenant": "other", "headers": {"tenant": "other"}}
    assert message.type == event
    assert message.content_type == "application/json"
    assert {**message.headers} == {
        "tenant": summit.tenant,
        "x-user": summit.user,
        "x-sid": client.sid,
        "x-namespace": "/realtime",
    }


@pytest.mark.parametrize("event", CHANGES)
async def test_a_change_that_nobody_takes_is_told(summit: Summit, event: str) -> None:
    """Without a service the ack says so, and the event `error`."""
    client = await summit.connect()
    assert code_of(await client.call(event, {"investigationId": unique("lost")})) == "UNROUTABLE"
    assert [code_of(args[0]) for args in await client.wait_for("error")] == ["UNROUTABLE"]


@pytest.mark.parametrize("event", [*CHANGES, "presence:update", "investigation:join", "investigation:leave"])
@pytest.mark.parametrize(
    "payload",
    [
        None,
        {},
        {"investigationId": 5},
        {"investigationId": ["a"]},
        {"investigationId": "a.b"},
        "case",
        [],
        b"x",
    ],
    ids=str,
)
async def test_a_payload_without_an_investigation_is_refused(
    summit: Summit, event: str, payload: object
) -> None:
    """`error {code: VALIDATION_FAILED, message}`."""
    client = await summit.connect()
    await client.emit(event, payload)
    assert [code_of(args[0]) for args in await client.wait_for("error")] == ["VALIDATION_FAILED"]


async def test_presence_is_relayed_to_the_others(summit: Summit) -> None:
    """Stamped, to every other client of the investigation, also the same user's, not to the sender."""
    sender = await summit.watch()
    others = [await summit.watch(), await summit.watch(user=unique("bob"))]
    sent = {"investigationId": summit.investigation, "cursor": {"x": 1}, "user_id": "root"}
    ack = await sender.call("presence:update", sent)
    assert isinstance(ack, dict)
    assert ack["status"] == "ok"
    for other in others:
        ((seen,),) = await other.wait_for("presence:update")
        assert isinstance(seen, dict)
        assert ISO.fullmatch(str(seen.pop("timestamp")))
        assert seen == {**sent, "user_id": summit.user}
    await summit.tell(sender)
    assert names(sender) == ["maestro:status_update"]


@pytest.mark.parametrize("event", ["graph:update", "graph:awareness"])
@pytest.mark.parametrize("size", [0, 1, 5000, 700_000])
async def test_bytes_are_relayed_to_the_others(summit: Summit, event: str, size: int) -> None:
    """(investigation id, bytes) goes out as it came in, to all but the sender."""
    sender, other = await summit.watch(), await summit.watch(user=unique("bob"))
    data = bytes(number % 253 for number in range(size))
    ack = await sender.call(event, summit.investigation, data)
    assert isinstance(ack, dict)
    assert ack["status"] == "ok"
    assert await other.wait_for(event) == [[summit.investigation, data]]
    await summit.tell(sender)
    assert names(sender) == ["maestro:status_update"]


@pytest.mark.parametrize("transports", [["polling"], ["polling", "websocket"]], ids=str)
async def test_bytes_pass_every_transport(summit: Summit, transports: list[str]) -> None:
    """Over HTTP polling, where bytes travel as base64, and through the upgrade: both ways, and as an ack."""
    requests = await summit.services.take(f"investigation.{summit.investigation}.graph.sync")
    one, two = [await summit.member(transports=transports) for _ in range(2)]
    data = bytes(range(256))
    await one.emit("graph:update", summit.investigation, data)
    assert await two.wait_for("graph:update") == [[summit.investigation, data]]
    answer = _sync(summit, two, data)
    await requests.wait_for()
    await summit.reply(requests, data)
    assert await answer == data
    assert requests.messages[0].body == data


async def test_a_services_own_update_reaches_everybody(summit: Summit) -> None:
    """`except: sender` is about the browser that sent it: what a service publishes is for all."""
    clients = [await summit.watch(), await summit.watch()]
    await clients[0].call("graph:update", summit.investigation, b"of a client")
    await summit.publish(f"investigation.{summit.investigation}.graph.update", b"of the service")
    for client in clients:
        await client.until(lambda client=client: "of the service" in str(client.received("graph:update")))
    assert clients[0].received("graph:update") == [[summit.investigation, b"of the service"]]


async def test_relays_keep_their_order(summit: Summit) -> None:
    """What one client sends in order, without waiting, the others receive in order."""
    sender, other = await summit.member(), await summit.member()
    for number in range(50):
        await sender.emit("graph:update", summit.investigation, b"%d" % number)
    received = await other.wait_for("graph:update", 50)
    assert [args[1] for args in received] == [b"%d" % number for number in range(50)]


@pytest.mark.parametrize("event", RELAYS)
async def test_only_members_may_relay(summit: Summit, event: str) -> None:
    """Not before joining, not after leaving, not from another tenant or investigation: FORBIDDEN."""
    member = await summit.watch()
    stranger = await summit.watch(user=unique("eve"), tenant=unique("other"))
    elsewhere = await summit.member(unique("elsewhere"))
    gone = await summit.member()
    left = {"investigationId": summit.investigation}
    assert await gone.call("investigation:leave", left) == {"status": "ok"}
    args = relay(event, summit.investigation)
    for client in (elsewhere, gone, await summit.connect()):
        assert code_of(await client.call(event, *args)) == "FORBIDDEN"
        assert [code_of(told[0]) for told in await client.wait_for("error")] == ["FORBIDDEN"]
    ack = await stranger.call(event, *args)  # a member of its own tenant's investigation of that name
    assert isinstance(ack, dict)
    assert ack["status"] == "ok"
    await summit.tell(member)
    assert names(member) == ["maestro:status_update"]


@pytest.mark.parametrize("event", ["graph:update", "graph:awareness", "graph:sync"])
async def test_arguments_that_do_not_fit_are_refused(summit: Summit, event: str) -> None:
    """Fewer, more, swapped, text or numbers for bytes, ids that are none: VALIDATION_FAILED."""
    client = await summit.member()
    case = summit.investigation
    wrong: list[tuple[object, ...]] = [
        (),
        (case,),
        (b"x",),
        (case, b"x", b"y"),
        (b"x", case),
        (case, "eHg="),
        (case, [1, 2, 3]),
        (case, {"0": 1}),
        (case, None),
        (case, 5),
        (5, b"x"),
        (None, b"x"),
        ([case], b"x"),
        ({"investigationId": case}, b"x"),
        ({"investigationId": case, "update": "eHg="},),
        ("a.b", b"x"),
        ("*", b"x"),
        ("", b"x"),
        ("x" * 129, b"x"),
    ]
    for args in wrong:
        assert (args, code_of(await client.call(event, *args))) == (args, "VALIDATION_FAILED")


async def test_a_sync_is_answered_by_the_service(summit: Summit) -> None:
    """The state vector goes to the service, and the bytes of its reply are the ack's one argument."""
    requests = await summit.services.take(f"investigation.{summit.investigation}.graph.sync")
    client = await summit.connect()
    missing = bytes(range(256))
    answer = _sync(summit, client, b"\x00vector")
    (request,) = await requests.wait_for()
    assert (request.body, request.content_type) == (b"\x00vector", "application/octet-stream")
    assert request.headers["tenant"] == summit.tenant
    assert request.headers["x-user"] == summit.user
    await summit.reply(requests, missing)
    assert await answer == missing
    assert names(client) == []


async def test_replies_go_to_whoever_asked(summit: Summit) -> None:
    """Two clients ask at once, the answers come in the other order: each gets its own."""
    requests = await summit.services.take(f"investigation.{summit.investigation}.graph.sync")
    clients = [await summit.connect(), await summit.connect()]
    answers = []
    for number, client in enumerate(clients):
        answers.append(_sync(summit, client, b"%d" % number))
        await requests.wait_for(number + 1)
    for request in reversed(requests.messages):
        await summit.reply_to(request, b"to " + request.body)
    assert [await answer for answer in answers] == [b"to 0", b"to 1"]


async def test_a_sync_that_the_service_refuses(summit: Summit) -> None:
    """A reply with the header `error` is REJECTED, with that text."""
    requests = await summit.services.take(f"investigation.{summit.investigation}.graph.sync")
    client = await summit.connect()
    answer = _sync(summit, client, b"junk")
    await requests.wait_for()
    await summit.reply(requests, b"", error="This is no state vector")
    ack = await answer
    assert code_of(ack) == "REJECTED"
    assert isinstance(ack, dict)
    assert ack["message"] == "This is no state vector"
    assert [code_of(args[0]) for args in await client.wait_for("error")] == ["REJECTED"]


async def test_a_sync_that_nobody_takes(summit: Summit) -> None:
    """UNROUTABLE, at once."""
    client = await summit.connect()
    assert code_of(await client.call("graph:sync", unique("lost"), b"\x00")) == "UNROUTABLE"
    assert [code_of(args[0]) for args in await client.wait_for("error")] == ["UNROUTABLE"]


async def test_a_sync_that_nobody_answers(summit: Summit) -> None:
    """TIMEOUT after five seconds; the client's later commands are answered, and a late reply is nobody's."""
    requests = await summit.services.take(f"investigation.{summit.investigation}.graph.sync")
    client = await summit.connect()
    assert code_of(await client.call("graph:sync", summit.investigation, b"\x00", timeout=8)) == "TIMEOUT"
    assert [code_of(args[0]) for args in await client.wait_for("error")] == ["TIMEOUT"]
    await summit.reply(requests, b"late")
    answer = _sync(summit, client, b"\x00")
    await requests.wait_for(2)
    await summit.reply_to(requests.messages[1], b"in time")
    assert await answer == b"in time"


def _sync(summit: Summit, client: JsClient, vector: bytes) -> "asyncio.Task[object]":
    """Ask for the graph, beside the test."""
    return asyncio.get_running_loop().create_task(client.call("graph:sync", summit.investigation, vector))
