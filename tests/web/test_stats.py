"""The page of `http.stats`: numbers of one namespace, for those who may see them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from bridge.auth.tokens import TokenVerifier, sign
from bridge.config.model import Jwt, Stats
from bridge.flow.ports import Client
from bridge.model import EVERYONE
from bridge.rules.access import compile_allow
from bridge.rules.scope import Known
from bridge.state.memberships import Memberships
from bridge.web.siblings import Siblings
from bridge.web.stats import StatsPage
from bridge.web.worker import Worker
from tests.support.rules import SECRET

NOW = 1_700_000_000.0
JWT = Jwt(secret=SECRET)

Browser = TestClient[web.Request, web.Application]


@pytest.fixture
def memberships() -> Memberships[Client]:
    """Nobody is there yet."""
    return Memberships()


@pytest.fixture
async def browser(memberships: Memberships[Client]) -> AsyncIterator[Browser]:
    """Asks for the page at its default path."""
    stats = Stats(namespace="/ws")
    page = StatsPage(stats, compile_allow(stats.allow, Known()), TokenVerifier(JWT), memberships, lambda: NOW)
    app = web.Application()
    app.add_routes([page.route()])
    async with TestClient(TestServer(app)) as client:
        yield client


def bearer(lifetime: float = 60.0, **claims: object) -> dict[str, str]:
    """The header with a token."""
    return {"Authorization": f"Bearer {sign(JWT, {'sub': 'ann', **claims}, now=NOW, lifetime=lifetime)}"}


async def ask(browser: Browser, headers: dict[str, str]) -> tuple[int, dict[str, object]]:
    """Status and body of the page."""
    async with browser.get("/api/v1/websocket/stats", headers=headers) as response:
        assert response.headers["Cache-Control"] == "no-store"
        assert ("WWW-Authenticate" in response.headers) == (response.status == 401)
        return response.status, await response.json()


async def test_numbers_are_those_of_the_namespace(browser: Browser, memberships: Memberships[Client]) -> None:
    """Signed-in clients and members of its rooms; neither another namespace nor the room of all shows."""
    ann, bob = object(), object()
    for member, room in ((ann, EVERYONE), (bob, EVERYONE), (ann, "global"), (bob, "global"), (ann, "a")):
        memberships.join("/ws", room, member)  # type: ignore[arg-type]
    memberships.join("/other", "secret", ann)  # type: ignore[arg-type]
    admin = bearer(roles=["admin"])
    assert await ask(browser, admin) == (200, {"connections": 2, "rooms": {"global": 2, "a": 1}})
    memberships.leave_all(ann)  # type: ignore[arg-type]
    memberships.leave_all(bob)  # type: ignore[arg-type]
    assert await ask(browser, admin) == (200, {"connections": 0, "rooms": {}})


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "NOT_AUTHENTICATED"),
        ({"Authorization": "Bearer "}, 401, "NOT_AUTHENTICATED"),
        ({"Authorization": "Basic YTpi"}, 401, "NOT_AUTHENTICATED"),
        ({"Authorization": "Bearer x"}, 401, "INVALID_TOKEN"),
        (bearer(-1, roles=["admin"]), 401, "INVALID_TOKEN"),
        (bearer(), 403, "FORBIDDEN"),
        (bearer(roles=["user"]), 403, "FORBIDDEN"),
        (bearer(roles="admins"), 403, "FORBIDDEN"),
        (bearer(roles=["*"]), 200, None),
        ({"Authorization": bearer(roles="admin")["Authorization"].replace("Bearer", "bearer")}, 200, None),
    ],
)
async def test_who_may_see_them(
    browser: Browser, headers: dict[str, str], status: int, code: str | None
) -> None:
    """401 says to show a token that holds, 403 that it does not suffice."""
    answer = await ask(browser, headers)
    assert (answer[0], answer[1].get("code")) == (status, code)


async def test_nothing_but_reading_is_answered(browser: Browser) -> None:
    """Other methods do not exist there."""
    async with browser.post("/api/v1/websocket/stats", headers=bearer(roles=["admin"])) as response:
        assert response.status == 405


async def test_workers_are_summed(tmp_path: Path) -> None:
    """Whichever is asked; one that does not answer has no clients any more."""
    stats, verifier = Stats(namespace="/ws"), TokenVerifier(JWT)
    access = compile_allow(stats.allow, Known())
    for number in (1, 2):
        memberships: Memberships[Client] = Memberships()
        for room in (EVERYONE, "global", f"only-{number}"):
            memberships.join("/ws", room, object())  # type: ignore[arg-type]
        siblings = Siblings(Worker(number=number, count=3, folder=tmp_path))
        page = StatsPage(stats, access, verifier, memberships, lambda: NOW, siblings)
        if number == 1:
            await siblings.open()
            first = siblings
    app = web.Application()
    app.add_routes([page.route()])
    async with TestClient(TestServer(app)) as client:
        status, body = await ask(client, bearer(roles=["admin"]))
    await first.close()
    assert status == 200
    assert body == {"connections": 2, "rooms": {"global": 2, "only-1": 1, "only-2": 1}}
