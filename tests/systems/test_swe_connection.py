"""How clients of the SWE Agent come in: where the token may stand, the greeting, what a bad one is told."""

import asyncio
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, make_token, unique
from tests.support.js_client import JsClient, JsClients, JsConnectError
from tests.support.swe import Swe, seen, visit_swe

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


async def connect(swe: Swe, **options: object) -> JsClient:
    """A client of `/ws` that waits for nothing."""
    return await swe.js.connect(swe.url, wait=False, **{"transports": ["websocket"], **options})  # type: ignore[arg-type]


async def test_connection_is_greeted_as_documented(swe: Swe) -> None:
    """`connection_established` comes first, with the ids and the protocol's version."""
    client = await swe.connect()
    ((event,),) = await client.wait_for("connection_established")
    assert isinstance(event, dict)
    assert _TIME.fullmatch(str(event.pop("timestamp")))
    assert event == {
        "type": "connection.established",
        "data": {"connection_id": client.sid, "user_id": swe.user, "protocol_version": "1.0"},
    }
    assert client.events[0][0] == "connection_established"


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]], ids=str)
@pytest.mark.parametrize("place", ["auth", "header", "query"])
async def test_token_may_stand_in_auth_header_or_query(swe: Swe, place: str, transports: list[str]) -> None:
    """All three places let the client in, on every transport."""
    token = swe.token()
    options: dict[str, dict[str, object]] = {
        "auth": {"auth": {"token": token}},
        "header": {"extraHeaders": {"Authorization": f"Bearer {token}"}},
        "query": {"query": {"token": token}},
    }
    client = await connect(swe, transports=transports, **options[place])
    ((event,),) = await client.wait_for("connection_established")
    assert isinstance(event, dict)
    assert event["data"]["user_id"] == swe.user


async def test_token_of_auth_wins_over_the_query(swe: Swe) -> None:
    """A page that has renewed its token may still carry an old one in its address."""
    client = await connect(
        swe, auth={"token": swe.token()}, query={"token": make_token(swe.user, expires_in=-60)}
    )
    await client.wait_for("connection_established")


async def test_query_token_opens_no_other_namespace(swe: Swe) -> None:
    """This namespace alone reads it: addresses end up in logs."""
    with pytest.raises(JsConnectError) as caught:
        await swe.js.connect(f"{swe.daemon.url}/", query={"token": swe.token()})
    assert caught.value.data == {"code": "NOT_AUTHENTICATED"}


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]], ids=str)
@pytest.mark.parametrize(
    ("claims", "code", "message"),
    [
        (None, "AUTH_MISSING", "No authentication provided"),
        ({"expires_in": -60}, "AUTH_FAILED", "Invalid or expired token"),
        ({"secret": "of somebody else, and over 32 bytes"}, "AUTH_FAILED", "Invalid or expired token"),
        ({"expires_in": None}, "AUTH_FAILED", "Invalid or expired token"),
        ("garbage", "AUTH_FAILED", "Invalid or expired token"),
    ],
    ids=["none", "expired", "forged", "endless", "garbage"],
)
async def test_failed_connection_is_told_why_and_ended(
    swe: Swe, claims: Mapping[str, object] | str | None, code: str, message: str, transports: list[str]
) -> None:
    """`connection_error` with the documented code and without an id, then the server disconnects."""
    match claims:
        case None:
            auth: dict[str, object] = {}
        case str():
            auth = {"token": claims}
        case _:
            auth = {"token": make_token(swe.user, **claims)}  # type: ignore[arg-type]
    client = await connect(swe, auth=auth, transports=transports)
    ((event,),) = await client.wait_for("connection_error")
    assert isinstance(event, dict)
    assert _TIME.fullmatch(str(event.pop("timestamp")))
    data = {"error_code": code, "error_message": message, "connection_id": None}
    assert event == {"type": "connection.error", "data": data}
    assert await client.wait_disconnected() == "io server disconnect"
    assert [name for name, _ in client.events] == ["connection_error"]


async def test_refused_client_can_do_nothing(swe: Swe) -> None:
    """What it sends beside its bad token is not carried out, and it receives no event."""
    refused = await swe.js.connect(
        swe.url, auth={"token": "x"}, transports=["websocket"], wait=False, reconnection=False
    )
    await refused.emit("subscribe", {"room": "global"})
    await refused.wait_disconnected()
    member = await swe.connect()
    await swe.mark(member)
    assert [name for name, _ in refused.events] == ["connection_error"]


async def test_good_token_comes_in_after_a_bad_one(swe: Swe) -> None:
    """Refresh the token and call `socket.connect()`, as the document says."""
    client = await connect(swe, auth={"token": "stale"})
    await client.wait_disconnected()
    await client.reconnect({"token": swe.token()})
    await client.wait_for("connection_established")


async def test_rooms_of_user_and_all_are_joined_by_themselves(swe: Swe) -> None:
    """`user:<sub>` and `global` need no subscription."""
    client, other = await swe.connect(), await swe.connect(user=unique("bob"))
    body = {
        "type": "project.deleted",
        "timestamp": "2024-11-08T10:30:00Z",
        "source": "project_service",
        "data": {"project_id": "p", "deleted_by": swe.user},
    }
    await swe.publish("project.p.deleted", body)
    await swe.mark(client, other)
    assert seen(client) == [("project.deleted", [body])]
    assert seen(other) == []


async def test_session_ends_with_its_token_and_can_be_renewed(swe: Swe) -> None:
    """`token_expired` before the end; `authenticate` with a newer token prolongs the session."""
    short = await swe.connect(token=swe.token(expires_in=2))
    renewed = await swe.connect(token=swe.token(expires_in=2))
    assert await renewed.call("authenticate", {"token": swe.token()}) == {"status": "ok"}
    await short.wait_for("token_expired")
    assert await short.wait_disconnected() == "io server disconnect"
    await swe.mark(renewed)
    assert renewed.received("token_expired") == []


@pytest.fixture
def talkative(tmp_path: Path, amqp_url: str) -> Iterator[Daemon]:
    """A daemon that logs all that it can."""
    daemon = Daemon(tmp_path, amqp_url, environ={"LOG_LEVEL": "debug"})
    daemon.start()
    yield daemon
    assert daemon.stop() == 0


async def test_no_token_is_ever_logged(talkative: Daemon, amqp_url: str, js: JsClients) -> None:
    """Neither a good nor a bad one, of any request; the audit lines of both connections are there."""
    async with visit_swe(talkative, amqp_url, js) as swe:
        good, bad = swe.token(), make_token(unique("mallory"), expires_in=-60)
        for transports in (["websocket"], ["polling"]):
            client = await connect(swe, query={"token": good}, transports=transports)
            await client.wait_for("connection_established")
            await client.close()
            client = await connect(swe, query={"token": bad}, transports=transports)
            await client.wait_disconnected()
        for token in (good, bad):
            await _send_strange_requests(talkative.port, token)
        opened, refused = f"user={swe.user}", "reason=INVALID_TOKEN"
        await talkative.until(
            lambda: talkative.log.count(opened) >= 4 and talkative.log.count(refused) == 2,
            5,
            "the audit lines",
        )
    for token in (good, bad):
        assert not any(part in talkative.log for part in token.split("."))
    assert "token" not in talkative.log.casefold().replace("invalid_token", "")


async def _send_strange_requests(port: int, token: str) -> None:
    """Requests that are no good HTTP or no good Socket.IO, with a token in their query."""
    for line in (
        f"GET /socket.io/?EIO=4&transport=polling&token={token} HTTP/1.1\r\nHost: a\r\nbad header",
        f"GET /socket.io/?EIO=4&transport=polling&token={token} HTTP/9.9",
        f"GET /socket.io/?EIO=4&transport=polling&token={token}\x01\x7f HTTP/1.1",
        f"G@T /socket.io/?token={token} HTTP/1.1\r\nHost: a",
        f"GET /socket.io/?EIO=3&transport=polling&token={token} HTTP/1.1\r\nHost: a",
        f"GET /socket.io/?EIO=4&transport=polling&sid=none&token={token} HTTP/1.1\r\nHost: a",
        f"GET /nowhere?token={token} HTTP/1.1\r\nHost: a",
        f"GET http://[?token={token} HTTP/1.1\r\nHost: a",
        f"POST /api/v1/websocket/stats?token={token} HTTP/1.1\r\nHost: a\r\nContent-Length: x",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"{line}\r\nConnection: close\r\n\r\n".encode())
        async with asyncio.timeout(5):
            await reader.read()
        writer.close()
        await writer.wait_closed()


async def test_rapid_reconnects_are_counted_and_named_in_the_audit(swe: Swe) -> None:
    """The sixth connection of a user within 10 s counts; the metric's label is the namespace alone."""
    sample = 'bridged_rapid_reconnects_total{namespace="/ws"}'
    before = swe.daemon.metrics().get(sample, 0.0)
    for _ in range(7):
        client = await swe.connect()
        await client.close()
    assert swe.daemon.metrics()[sample] == before + 2
    lines = [line for line in swe.daemon.log.splitlines() if swe.user in line and "rapid=True" in line]
    assert len(lines) == 2


async def test_unknown_namespace_is_still_a_connect_error(swe: Swe) -> None:
    """`refuse_with` is this namespace's own."""
    with pytest.raises(JsConnectError) as caught:
        await swe.js.connect(f"{swe.daemon.url}/wss", auth={"token": swe.token()})
    assert caught.value.data == {"code": "UNKNOWN_NAMESPACE"}
