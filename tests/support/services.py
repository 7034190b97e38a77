"""The microservices beside the bridge: they publish events with confirms and take commands."""

import asyncio
import json
import uuid
from datetime import UTC, datetime
from types import TracebackType

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, HeadersType


class Commands:
    """A queue of commands that a service takes, in the order of their arrival."""

    def __init__(self) -> None:
        self.messages: list[AbstractIncomingMessage] = []
        self._changed = asyncio.Event()

    async def take(self, message: AbstractIncomingMessage) -> None:
        """The consumer's callback."""
        self.messages.append(message)
        self._changed.set()

    async def wait_for(self, count: int = 1, within: float = 5) -> list[AbstractIncomingMessage]:
        """Wait until that many commands have arrived; returns all of them."""
        async with asyncio.timeout(within):
            while len(self.messages) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.messages

    async def body(self, within: float = 5) -> dict[str, object]:
        """The body of the only command."""
        (message,) = await self.wait_for(1, within)
        body: dict[str, object] = json.loads(message.body)
        return body


class Services:
    """`async with Services(amqp_url) as services`: one connection, one channel with publisher confirms."""

    def __init__(
        self, amqp_url: str, events: str = "portal.events", commands: str = "portal.commands"
    ) -> None:
        self.amqp_url = amqp_url
        self._events = events
        self._commands = commands
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None

    async def __aenter__(self) -> "Services":
        self._connection = await aio_pika.connect(self.amqp_url)
        self._channel = await self._connection.channel(publisher_confirms=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            await self._connection.close()

    @property
    def channel(self) -> AbstractChannel:
        """The channel, for what the other methods do not offer."""
        assert self._channel is not None
        return self._channel

    async def publish(
        self,
        routing_key: str,
        body: object,
        *,
        content_type: str | None = "application/json",
        headers: HeadersType | None = None,
        timestamp: datetime | None = None,
        message_id: str | None = None,
    ) -> None:
        """Publish one event (bytes as they are, else as JSON); returns when the broker has confirmed it."""
        exchange = await self.channel.get_exchange(self._events, ensure=False)
        message = aio_pika.Message(
            body if isinstance(body, bytes) else json.dumps(body).encode(),
            content_type=content_type,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            headers=headers or {},
            message_id=message_id or str(uuid.uuid4()),
            timestamp=timestamp or datetime.now(UTC),
        )
        async with asyncio.timeout(10):
            await exchange.publish(message, routing_key, mandatory=False)

    async def take(self, binding: str, commands: Commands | None = None) -> Commands:
        """Take the commands of a binding key, besides those of an earlier call where it is given."""
        commands = commands or Commands()
        queue = await self.channel.declare_queue(exclusive=True, auto_delete=True)
        await queue.bind(self._commands, binding)
        await queue.consume(commands.take, no_ack=True)
        return commands
