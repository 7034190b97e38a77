"""The portal as its users and services see it: one daemon, its browsers and its orchestrator."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.daemon import Daemon, make_token, unique
from tests.support.js_client import JsClient, JsClients
from tests.support.services import Commands, Services


class Portal:
    """What a test of the portal works with; its project and its users are nobody else's."""

    def __init__(self, daemon: Daemon, js: JsClients, services: Services) -> None:
        self.daemon = daemon
        self.js = js
        self.services = services
        self.project = unique("apollo")
        self.user = unique("ann")

    def token(self, expires_in: float | None = 3600, **claims: object) -> str:
        """A token of the test's user for the test's project, unless `claims` says otherwise."""
        given = {"projects": [self.project], "permissions": [], **claims}
        user = str(given.pop("user", self.user))
        return make_token(user, expires_in, **given)

    async def connect(
        self,
        namespace: str,
        *,
        token: str | None = None,
        shares: JsClient | None = None,
        wait: bool = True,
        options: dict[str, object] | None = None,
        **claims: object,
    ) -> JsClient:
        """A client that is signed in by its handshake, on a websocket unless `options` says otherwise."""
        return await self.js.connect(
            f"{self.daemon.url}{namespace}",
            auth={"token": token or self.token(**claims)},
            shares=shares,
            wait=wait,
            **{"transports": ["websocket"], **(options or {})},
        )

    async def connect_unsigned(self, namespace: str) -> JsClient:
        """A client that has shown no token yet."""
        return await self.js.connect(f"{self.daemon.url}{namespace}", transports=["websocket"])

    async def project_client(self, **claims: object) -> JsClient:
        """A client in `/project/{the test's project}`."""
        return await self.connect(f"/project/{self.project}", **claims)

    async def chat_client(self, **claims: object) -> JsClient:
        """A client in `/chat/{the test's project}`."""
        return await self.connect(f"/chat/{self.project}", **claims)

    async def publish(self, event: str, body: object) -> None:
        """Publish an event of the test's project: `state_change`, ..."""
        await self.services.publish(f"project.{self.project}.{event}", body)

    def state_change(self, new_state: object = "SPRINT_ACTIVE", **fields: object) -> dict[str, object]:
        """A body of `state_change` with all that is required."""
        return {
            "project_name": self.project,
            "old_state": "IDLE",
            "new_state": new_state,
            "timestamp": "2026-11-20T10:00:00.000Z",
            "triggered_by": "orchestrator",
            **fields,
        }

    async def take_commands(self) -> Commands:
        """The commands of the test's project: chat and approvals."""
        chat = await self.services.take(f"chat.{self.project}.#")
        await self.services.take(f"project.{self.project}.#", chat)
        return chat

    async def tell(self, client: JsClient, mark: object = "mark") -> list[object]:
        """Let a client of `/project/{the test's project}` receive a `state_change`, and wait for it.

        Events keep their order, so whatever was sent to the client before has arrived by then.
        """
        before = len(client.received("state_change"))
        change = self.state_change(mark)
        await self.publish("state_change", change)
        # The last state from before may still be on its way to one that has just come.
        await client.until(
            lambda: any(args[0] == change for args in client.received("state_change")[before:]),
            wanted=lambda: f"the state_change {mark}",
        )
        return client.received("state_change")[-1]


@asynccontextmanager
async def visit(daemon: Daemon, amqp_url: str, js: JsClients) -> AsyncIterator[Portal]:
    """Browsers and services around a daemon that runs; the browsers are closed at the end."""
    async with Services(amqp_url) as services:
        yield Portal(daemon, js, services)
        await js.close_all()


def names(client: JsClient) -> list[str]:
    """The names of all events that a client has received, in order."""
    return [name for name, _ in client.events]
