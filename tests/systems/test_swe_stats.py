"""`GET /api/v1/websocket/stats` of the SWE Agent's document, for whoever has the role."""

import asyncio
import json
import urllib.error
import urllib.request

from tests.support.daemon import make_token, unique
from tests.support.swe import Swe

PATH = "/api/v1/websocket/stats"


async def get(swe: Swe, authorization: str | None, path: str = PATH) -> tuple[int, dict[str, object]]:
    """Status and JSON of the answer."""
    headers = {} if authorization is None else {"Authorization": authorization}
    request = urllib.request.Request(f"{swe.daemon.url}{path}", headers=headers)  # noqa: S310  http

    def ask() -> tuple[int, dict[str, object]]:
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310  http
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    return await asyncio.to_thread(ask)


async def test_admin_sees_connections_and_rooms(swe: Swe) -> None:
    """`connections` and the members of every room, as the document shows them; they follow who goes."""
    room = f"project:{swe.project}"
    clients = [await swe.connect(room), await swe.connect(room), await swe.connect(user=unique("bob"))]
    admin = f"Bearer {swe.token(roles=['user', 'admin'])}"
    async with asyncio.timeout(5):  # a client of the test before may still be on its way out
        while (answer := await get(swe, admin))[1]["connections"] != 3:
            pass
    status, stats = answer
    rooms = stats["rooms"]
    assert isinstance(rooms, dict)
    assert (status, set(stats)) == (200, {"connections", "rooms"})
    assert stats["connections"] == rooms["global"] == 3
    assert (rooms[room], rooms[f"user:{swe.user}"]) == (2, 2)
    await clients[0].close()
    await clients[1].close()
    async with asyncio.timeout(5):
        while (stats := (await get(swe, admin))[1])["connections"] != 1:
            pass
    assert isinstance(stats["rooms"], dict)
    assert room not in stats["rooms"]


async def test_others_are_refused(swe: Swe) -> None:
    """401 without a token that holds, 403 without the role; the query's token is not read."""
    expired = make_token(swe.user, expires_in=-60, roles=["admin"])
    for authorization in (None, "", "Bearer", "Bearer ", f"Basic {swe.token(roles=['admin'])}"):
        status, body = await get(swe, authorization)
        assert (status, body["code"]) == (401, "NOT_AUTHENTICATED")
    status, body = await get(swe, None, f"{PATH}?token={swe.token(roles=['admin'])}")
    assert (status, body["code"]) == (401, "NOT_AUTHENTICATED")
    for token in (expired, "garbage"):
        status, body = await get(swe, f"Bearer {token}")
        assert (status, body["code"]) == (401, "INVALID_TOKEN")
    for claims in ({}, {"roles": ["user"]}, {"roles": ["administrator"]}, {"permissions": ["admin"]}):
        status, body = await get(swe, f"Bearer {swe.token(**claims)}")  # type: ignore[arg-type]
        assert (status, body["code"]) == (403, "FORBIDDEN")
