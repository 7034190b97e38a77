"""The page for operators that `http.stats` switches on: who is in which rooms of a namespace, in numbers."""

from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec
from aiohttp import web

from bridge.auth.tokens import TokenFault, TokenVerifier, find_bearer_token
from bridge.config.model import Stats
from bridge.errors import Code
from bridge.flow.ports import Client
from bridge.model import EVERYONE, Principal
from bridge.rules.access import Access
from bridge.state.memberships import Memberships
from bridge.web.responses import json_response
from bridge.web.siblings import Siblings

_STATUS: Final = {Code.NOT_AUTHENTICATED: 401, Code.INVALID_TOKEN: 401, Code.FORBIDDEN: 403}


class StatsPage:
    """`GET http.stats.path`: `{connections, rooms: {name: members}}` of one namespace of this instance.

    With `siblings` the numbers of all workers are summed.

    Rooms are named as they are kept: what is no letter, digit or one of `_.~@*-` stands percent-encoded
    in the values of a name, so that two rooms never look the same.
    """

    def __init__(
        self,
        stats: Stats,
        access: Access,
        verifier: TokenVerifier,
        memberships: Memberships[Client],
        clock: Callable[[], float],
        siblings: Siblings | None = None,
    ) -> None:
        """`clock` gives epoch seconds."""
        self._stats = stats
        self._access = access
        self._verifier = verifier
        self._memberships = memberships
        self._clock = clock
        self._siblings = siblings
        if siblings is not None:
            siblings.answer("rooms", lambda: msgspec.json.encode(self._count_rooms()))

    def route(self) -> web.RouteDef:
        """The route to add to the daemon's application."""
        return web.get(self._stats.path, self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        found = self._identify(request)
        if isinstance(found, TokenFault):
            return _refuse(Code.INVALID_TOKEN, found.message)
        if found is None:
            return _refuse(Code.NOT_AUTHENTICATED, "Send a token as `Authorization: Bearer <token>`")
        if not self._access.permits(found.claims, {}):
            return _refuse(Code.FORBIDDEN, "Access to these statistics is denied")
        rooms = self._count_rooms() if self._siblings is None else await _sum_rooms(self._siblings)
        connections = rooms.pop(EVERYONE, 0)
        return json_response(200, {"connections": connections, "rooms": rooms})

    def _count_rooms(self) -> dict[str, int]:
        return self._memberships.room_sizes(self._stats.namespace)

    def _identify(self, request: web.Request) -> Principal | TokenFault | None:
        """Who asks; None without a token. The query is not looked at: it ends up in logs."""
        token = find_bearer_token(request.headers.get("Authorization", ""))
        return None if token is None else self._verifier.verify(token, self._clock())


async def _sum_rooms(siblings: Siblings) -> dict[str, int]:
    """The members of all workers; one that does not answer has none any more, or they cannot be asked for."""
    total: Counter[str] = Counter()
    for answer in (await siblings.ask("rooms")).values():
        if answer is not None:
            total.update(msgspec.json.decode(answer, type=dict[str, int]))
    return dict(total)


def _refuse(code: Code, message: str) -> web.Response:
    response = json_response(_STATUS[code], {"status": "error", "code": code, "message": message})
    if response.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response
