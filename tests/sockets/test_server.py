"""The server's HTTP face: its paths, its bounds, its drain."""

import asyncio

import aiohttp
import pytest
from aiohttp import web

from bridge.config.model import Http
from tests.support.echo_gateway import Running, serve


@pytest.mark.parametrize("path", ["/socket.io", "/socket.io/", "/ws", "/ws/", "/"])
async def test_every_path_is_served_with_and_without_a_slash(path: str) -> None:
    """Clients differ in whether they send one."""
    async with serve(Http(paths=["/socket.io", "/ws/", "/"])) as running, aiohttp.ClientSession() as session:
        answer = await session.get(f"{running.url}{path}?EIO=4&transport=polling")
        assert answer.status == 200
        assert (await answer.text()).startswith('0{"sid":')


async def test_answers_are_not_cached_and_are_text(running: Running) -> None:
    """A proxy that kept a poll would give one client's events to another."""
    async with aiohttp.ClientSession() as session:
        answer = await session.get(f"{running.url}/socket.io/?EIO=4&transport=polling")
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Content-Type"].lower() == "text/plain; charset=utf-8"


async def test_a_client_that_offers_another_upgrade_may_poll(running: Running) -> None:
    """Java's HTTP client offers h2c with its first request."""
    headers = {"Upgrade": "h2c", "Connection": "Upgrade, HTTP2-Settings", "HTTP2-Settings": "AAMAAABkAAQ"}
    async with aiohttp.ClientSession(headers=headers) as session:
        answer = await session.get(f"{running.url}/socket.io/?EIO=4&transport=polling")
        assert answer.status == 200


async def test_a_body_as_large_as_a_payload_is_taken(running: Running) -> None:
    """The bound is inclusive, and a large body arrives in many pieces."""
    async with aiohttp.ClientSession() as session:
        url = f"{running.url}/socket.io/?EIO=4&transport=polling"
        sid = (await (await session.get(url)).text()).split('"')[3]
        assert (await session.post(f"{url}&sid={sid}", data="40")).status == 200
        await session.get(f"{url}&sid={sid}")
        event = '42["big","' + "x" * (1_000_000 - 12) + '"]'
        assert len(event) == 1_000_000
        assert (await session.post(f"{url}&sid={sid}", data=event)).status == 200
    assert running.gateway.received_events[0][0] == "big"


async def test_whoever_is_sent_away_may_come_again() -> None:
    """Those who are there are sent away one after the other, those who come meanwhile are not."""
    async with serve() as running, aiohttp.ClientSession() as session:
        url = f"{running.url}/socket.io/?EIO=4&transport=websocket"
        sockets = [await session.ws_connect(url) for _ in range(5)]
        sending = asyncio.create_task(running.server.send_away(spread=0.5))
        again = []
        for socket in sockets:
            while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
            again.append(await session.ws_connect(url))
        await sending
        assert running.count("bridged_closed_total", reason="new_epoch") == 5
        assert running.count("bridged_connections") == 5
        for socket in again:
            await socket.send_str("40")
            while not (await socket.receive_str()).startswith("40"):
                pass
            await socket.close()


async def test_a_drain_is_spread_over_its_time() -> None:
    """So that another instance does not get all clients at once."""
    async with serve() as running, aiohttp.ClientSession() as session:
        url = f"{running.url}/socket.io/?EIO=4&transport=websocket"
        sockets = [await session.ws_connect(url) for _ in range(20)]
        loop = asyncio.get_running_loop()

        async def end(socket: aiohttp.ClientWebSocketResponse) -> float:
            while (await socket.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
            assert socket.close_code == 1001
            return loop.time()

        _, *ends = await asyncio.gather(running.server.drain(spread=1.0), *map(end, sockets))
        assert max(ends) - min(ends) > 0.15
        assert len({round(when, 2) for when in ends}) > 5
        assert running.count("bridged_closed_total", reason="shutdown") == 20


async def test_a_closed_application_leaves_no_websocket_open(running: Running) -> None:
    """aiohttp no longer knows of them: the server ends them itself."""
    async with aiohttp.ClientSession() as session:
        url = f"{running.url}/socket.io/?EIO=4&transport=websocket"
        async with session.ws_connect(url) as socket:
            await socket.receive_str()
            app = web.Application()
            running.server.attach(app)
            app.freeze()
            await app.shutdown()
            message = await socket.receive(timeout=5)
            assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


async def test_a_second_websocket_does_not_harm_the_first(running: Running) -> None:
    """It is closed without a word, and the connection goes on over the one that it has."""
    url = f"{running.url}/socket.io/?EIO=4&transport="
    async with aiohttp.ClientSession() as session:
        sid = (await (await session.get(f"{url}polling")).text()).split('"')[3]
        async with session.ws_connect(f"{url}websocket&sid={sid}") as first:
            await first.send_str("2probe")
            assert await first.receive_str() == "3probe"
            await first.send_str("5")
            await first.send_str("40")
            assert (await first.receive_str()).startswith("40")
            async with session.ws_connect(f"{url}websocket&sid={sid}") as second:
                assert (await second.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
            await first.send_str('421["still"]')
            assert await first.receive_str() == "431[]"
