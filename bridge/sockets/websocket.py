"""The websocket transport: a connection that begins on one, and the change of one that polls."""

import asyncio
from contextlib import suppress
from typing import Any, Final

from aiohttp import WebSocketError, WSMsgType, web

from bridge.sockets.connection import Connection
from bridge.sockets.endings import CloseReason
from bridge.sockets.engine import Engine
from bridge.sockets.engine_packets import PROBE, PROBE_ANSWER, UPGRADE
from bridge.sockets.messages import Message

_PROBE_SECONDS: Final = 10.0
"""How long a client may take over each step of its change to a websocket."""
_CLOSE_SECONDS: Final = 1.0
"""How long aiohttp waits for the answer to a close frame of its own, which it sends for a broken frame.

Until then events may still be written, behind that close frame: every client ignores them.
"""


def make_websocket(max_bytes: int) -> web.WebSocketResponse:
    """A websocket without compression, so that aiohttp's writes are whole frames, like ours."""
    return web.WebSocketResponse(
        compress=False,
        decode_text=False,
        autoping=False,  # else aiohttp answers ping after ping without a turn for anybody else
        # aiohttp refuses a message of exactly this size.
        max_msg_size=max_bytes + 1,
        timeout=_CLOSE_SECONDS,
    )


async def serve_new(engine: Engine, connection: Connection, request: web.Request) -> web.StreamResponse:
    """Serve a connection that begins on a websocket, until it ends."""
    websocket = make_websocket(engine.limits.payload)
    try:
        await websocket.prepare(request)
        transport = request.transport
        if transport is not None:
            connection.attach(transport)
            connection.send(Message(engine.encode_open(connection, upgrades=[])))
            await _read(websocket, connection)
    finally:
        _end(engine, websocket, connection)
    return websocket


async def serve_upgrade(engine: Engine, connection: Connection, request: web.Request) -> web.StreamResponse:
    """Change a polling connection to a websocket, and serve it until it ends.

    If the client gives the websocket up before it has changed, polling goes on. A websocket for a connection
    that has changed already, or is about to, is closed without a word.
    """
    websocket = make_websocket(engine.limits.payload)
    await websocket.prepare(request)
    transport = request.transport
    if transport is None or not connection.begin_probe(transport):
        await websocket.close()
        return websocket
    try:
        changed = await _probe(websocket, connection, transport)
    except asyncio.CancelledError:
        connection.end_probe()
        raise
    if not changed:
        connection.end_probe()
        await websocket.close()
        return websocket
    try:
        await _read(websocket, connection)
    finally:
        _end(engine, websocket, connection)
    return websocket


async def _probe(
    websocket: web.WebSocketResponse[bool], connection: Connection, transport: asyncio.Transport
) -> bool:
    """The steps of the change; False if the client did not take them."""
    if await _receive_step(websocket, connection) != PROBE or connection.closed:
        return False
    transport.write(Message(PROBE_ANSWER).frames)
    connection.probed()
    if await _receive_step(websocket, connection) != UPGRADE or connection.closed:
        return False
    connection.attach(transport)
    return True


async def _receive_step(websocket: web.WebSocketResponse[bool], connection: Connection) -> bytes | None:
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            kind, data = await _receive(websocket, connection)
    except TimeoutError:
        return None
    return data if kind is WSMsgType.TEXT else None


async def _read(websocket: web.WebSocketResponse[bool], connection: Connection) -> None:
    """Read until the client closes, also when the connection is closed already and waits for that."""
    while True:
        kind, data = await _receive(websocket, connection)
        if kind is WSMsgType.TEXT:
            connection.receive_text(data)
        elif kind is WSMsgType.BINARY:
            connection.receive_binary(data)
        else:
            if isinstance(data, WebSocketError):
                # aiohttp has sent its close frame and waited for the answer; see _CLOSE_SECONDS.
                connection.fail("bad_frame")
            return


async def _receive(websocket: web.WebSocketResponse[bool], connection: Connection) -> tuple[WSMsgType, Any]:
    """Type and data of the next message; the websocket's own pings and pongs are dealt with here."""
    while True:
        if connection.turns.take():
            await connection.turns.rest()
        message = await websocket.receive()
        if message.type is WSMsgType.PING:
            with suppress(ConnectionError):  # the client is gone already: the next message says so
                await websocket.pong(message.data)
        elif message.type is not WSMsgType.PONG:
            return message.type, message.data


def _end(engine: Engine, websocket: web.WebSocketResponse[bool], connection: Connection) -> None:
    connection.close(CloseReason.TRANSPORT_CLOSE)
    engine.ended(connection)
