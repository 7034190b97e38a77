"""Summit as its users and services see it: browsers in /realtime, and services beside them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from tests.support.daemon import Daemon, make_token, unique
from tests.support.js_client import JsClient, JsClients
from tests.support.services import Commands, Services


class Summit:
    """What a test of Summit works with; its tenant, run and investigation are nobody else's."""

    def __init__(self, daemon: Daemon, js: JsClients, services: Services) -> None:
        self.daemon = daemon
        self.js = js
        self.services = services
        self.tenant = unique("acme")
        self.run = unique("run")
        self.investigation = unique("case")
        self.user = unique("ann")

    def token(self, *, user: str | None = None, **claims: object) -> str:
        """A token of the test's user and tenant, unless `claims` says otherwise; None leaves a claim out."""
        given = {"tenant": self.tenant, **claims}
        return make_token(
            user or self.user, **{name: value for name, value in given.items() if value is not None}
        )

    async def connect(
        self, *, user: str | None = None, transports: list[str] | None = None, **claims: object
    ) -> JsClient:
        """A client in `/realtime`, on a websocket unless `transports` says otherwise."""
        return await self.js.connect(
            f"{self.daemon.url}/realtime",
            auth={"token": self.token(user=user, **claims)},
            transports=transports or ["websocket"],
        )

    async def watch(self, **claims: object) -> JsClient:
        """A client that has asked for everything of the test's run and investigation."""
        client = await self.connect(**claims)
        run = {"runId": self.run}
        for command, *args in (
            ("maestro:subscribe_run", run),
            ("maestro:subscribe_logs", run),
            ("maestro:subscribe_status", None),
            ("investigation:join", {"investigationId": self.investigation}),
        ):
            assert await client.call(str(command), *args) == {"status": "ok"}
        return client

    async def member(self, investigation: str | None = None, **claims: object) -> JsClient:
        """A client in the test's investigation, or another one."""
        client = await self.connect(**claims)
        joined = {"investigationId": investigation or self.investigation}
        assert await client.call("investigation:join", joined) == {"status": "ok"}
        return client

    async def publish(self, key: str, body: object, *, tenant: str | None = "") -> None:
        """Publish an event of the test's tenant, of another one, or (None) without the header."""
        tenant = self.tenant if tenant == "" else tenant
        await self.services.publish(
            key,
            body,
            content_type="application/octet-stream" if isinstance(body, bytes) else "application/json",
            headers={} if tenant is None else {"tenant": tenant},
        )

    async def tell(self, *clients: JsClient) -> None:
        """Let each client receive a mark, and wait for it: whatever was sent to it before has arrived then.

        The mark is a status of their tenant, which they must have subscribed to.
        """
        before = [len(client.received("maestro:status_update")) for client in clients]
        body = {"runId": "mark", "status": "RUNNING", "timestamp": 1}
        await self.publish("maestro.run.mark.status", body)
        for client, count in zip(clients, before, strict=True):
            await client.wait_for("maestro:status_update", count + 1)

    async def reply(self, requests: Commands, body: bytes, **headers: str) -> None:
        """Answer the first request with bytes, as a service does."""
        (request, *_) = await requests.wait_for()
        await self.reply_to(request, body, **headers)

    async def reply_to(self, request: AbstractIncomingMessage, body: bytes, **headers: str) -> None:
        """Answer a request with bytes."""
        assert request.reply_to is not None
        reply = aio_pika.Message(
            body,
            content_type="application/octet-stream",
            correlation_id=request.correlation_id,
            headers={**headers},
        )
        async with asyncio.timeout(10):
            exchange = self.services.channel.default_exchange
            await exchange.publish(reply, request.reply_to, mandatory=False)


@asynccontextmanager
async def visit_summit(daemon: Daemon, amqp_url: str, js: JsClients) -> AsyncIterator[Summit]:
    """Browsers and services around a daemon that runs."""
    async with Services(amqp_url, "summit.events", "summit.commands") as services:
        yield Summit(daemon, js, services)
        await js.close_all()
