"""The page for operators that `http.stats` switches on: who is in which rooms of a namespace, in numbers."""

from collections.abc import Callable
from typing import Final

from aiohttp import web

from bridge.auth.tokens import TokenFault, TokenVerifier, find_bearer_token
from bridge.config.model import Stats
from bridge.errors import Code
from bridge.flow.ports import Client
from bridge.model import EVERYONE, Principal
from bridge.rules.access import Access
from bridge.state.memberships import Memberships
from bridge.web.responses import json_response

_STATUS: Final = {Code.NOT_AUTHENTICATED: 401, Code.INVALID_TOKEN: 401, Code.FORBIDDEN: 403}


class StatsPage:
    """`GET http.stats.path`: `{connections, rooms: {name: members}}` of one namespace of this instance.

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
    ) -> None:
        """`clock` gives epoch seconds."""
        self._stats = stats
        self._access = access
        self._verifier = verifier
        self._memberships = memberships
        self._clock = clock

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
        rooms = self._memberships.room_sizes(self._stats.namespace)
        connections = rooms.pop(EVERYONE, 0)
        return json_response(200, {"connections": connections, "rooms": rooms})

    def _identify(self, request: web.Request) -> Principal | TokenFault | None:
        """Who asks; None without a token. The query is not looked at: it ends up in logs."""
        token = find_bearer_token(request.headers.get("Authorization", ""))
        return None if token is None else self._verifier.verify(token, self._clock())


def _refuse(code: Code, message: str) -> web.Response:
    response = json_response(_STATUS[code], {"status": "error", "code": code, "message": message})
    if response.status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response
