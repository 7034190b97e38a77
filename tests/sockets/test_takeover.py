"""Taking a connection over: what is expected of aiohttp, and what it refuses as no websocket handshake."""

import asyncio
import gc

import aiohttp
import pytest
from aiohttp import web

from tests.support.echo_gateway import Running
from tests.support.hostile import send_http, websocket

_HANDSHAKE = {
    "Host": "x",
    "Upgrade": "websocket",
    "Connection": "keep-alive, Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def request(version: str = "1.1", **changes: str) -> str:
    """A handshake with some headers changed; dashes are written as underscores."""
    headers = _HANDSHAKE | {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    return f"GET /socket.io/?EIO=4&transport=websocket HTTP/{version}\r\n{''.join(lines)}\r\n"


async def test_the_handshake_is_answered(running: Running) -> None:
    """With the accept of the standard's own example (RFC 6455, section 1.3), and Engine.IO's first packet."""
    answer = await send_http(running, request())
    assert answer.startswith("HTTP/1.1 101 ")
    assert "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer


@pytest.mark.parametrize(
    "text",
    [
        request(Sec_WebSocket_Key="short"),
        request(Sec_WebSocket_Key="c2hvcnQ="),
        request(Sec_WebSocket_Version="8"),
        request(Connection="keep-alive"),
        request(version="1.0"),
    ],
    ids=["no key", "a short key", "version", "connection", "HTTP/1.0"],
)
async def test_what_is_no_handshake_is_refused(running: Running, text: str) -> None:
    """And opens no connection."""
    assert (await send_http(running, text)).startswith(("HTTP/1.1 400", "HTTP/1.0 400"))
    assert running.count("bridged_connections") == 0


async def test_aiohttp_keeps_nothing_of_a_websocket(running: Running) -> None:
    """Neither its protocol nor the request nor a task: that is what makes ten thousand of them cheap."""
    async with websocket(running):
        gc.collect()
        ours = [task for task in asyncio.all_tasks() if "RequestHandler" in repr(task)]
        assert ours == []
        assert not [thing for thing in gc.get_objects() if type(thing) in (web.Request, web.RequestHandler)]


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
