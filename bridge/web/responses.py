"""The JSON answers of the pages for operators."""

import msgspec
from aiohttp import web


def json_response(status: int, body: object) -> web.Response:
    """An answer that no proxy may keep: each says how things are at this moment."""
    return web.Response(
        status=status,
        body=msgspec.json.encode(body),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
