"""The HTTP polling transport: a GET that waits for messages, a POST that brings some."""

import asyncio
from typing import Final

from aiohttp import web

from bridge.sockets.connection import Connection
from bridge.sockets.endings import CloseReason, ProtocolError
from bridge.sockets.incoming import receive_body

_BODY_SECONDS: Final = 30.0
"""How long the body of a POST may take to arrive."""


async def answer_get(connection: Connection) -> web.Response:
    """Answer a poll with what waits, as soon as something does."""
    try:
        body = await connection.poll()
    except ProtocolError:
        return web.Response(status=400)
    except asyncio.CancelledError:
        # The client hung up, and aiohttp was told to cancel handlers then.
        connection.close(CloseReason.TRANSPORT_CLOSE)
        raise
    return text_response(body)


async def answer_post(connection: Connection, request: web.Request, max_bytes: int) -> web.Response:
    """Take the packets of a POST."""
    status = _check_post(request, max_bytes)
    if status != 200:
        connection.fail("bad_post")
        return web.Response(status=status)
    try:
        connection.begin_post()
    except ProtocolError:
        return web.Response(status=400)
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            body = await request.content.readexactly(request.content_length or 0)
        taken = connection.polling and await receive_body(connection, body)
    except (TimeoutError, asyncio.IncompleteReadError):
        connection.fail("body_missing")
        taken = False
    finally:
        connection.end_post()
    return text_response(b"ok") if taken else web.Response(status=400)


def _check_post(request: web.Request, max_bytes: int) -> int:
    """The HTTP status: 200 if the body may be read.

    The length must be known before, and be that of what is parsed: no chunks, no compression.
    """
    if request.content_length is None:
        return 411
    if request.content_length > max_bytes:
        return 413
    if "Content-Encoding" in request.headers:
        return 415
    return 200


def text_response(body: bytes) -> web.Response:
    """Packets, as every answer of this transport carries them."""
    return web.Response(body=body, content_type="text/plain", charset="UTF-8")
