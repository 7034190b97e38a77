"""The HTTP polling transport: a GET that waits for messages, a POST that brings some."""

import asyncio
import socket
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from bridge.intake import PIECE
from bridge.sockets.connection import Connection
from bridge.sockets.endings import CloseReason, ProtocolError
from bridge.sockets.incoming import receive_body

_BODY_SECONDS: Final = 30.0
"""How long the body of a POST may take to arrive."""


async def answer_get(
    connection: Connection, request: web.Request, headers: Mapping[str, str], seconds: float
) -> web.StreamResponse:
    """Answer a poll with what waits, as soon as something does; the answer may take so long to leave."""
    try:
        body = await connection.poll()
    except ProtocolError:
        return web.Response(status=400)
    except asyncio.CancelledError:
        # The client hung up, and aiohttp was told to cancel handlers then.
        connection.close(CloseReason.TRANSPORT_CLOSE)
        raise
    return await send_body(connection, request, body, headers, seconds)


async def send_body(
    connection: Connection, request: web.Request, body: bytes, headers: Mapping[str, str], seconds: float
) -> web.StreamResponse:
    """Send an answer, and return when all of it has left the process; cut the client if it takes longer."""
    response = web.StreamResponse(headers=headers)
    response.content_type, response.charset = "text/plain", "UTF-8"
    response.content_length = len(body)
    transport = request.transport
    try:
        async with asyncio.timeout(seconds) as limit:
            if transport is not None:
                _keep_in_sight(transport)
            connection.polls.begin_answer(limit)
            try:
                await _write(connection, request, response, body)
            finally:
                connection.answered()
    except TimeoutError:
        connection.close(CloseReason.SLOW_CLIENT)
        if transport is not None:
            transport.abort()
    except ConnectionError:
        connection.close(CloseReason.TRANSPORT_CLOSE)
    except asyncio.CancelledError:
        connection.close(CloseReason.TRANSPORT_CLOSE)
        raise
    return response


def _keep_in_sight(transport: asyncio.Transport) -> None:
    """Let an answer be written when it has left the machine but for a little, as far as the system can tell.

    By default a write is over when the kernel has it, which takes megabytes: for each of the connections on
    which a client polls and reads nothing.
    """
    transport.set_write_buffer_limits(high=1)
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is not None:
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, option, PIECE)


async def _write(
    connection: Connection, request: web.Request, response: web.StreamResponse, body: bytes
) -> None:
    """Write an answer piece by piece, and say how much of it is left."""
    await response.prepare(request)
    for at in range(0, len(body), PIECE):
        connection.polls.leaving = len(body) - at
        await response.write(body[at : at + PIECE])
    await response.write_eof()


async def answer_post(connection: Connection, request: web.Request) -> web.Response:
    """Take the packets of a POST."""
    status = _check_post(request, connection.max_bytes)
    if status != 200:
        connection.fail("bad_post")
        return web.Response(status=status)
    try:
        connection.polls.begin_post()
    except ProtocolError as error:
        connection.fail(error.word)
        return web.Response(status=400)
    try:
        body = await _read_body(connection, request)
        taken = connection.polling and await receive_body(connection, body)
    except (TimeoutError, asyncio.IncompleteReadError):
        connection.fail("body_missing")
        taken = False
    finally:
        connection.polls.end_post()
    return text_response(b"ok") if taken else web.Response(status=400)


async def _read_body(connection: Connection, request: web.Request) -> bytes:
    """The body of a POST; TimeoutError also when the connection is closed meanwhile."""
    try:
        async with asyncio.timeout(_BODY_SECONDS) as limit:
            connection.polls.begin_body(limit)
            return await request.content.readexactly(request.content_length or 0)
    finally:
        connection.polls.end_body()


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
    """Packets, as every short answer of this transport carries them."""
    return web.Response(body=body, content_type="text/plain", charset="UTF-8")
