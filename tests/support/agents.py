"""The Agents as their users and services see them: dashboards in `/`, and services that publish events."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.daemon import Daemon, make_token, unique
from tests.support.js_client import JsClient, JsClients
from tests.support.services import Services

OVER_WEBSOCKET = ["websocket"]


class Agents:
    """What a test of the Agents works with; its agent, task, conversation and user are nobody else's."""

    def __init__(self, daemon: Daemon, js: JsClients, services: Services) -> None:
        self.daemon = daemon
        self.js = js
        self.services = services
        self.user = unique("ann")
        self.agent = unique("123e4567-e89b-12d3-a456-426614174000")
        self.task = unique("task")
        self.conversation = unique("conversation")

    async def connect(
        self, *rooms: str, path: str = "/ws", transports: list[str] | None = None, dashboard: bool = False
    ) -> JsClient:
        """A client that has subscribed to the rooms, and has left the dashboard unless it is asked for.

        All clients of the daemon share the dashboard: who stays there sees what other tests publish, too.
        """
        auth: dict[str, object] = {"token": make_token(self.user)}
        client = await self.js.connect(
            self.daemon.url, path=path, auth=auth, transports=transports or OVER_WEBSOCKET
        )
        if not dashboard:
            await client.call("unsubscribe", {"room": "dashboard"})
        for room in rooms:
            assert await client.call("subscribe", {"room": room}) == {"status": "ok", "room": room}
        client.events.clear()
        return client

    async def publish(self, key: str, body: object) -> None:
        """Publish one event."""
        await self.services.publish(key, body)

    async def mark(self, *clients: JsClient) -> None:
        """Let the clients receive a message of a conversation of their own, and wait for it.

        Events keep their order, so whatever was sent to a client before has arrived by then.
        """
        conversation = unique("mark")
        body = {"conversation_id": conversation, "message": "mark", "timestamp": 0}
        for client in clients:
            await client.call("subscribe", {"room": f"conversation:{conversation}"})
        await self.publish(f"conversation.{conversation}.message", body)
        for client in clients:
            await client.until(lambda client=client: [body] in client.received("conversation:message"))  # type: ignore[misc]


def seen(client: JsClient) -> list[tuple[str, list[object]]]:
    """What a client has received but for marks and answers to its subscriptions."""
    return [(name, args) for name, args in client.events if name != "subscribed" and not _is_mark(args)]


def _is_mark(args: list[object]) -> bool:
    match args:
        case [{"message": "mark", "timestamp": 0}]:
            return True
        case _:
            return False


@asynccontextmanager
async def visit_agents(daemon: Daemon, amqp_url: str, js: JsClients) -> AsyncIterator[Agents]:
    """Browsers and services around a daemon that runs; the browsers are closed at the end."""
    async with Services(amqp_url, events="agents.events") as services:
        yield Agents(daemon, js, services)
        await js.close_all()
