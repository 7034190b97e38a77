"""One consumer on a channel of its own: deliveries pile up in order and are taken in batches."""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Final, Self

from aiormq import Channel
from aiormq.abc import DeliveredMessage

from bridge.amqp.connection import Link, LinkLostError

_IDLE_TURNS: Final = 2


class Subscription:
    """A running consumer. The broker sends at most `prefetch` deliveries that are not acknowledged.

    The callback only appends: aiormq starts a task per delivery, and callbacks that await may overtake
    one another.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._inbox: deque[DeliveredMessage] = deque()
        self._wake = asyncio.Event()
        self._ended: str | None = None

    @classmethod
    async def open(
        cls, link: Link, queue: str, *, prefetch: int, arguments: Mapping[str, str | int] | None = None
    ) -> Self:
        """Start to consume a queue or stream."""
        channel = await link.channel()
        subscription = cls(channel)
        channel.on_consumer_cancel_callbacks.add(
            lambda _: subscription._end("consumer cancelled: queue gone")
        )
        channel.closing.add_done_callback(lambda _: subscription._end("channel closed"))
        await channel.basic_qos(prefetch_count=prefetch)
        await channel.basic_consume(queue, subscription._append, arguments=dict(arguments or {}))
        return subscription

    async def take(self, limit: int) -> list[DeliveredMessage]:
        """Wait for deliveries and take up to `limit`, oldest first.

        LinkLostError once the consumer has ended. What was not taken by then is dropped: the broker
        still has it.
        """
        while self._ended is None and not self._inbox:
            self._wake.clear()
            await self._wake.wait()
        await self._gather(limit)
        if self._ended is not None:
            raise LinkLostError(self._ended)
        return [self._inbox.popleft() for _ in range(min(limit, len(self._inbox)))]

    async def acknowledge(self, last: DeliveredMessage) -> None:
        """Acknowledge this delivery and all before it."""
        if last.delivery_tag is not None:
            await self._channel.basic_ack(last.delivery_tag, multiple=True, wait=False)

    async def close(self) -> None:
        """End the consumer and its channel."""
        await self._channel.close()

    async def _gather(self, limit: int) -> None:
        """Let what already arrived come in: aiormq passes on only a few deliveries per turn of the loop."""
        idle = before = 0
        while idle < _IDLE_TURNS and self._ended is None and len(self._inbox) < limit:
            await asyncio.sleep(0)
            idle = idle + 1 if len(self._inbox) == before else 0
            before = len(self._inbox)

    async def _append(self, message: DeliveredMessage) -> None:
        self._inbox.append(message)
        self._wake.set()

    def _end(self, reason: str) -> None:
        if self._ended is None:
            self._ended = reason
        self._wake.set()
