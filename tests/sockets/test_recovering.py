"""Clients that recover: cursors, replays, catching up and evictions, as the official clients see them."""

import asyncio
from collections.abc import Callable

import aiohttp
import pytest
import uvloop

from bridge.config.model import Limits
from bridge.config.units import Duration, Size
from bridge.flow.ports import Admitted, Client, ConnectRequest
from bridge.model import Emission, Place
from bridge.sockets.client import SocketClient
from bridge.sockets.connection import FREELY
from tests.support.echo_gateway import Running, emission, raw, serve
from tests.support.hostile import open_polling, polling_url
from tests.support.js_client import JsClient, JsClients
from tests.support.proxy import Proxy

TRANSPORTS = [["websocket"], ["polling"], ["polling", "websocket"]]
SESSION = Admitted(pid="secret", extra={"recovered": False, "offset": "0-00000000"})


def client_of(running: Running, client: JsClient) -> Client:
    """The server's end of a client."""
    assert client.sid is not None
    return running.gateway.clients[client.sid]


def missed(number: int, *args: object) -> tuple[Emission, str]:
    """An event of the log at that offset, with its cursor."""
    place = Place(number, number)
    return emission("e", number, *args, place=place), place.cursor


def send(running: Running, *numbers: int, room: str = "", namespace: str = "/") -> None:
    """Send events of the log at these offsets, as one batch."""
    running.fanout.send(
        [
            emission("e", number, room=room, namespace=namespace, place=Place(number, number))
            for number in numbers
        ]
    )
    running.head = Place(numbers[-1], numbers[-1])


@pytest.mark.parametrize("transports", TRANSPORTS, ids="+".join)
async def test_a_session_goes_on(running: Running, js: JsClients, transports: list[str]) -> None:
    """The client shows its pid and the last cursor, gets its sid back, and what it missed before all else."""
    running.gateway.admits["/"] = SESSION
    client = await js.connect(running.url, transports=transports, auth={"recover": True})
    send(running, 3, 5)
    assert await client.wait_for("e", 2) == [[3, "3-00000003"], [5, "5-00000005"]]
    assert await client.session() == ("secret", "5-00000005")
    assert not client.recovered
    sid = client.sid
    await client.drop()
    await running.gateway.until(lambda: bool(running.gateway.ended))
    send(running, 6, 7)
    running.gateway.admits["/"] = Admitted(sid=sid, pid="secret", extra={"recovered": True})
    running.gateway.find_missed = lambda auth: [missed(6), missed(7)]
    await client.wait_connected(times=2)
    send(running, 8)
    await client.wait_for("e", 5)
    assert client.recovered
    assert client.sid == sid
    assert [args[0] for args in client.received("e")] == [3, 5, 6, 7, 8]
    assert await client.session() == ("secret", "8-00000008")
    assert running.gateway.requests[1].auth == {"recover": True, "pid": "secret", "offset": "5-00000005"}


async def test_what_waited_for_a_poll_is_not_taken_for_received(running: Running) -> None:
    """A connection dies with events in its outbox: the client comes back with the cursor that it got."""
    async with aiohttp.ClientSession() as http:
        url = polling_url(running, await open_polling(running, '40{"recover":true}'))
        send(running, 1)
        assert await _poll(http, url) == '42["e",1,"1-00000001"]'
        send(running, 2, 3)
        (client,) = running.gateway.clients.values()
        client.evict()
        assert (await http.get(url)).status == 400
        url = polling_url(running, await open_polling(running, '40{"recover":true}'))
        (client,) = running.gateway.clients.values()
        client.replay([missed(2), missed(3)])
        assert await _poll(http, url) == '42["e",2,"2-00000002"]\x1e42["e",3,"3-00000003"]'


async def _poll(http: aiohttp.ClientSession, url: str) -> str:
    async with http.get(url) as answer:
        return await answer.text()


@pytest.mark.parametrize("transports", TRANSPORTS[:2], ids="+".join)
async def test_cut_again_and_again(running: Running, js: JsClients, transports: list[str]) -> None:
    """Wherever in a frame or body it breaks: behind the client's own cursor nothing is lost or doubled."""

    def find_missed(auth: object) -> list[tuple[Emission, str]]:
        assert isinstance(auth, dict)
        seen = int(str(auth.get("offset", "0-")).split("-")[0])
        return [missed(number, "x" * 50) for number in range(seen + 1, running.head.offset + 1)]

    running.gateway.admits["/"] = SESSION
    running.gateway.find_missed = find_missed
    async with Proxy(running.port) as proxy:
        client = await js.connect(
            proxy.url(running.url), transports=transports, auth={"recover": True}, reconnectionDelay=1
        )
        proxy.trickle(119)
        for cut in range(1, 9):
            for _ in range(5):
                first = running.head.offset + 1
                running.fanout.send([missed(first + more, "x" * 50)[0] for more in range(8)])
                running.head = Place(first + 7, first + 7)
            await client.wait_for("e", 40 * (cut - 1) + cut)
            if client.transport == "polling":
                await client.drop()  # between two polls a reset would hit nothing
            else:
                proxy.reset()
            await client.wait_connected(times=cut + 1)
        got = await client.wait_for("e", 320)
    assert [args[0] for args in got] == list(range(1, 321))


async def test_other_clients_get_the_documented_arguments(running: Running, js: JsClients) -> None:
    """In the same rooms and the same batch as one that recovers."""
    plain = await js.connect(running.url, transports=["websocket"])
    marked = await js.connect(running.url, transports=["websocket"], auth={"recover": True})
    running.fanout.send(
        [
            emission("none", place=Place(1, 1)),
            emission("one", {"a": 1}, place=Place(2, 2)),
            emission("two", "x", b"\x00\x01", place=Place(3, 0xFFFFFFFF)),
        ]
    )
    await plain.wait_for("two")
    await marked.wait_for("two")
    assert plain.events == [("none", []), ("one", [{"a": 1}]), ("two", ["x", b"\x00\x01"])]
    assert marked.events == [
        ("none", ["1-00000001"]),
        ("one", [{"a": 1}, "2-00000002"]),
        ("two", ["x", b"\x00\x01", "3-ffffffff"]),
    ]
    assert await plain.session() == (None, None)


async def test_two_namespaces_of_one_connection(running: Running, js: JsClients) -> None:
    """Of which one recovers: each gets its own events as it wants them, in the order of sending."""
    running.gateway.admits["/custom"] = SESSION
    plain = await js.connect(running.url, transports=["websocket"])
    marked = await js.connect(f"{running.url}/custom", shares=plain, auth={"recover": True})
    running.fanout.send(
        [
            emission("e", number, namespace="/custom" if number % 2 else "/", place=Place(number, 1))
            for number in range(6)
        ]
    )
    assert await plain.wait_for("e", 3) == [[0], [2], [4]]
    assert await marked.wait_for("e", 3) == [[1, "1-00000001"], [3, "3-00000001"], [5, "5-00000001"]]


async def test_what_is_told_to_a_client_alone(running: Running, js: JsClients) -> None:
    """An emit carries the head, an ack nothing."""
    running.head = Place(70, 10)
    client = await js.connect(running.url, auth={"recover": True})
    assert await client.call("message", "a", {"b": 1}) == ["a", {"b": 1}]
    assert await client.wait_for("message-back") == [["a", {"b": 1}, "70-0000000a"]]


async def test_two_events_of_one_delivery(running: Running, js: JsClients) -> None:
    """Who is cut between them must miss neither: only the last that a client gets carries the place."""
    running.head = Place(4, 4)
    both = await js.connect(running.url, auth={"recover": True})
    one = await js.connect(running.url, auth={"recover": True})
    await both.call("join", "room")
    running.fanout.send(
        [
            emission("a", place=Place(6, 6)),
            emission("b", place=Place(7, 7)),
            emission("c", room="room", place=Place(7, 7)),
            emission("elsewhere", namespace="/custom", place=Place(7, 7)),
            emission("d", room="nobody", place=Place(8, 8)),
        ]
    )
    await both.wait_for("c")
    await one.wait_for("b")
    assert both.events == [("a", ["6-00000006"]), ("b", ["6-00000006"]), ("c", ["7-00000007"])]
    assert one.events == [("a", ["6-00000006"]), ("b", ["7-00000007"])]


async def test_an_event_round_the_log_moves_nobody(running: Running, js: JsClients) -> None:
    """It carries what was sent before it in the same call, else the head."""
    running.head = Place(4, 4)
    client = await js.connect(running.url, auth={"recover": True})
    running.fanout.send([emission("live"), emission("e", place=Place(6, 6)), emission("live")])
    await client.wait_for("live", 2)
    assert [args for _, args in client.events] == [["4-00000004"], ["6-00000006"], ["6-00000006"]]


@pytest.mark.parametrize("transports", TRANSPORTS[:2], ids="+".join)
async def test_catching_up(running: Running, js: JsClients, transports: list[str]) -> None:
    """The fan-out passes the client over; what it is told meanwhile says how far it has come."""
    client = await js.connect(running.url, transports=transports, auth={"recover": True})
    behind = client_of(running, client)
    behind.begin_catch_up("5-00000005")
    send(running, 8)
    behind.replay([missed(5), missed(6, b"\x01")])
    behind.begin_catch_up("6-00000006")
    behind.emit("told", [])
    behind.replay([])
    behind.replay([missed(8)])
    behind.end_catch_up()
    send(running, 9)
    await client.wait_for("e", 4)
    assert client.events == [
        ("e", [5, "5-00000005"]),
        ("e", [6, b"\x01", "6-00000006"]),
        ("told", ["6-00000006"]),
        ("e", [8, "8-00000008"]),
        ("e", [9, "9-00000009"]),
    ]
    assert running.count("bridged_deliveries_total") == 4


async def test_catching_up_without_cursors(running: Running, js: JsClients) -> None:
    """A client that does not recover may catch up all the same, with the documented arguments."""
    client = await js.connect(running.url, transports=["websocket"])
    behind = client_of(running, client)
    behind.begin_catch_up("5-00000005")
    send(running, 8)
    behind.replay([missed(7)])
    behind.emit("told", [raw(1)])
    behind.replay([missed(8)])
    behind.end_catch_up()
    send(running, 9)
    await client.wait_for("e", 3)
    assert client.events == [("e", [7]), ("told", [1]), ("e", [8]), ("e", [9])]


@pytest.mark.parametrize("transports", TRANSPORTS[:2], ids="+".join)
async def test_an_evicted_client(running: Running, js: JsClients, transports: list[str]) -> None:
    """Its connection ends with all its namespaces; the flow learns it, as a lost transport, at once."""
    client = await js.connect(running.url, transports=transports, reconnection=False)
    await js.connect(f"{running.url}/custom", shares=client)
    stale = client_of(running, client)
    stale.evict()
    assert running.gateway.ended == [("evicted", True)] * 2
    stale.evict()
    stale.replay([missed(1)])
    await stale.drained()
    await client.wait_disconnected()
    assert running.count("bridged_closed_total", reason="evicted") == 1
    assert client.events == []
    assert len(running.gateway.ended) == 2


@pytest.mark.parametrize("auth", [{"pid": 5}, {"pid": "p" * 9000}, {"pid": [], "offset": {}}, {"pid": "x"}])
async def test_any_pid_is_for_the_flow_to_judge(
    running: Running, js: JsClients, auth: dict[str, object]
) -> None:
    """Whatever is shown is passed on as it is, and whoever shows a pid gets cursors."""
    client = await js.connect(running.url, auth=auth)
    assert running.gateway.requests[0].auth == auth
    send(running, 1)
    assert await client.wait_for("e") == [[1, "1-00000001"]]


@pytest.mark.parametrize(
    "auth", [None, {}, {"recover": 1}, {"recover": "true"}, {"pid": None}, {"offset": "1"}]
)
def test_whoever_does_not_ask_does_not_recover(auth: object) -> None:
    """Only `recover: true` and a pid ask for cursors."""
    assert not ConnectRequest(auth=auth, headers={}, query={}, remote="").recovers


async def test_whoever_has_taken_all_is_drained(running: Running, js: JsClients) -> None:
    """Without waiting, on any transport."""
    for transports in TRANSPORTS:
        client = client_of(running, await js.connect(running.url, transports=transports))
        async with asyncio.timeout(1):
            await client.drained()


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_client_that_reads_again_is_drained(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """Nobody waits while little does; whoever waits goes on when the client has taken it, or is gone."""

    async def go() -> None:
        limits = Limits(outbox_bytes=Size("100MB"), outbox_age=Duration("60s"))
        async with serve(limits=limits) as running, JsClients() as js:
            client = await js.connect(running.url, transports=["websocket"], reconnection=False)
            behind = client_of(running, client)
            other = client_of(running, await js.connect(f"{running.url}/custom", shares=client))
            await client.freeze()
            behind.replay([missed(number, "x" * 100_000) for number in range(100)])
            waiting = [asyncio.create_task(behind.drained()) for _ in range(2)]
            await client.session()  # a round trip
            assert not any(task.done() for task in waiting)
            await client.thaw()
            await asyncio.wait_for(asyncio.gather(*waiting), 10)
            assert _waiting_for(behind) <= FREELY
            await client.wait_for("e", 100)
            await client.freeze()
            behind.replay([missed(number, "x" * 100_000) for number in range(100)])
            gone, evicted = (asyncio.create_task(each.drained()) for each in (behind, other))
            await client.session()
            assert not gone.done()
            behind.disconnect()
            await asyncio.wait_for(gone, 5)
            assert not evicted.done()
            other.evict()
            await asyncio.wait_for(evicted, 5)

    with asyncio.Runner(loop_factory=make_loop) as runner:
        runner.run(go())


def _waiting_for(client: Client) -> int:
    assert isinstance(client, SocketClient)
    return client.connection.waiting


async def test_a_poll_drains(running: Running) -> None:
    """What waits for a poll has left the process when a poll has taken it."""
    async with aiohttp.ClientSession() as http:
        url = polling_url(running, await open_polling(running, '40{"recover":true}'))
        (client,) = running.gateway.clients.values()
        client.replay([missed(1, "x" * 100_000)])
        drained = asyncio.create_task(client.drained())
        await asyncio.sleep(0)
        assert not drained.done()
        await _poll(http, url)
        await asyncio.wait_for(drained, 5)
