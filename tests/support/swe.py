"""The SWE Agent as its users and services see it: browsers in `/ws`, and services that publish envelopes."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.support.daemon import Daemon, make_token, unique
from tests.support.js_client import JsClient, JsClients
from tests.support.services import Services

_numbers = itertools.count(1)


class Swe:
    """What a test of the SWE Agent works with; its project and its user are nobody else's."""

    def __init__(self, daemon: Daemon, js: JsClients, services: Services) -> None:
        self.daemon = daemon
        self.js = js
        self.services = services
        self.project = unique("550e8400-e29b-41d4-a716-446655440000")
        self.user = unique("660e8400-e29b-41d4-a716-446655440001")

    @property
    def url(self) -> str:
        """Where clients connect to."""
        return f"{self.daemon.url}/ws"

    def token(self, user: str | None = None, expires_in: float | None = 3600, **claims: object) -> str:
        """A token of the test's user for the test's project, unless `claims` says otherwise."""
        given: dict[str, Any] = {"projects": [self.project], **claims}
        return make_token(user or self.user, expires_in, **given)

    async def connect(
        self, *rooms: str, user: str | None = None, token: str | None = None, **claims: Any
    ) -> JsClient:
        """A client that has received `connection_established` and has subscribed to the rooms."""
        auth: dict[str, object] = {"token": token or self.token(user, **claims)}
        client = await self.js.connect(self.url, auth=auth, transports=["websocket"])
        await client.wait_for("connection_established")
        for room in rooms:
            assert await client.call("subscribe", {"room": room}) == {"status": "success", "room": room}
        return client

    async def bystander(self) -> JsClient:
        """A client of another user and project, in all rooms that it may join."""
        project = unique("gemini")
        return await self.connect(f"project:{project}", user=unique("eve"), projects=[project])

    async def publish(self, key: str, body: object) -> None:
        """Publish one event."""
        await self.services.publish(key, body)

    async def mark(self, *clients: JsClient) -> None:
        """Send an event to everybody in `global` and wait for it: what was published before has arrived."""
        mark = f"mark-{next(_numbers)}"
        body = {
            "type": "agent.connected",
            "timestamp": "2024-11-08T10:30:00Z",
            "source": "tests",
            "data": {"agent_id": mark},
        }
        await self.publish(f"agent.{mark}.connected", body)
        for client in clients:
            await client.until(lambda client=client: [body] in client.received("agent.connected"))  # type: ignore[misc]


def seen(client: JsClient) -> list[tuple[str, list[object]]]:
    """What a client has received but for its greeting and marks."""
    return [
        (name, args)
        for name, args in client.events
        if name != "connection_established" and not _is_mark(name, args)
    ]


def _is_mark(name: str, args: list[object]) -> bool:
    match name, args:
        case "agent.connected", [{"source": "tests"}]:
            return True
        case _:
            return False


@asynccontextmanager
async def visit_swe(daemon: Daemon, amqp_url: str, js: JsClients) -> AsyncIterator[Swe]:
    """Browsers and services around a daemon that runs; the browsers are closed at the end."""
    async with Services(amqp_url, events="swe.events") as services:
        yield Swe(daemon, js, services)
        await js.close_all()
