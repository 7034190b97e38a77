"""The official clients, in JavaScript and Python, on every transport: order, binary data, how it ends."""

import asyncio
from typing import Any

import aiohttp
import pytest
import socketio

from bridge.config.model import Http, Limits
from bridge.config.units import Duration, Size
from tests.support.echo_gateway import Running, emission, serve
from tests.support.js_client import JsClients, JsConnectError

TRANSPORTS = [["websocket"], ["polling"], ["polling", "websocket"]]


@pytest.mark.parametrize("transports", TRANSPORTS, ids="+".join)
async def test_events_and_acks_go_both_ways(running: Running, js: JsClients, transports: list[str]) -> None:
    """An event is echoed with its arguments, and an ack answers with them, binary ones included."""
    client = await js.connect(running.url, transports=transports)
    await client.emit("message", 1, "zwölf", {"a": [True, None]}, b"\x00\xff")
    assert await client.wait_for("message-back") == [[1, "zwölf", {"a": [True, None]}, b"\x00\xff"]]
    assert await client.call("message-with-ack", "a", b"b") == ["a", b"b"]
    assert running.gateway.received_events[0] == ("message", [1, "zwölf", {"a": [True, None]}, b"\x00\xff"])


@pytest.mark.parametrize("transports", TRANSPORTS, ids="+".join)
async def test_the_longest_tokens_get_through(running: Running, js: JsClients, transports: list[str]) -> None:
    """One for each namespace, before anybody knows the client; what it sends then may be far larger."""
    token = "x" * 8192
    client = await js.connect(running.url, transports=transports, auth={"token": token})
    other = await js.connect(f"{running.url}/custom", shares=client, auth={"token": token})
    assert [request.auth for request in running.gateway.requests] == [{"token": token}] * 2
    for each in (client, other):
        assert await each.call("message-with-ack", "x" * 900_000) == "x" * 900_000


@pytest.mark.parametrize("transports", TRANSPORTS, ids="+".join)
async def test_order_holds_across_an_upgrade(running: Running, js: JsClients, transports: list[str]) -> None:
    """400 events, binary ones among them, arrive in order while the client changes its transport."""
    client = await js.connect(running.url, transports=transports)
    for number in range(400):
        if number % 3 == 0:
            running.send("tick", number, number.to_bytes(2, "big"))
        elif number % 3 == 1:
            running.send("tick", number)
        else:
            running.fanout.send([emission("tick", number)])
        if number % 10 == 0:
            await asyncio.sleep(0.002)  # spreads them over the polls and the change
    got = await client.wait_for("tick", 400, timeout=20)
    assert [args[0] for args in got] == list(range(400))
    assert [args[1] for args in got[::3]] == [number.to_bytes(2, "big") for number in range(0, 400, 3)]
    if "websocket" in transports:
        await client.until(lambda: client.transport == "websocket")


async def test_what_a_client_sends_keeps_its_order_across_an_upgrade(running: Running, js: JsClients) -> None:
    """400 events of a client that begins with polling arrive in the order of sending."""
    client = await js.connect(running.url)
    for number in range(400):
        await client.emit("message", number, b"\x01" * (number % 7))
    await running.gateway.until(lambda: len(running.gateway.received_events) == 400)
    assert [args[0] for _, args in running.gateway.received_events] == list(range(400))
    await client.until(lambda: client.transport == "websocket")


async def test_a_burst_over_polling_is_one_body(running: Running, js: JsClients) -> None:
    """More packets in one POST than some servers take (16) are no fault of a client's."""
    client = await js.connect(running.url, transports=["polling"])
    for number in range(300):
        await client.emit("message", number)
    assert len(await client.wait_for("message-back", 300)) == 300
    assert client.disconnects == []


async def test_a_refused_client_learns_why(running: Running, js: JsClients) -> None:
    """Message, code and retry_after reach the client's connect_error."""
    with pytest.raises(JsConnectError) as refused:
        await js.connect(running.url, auth={"refuse": "No seat left"})
    assert refused.value.message == "No seat left"
    assert refused.value.data == {"code": "FORBIDDEN", "retry_after": 1.5}
    assert running.gateway.ended == []


async def test_an_unknown_namespace_has_a_message(running: Running, js: JsClients) -> None:
    """The error's message is not empty, as it would be if it were a bare string on the wire."""
    with pytest.raises(JsConnectError, match="Invalid namespace"):
        await js.connect(f"{running.url}/nobody")


async def test_a_fault_of_the_gateway_refuses_the_client(running: Running, js: JsClients) -> None:
    """The client is told nothing of the fault, and the gateway is told that the client is gone."""
    with pytest.raises(JsConnectError) as refused:
        await js.connect(running.url, auth={"fail": True})
    assert refused.value.data == {"code": "INTERNAL"}
    assert running.gateway.ended == [("server_disconnect", False)]


async def test_namespaces_share_a_connection(running: Running, js: JsClients) -> None:
    """Two namespaces of one connection are told apart, and leaving one leaves the other."""
    first = await js.connect(running.url, transports=["websocket"])
    second = await js.connect(f"{running.url}/custom", shares=first)
    assert running.count("bridged_connections") == 1
    running.send("here", "root")
    running.send("here", "custom", namespace="/custom")
    assert await first.wait_for("here") == [["root"]]
    assert await second.wait_for("here") == [["custom"]]
    ids = {client.connection_id for client in running.gateway.clients.values()}
    assert len(ids) == 1
    await second.disconnect()
    await running.gateway.until(lambda: running.gateway.ended == [("client_disconnect", False)])
    assert await first.call("still", "there") == "there"


async def test_the_server_ends_a_namespace(running: Running, js: JsClients) -> None:
    """What the client had on its way to the namespace then is ignored; its other one goes on."""
    first = await js.connect(running.url, transports=["websocket"])
    second = await js.connect(f"{running.url}/custom", shares=first)
    await second.emit("leave_me")
    await second.emit("message", "too late")
    assert await second.wait_disconnected() == "io server disconnect"
    assert await first.call("still", "there") == "there"
    assert running.gateway.ended == [("server_disconnect", False)]
    assert second.received("message-back") == []


async def test_a_lost_transport_is_told_apart_from_leaving(running: Running, js: JsClients) -> None:
    """A cut connection is `transport_lost`; the client reconnects by itself under a new id."""
    client = await js.connect(running.url, transports=["websocket"], reconnectionDelay=10)
    sid = client.sid
    await client.kill()
    await running.gateway.until(lambda: running.gateway.ended == [("transport_close", True)])
    await client.wait_connected(times=2)
    assert client.sid != sid


@pytest.mark.parametrize("transports", TRANSPORTS[:2], ids="+".join)
async def test_a_drain_lets_clients_reconnect_elsewhere(js: JsClients, transports: list[str]) -> None:
    """Clients see "transport close", for which they reconnect; a new connection is answered 503."""
    async with serve() as running:
        client = await js.connect(running.url, transports=transports, reconnectionDelay=10)
        await running.server.drain(spread=0.1)
        assert await client.wait_disconnected() == "transport close"
        assert running.gateway.ended == [("shutdown", True)]
        assert running.count("bridged_connections") == 0
        async with aiohttp.ClientSession() as http:
            answer = await http.get(f"{running.url}/socket.io/?EIO=4&transport=polling")
            assert answer.status == 503
        assert running.count("bridged_refused_total", reason="shutting_down") >= 1


@pytest.mark.parametrize("transports", TRANSPORTS[:2], ids="+".join)
async def test_heartbeats_keep_a_client(js: JsClients, transports: list[str]) -> None:
    """A client that answers its pings stays for as long as it likes."""
    http = Http(ping_interval=Duration("100ms"), ping_timeout=Duration("200ms"))
    async with serve(http) as running:
        client = await js.connect(running.url, transports=transports)
        await asyncio.sleep(1)  # ten heartbeats
        assert client.connects == 1
        assert client.connected
        assert running.gateway.ended == []


async def test_a_client_that_stops_reading_is_cut(js: JsClients) -> None:
    """At `outbox_bytes` its connection is aborted; another client gets every event meanwhile."""
    async with serve(limits=Limits(outbox_bytes=Size("1MB"))) as running:
        slow = await js.connect(running.url, transports=["websocket"], reconnection=False)
        other = await js.connect(running.url, transports=["websocket"])
        await slow.freeze()
        sent = 0
        while not running.gateway.ended:
            running.send("blob", "x" * 100_000)
            sent += 1
            await other.wait_for("blob", sent)
            assert sent < 500
        assert running.gateway.ended == [("slow_client", True)]
        assert running.count("bridged_closed_total", reason="slow_client") == 1
        assert running.count("bridged_connections") == 1


async def test_a_client_that_stops_reading_is_cut_for_its_age(js: JsClients) -> None:
    """A client that takes nothing for `outbox_age` is cut, however little waits for it."""
    limits = Limits(outbox_bytes=Size("100MB"), outbox_age=Duration("1s"))
    async with serve(limits=limits) as running:
        slow = await js.connect(running.url, transports=["websocket"], reconnection=False)
        await slow.freeze()
        for _ in range(100):
            running.send("blob", "x" * 100_000)
        await running.gateway.until(lambda: running.gateway.ended == [("slow_client", True)])


async def test_a_client_that_took_nothing_of_the_last_event_is_cut(js: JsClients) -> None:
    """Although nothing is sent to it after that, by which its slowness could be noticed."""
    limits = Limits(outbox_bytes=Size("100MB"), outbox_age=Duration("1s"))
    async with serve(limits=limits) as running:
        slow = await js.connect(running.url, transports=["websocket"], reconnection=False)
        await slow.freeze()
        running.send("blob", "x" * 30_000_000)  # more than the kernel's buffers hold
        await running.gateway.until(lambda: running.gateway.ended == [("slow_client", True)])


async def test_a_slow_client_that_reads_again_has_lost_nothing(js: JsClients) -> None:
    """Behind, but within its bounds, it gets all of it in order."""
    limits = Limits(outbox_bytes=Size("100MB"), outbox_age=Duration("60s"))
    async with serve(limits=limits) as running:
        client = await js.connect(running.url, transports=["websocket"])
        await client.freeze()
        for number in range(200):
            running.send("blob", number, "x" * 100_000)
        await client.thaw()
        got = await client.wait_for("blob", 200, timeout=20)
        assert [args[0] for args in got] == list(range(200))
        assert client.disconnects == []


@pytest.mark.parametrize("transports", TRANSPORTS, ids="+".join)
async def test_the_python_client(running: Running, transports: list[str]) -> None:
    """python-socketio's AsyncClient connects, emits, is answered, and leaves, on every transport."""
    client = socketio.AsyncClient()
    got: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
    client.on("message-back", lambda *args: got.put_nowait(args))
    await client.connect(running.url, transports=transports, auth={"token": "t"})
    await client.emit("message", ("a", {"b": 1}, b"\x01\x02"))
    assert await asyncio.wait_for(got.get(), 5) == ("a", {"b": 1}, b"\x01\x02")
    assert await client.call("message-with-ack", ("a", b"b")) == ("a", b"b")
    await client.disconnect()
    await running.gateway.until(lambda: bool(running.gateway.ended))
    assert running.gateway.requests[0].auth == {"token": "t"}


async def test_the_handshake_reaches_the_gateway(running: Running, js: JsClients) -> None:
    """Headers in lower case, the query, the address and the credentials are what the client showed."""
    await js.connect(
        f"{running.url}/custom",
        auth={"token": "t"},
        query={"room": "r"},
        extraHeaders={"Authorization": "Bearer t"},
    )
    request = running.gateway.requests[0]
    assert request.auth == {"token": "t"}
    assert request.headers["authorization"] == "Bearer t"
    assert request.query["room"] == "r"
    assert request.remote == "127.0.0.1"
