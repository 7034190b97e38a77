"""One consumer on a channel of its own: deliveries pile up in order and are taken in batches."""

import asyncio
from collections.abc import Mapping
from typing import Final, Self

from pamqp.commands import Basic

from bridge.amqp.channel import Channel, LinkLostError
from bridge.amqp.events import Content
from bridge.amqp.frames import encode_ack
from bridge.amqp.link import Link

_ACK_DELAY: Final = 0.02
"""Seconds that an acknowledgement may wait for the next ones. One per received chunk (20 to 60 events, as
RabbitMQ sends them) costs a fifth of the speed at which a stream is caught up."""
_MOST_BYTES: Final = 8_000_000
"""Bodies that may wait; above it the connection is not read, until half of them have been taken."""
_CLOSE_SECONDS: Final = 5.0
"""How long the broker may take to agree to the end of a consumer."""


class Subscription:
    """A running consumer. The broker sends at most `prefetch` deliveries that are not acknowledged."""

    def __init__(self, channel: Channel, prefetch: int, *, most_bytes: int = _MOST_BYTES) -> None:
        self._channel = channel
        self._prefetch = prefetch
        self._ack_after = max(1, prefetch // 4)
        self._handled = self._acknowledged = 0
        self._timer: asyncio.TimerHandle | None = None
        self._most_bytes = most_bytes
        self._inbox: list[Content] = []
        self._bytes = 0
        self._pauses = False
        """It holds the connection up: another consumer of it may as well, and each lets go for itself."""
        self._wake = asyncio.Event()
        self._ended: LinkLostError | None = None
        self.waiting_since: float | None = None
        """Loop time since which its taker waits for a delivery; None while there are some to handle."""
        self.acknowledged = asyncio.Event()
        """Set when acknowledgements were sent, since `settle` was called last."""
        channel.on_deliveries = self._append
        channel.on_cancelled = lambda: self._end(LinkLostError("consumer cancelled: queue gone"))
        channel.on_ended = self._end

    @classmethod
    async def open(
        cls,
        link: Link,
        queue: str,
        *,
        prefetch: int,
        arguments: Mapping[str, str | int] | None = None,
        exclusive: bool = False,
    ) -> Self:
        """Start to consume a queue or stream; `exclusive` fails while anybody else does."""
        channel = await link.channel()
        subscription = cls(channel, prefetch)
        await channel.call(Basic.Qos(prefetch_count=prefetch))
        await channel.call(Basic.Consume(queue=queue, exclusive=exclusive, arguments=dict(arguments or {})))
        return subscription

    async def take(self, limit: int) -> list[Content]:
        """Wait for deliveries and take up to `limit`, oldest first: all that came together, at once.

        LinkLostError once the consumer has ended. What was not taken by then is dropped: the broker
        still has it.
        """
        while self._ended is None and not self._inbox:
            self._wake.clear()
            self.waiting_since = asyncio.get_running_loop().time()
            await self._wake.wait()
        self.waiting_since = None
        if self._ended is not None:
            raise self._ended
        taken = self._inbox[:limit]
        del self._inbox[:limit]
        self._bytes -= _size(taken)
        if self._bytes <= self._most_bytes // 2:
            self._resume()
        return taken

    def acknowledge(self, last: Content) -> None:
        """Acknowledge this delivery and all before it: a quarter of what was sent ahead at a time.

        Fewer are acknowledged a moment later. `flush` does it now.
        """
        self._handled = last.tag
        if self._handled - self._acknowledged >= self._ack_after:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_ACK_DELAY, self.flush)

    def flush(self) -> None:
        """Acknowledge what has not yet been."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._handled > self._acknowledged:
            self._acknowledged = self._handled
            self._channel.write(encode_ack(self._channel.number, self._handled))
            self.acknowledged.set()

    async def settle(self) -> int:
        """Wait until the broker has the acknowledgements that were sent; the last delivery's tag.

        Nothing answers an acknowledgement, but what is asked behind it on the channel is answered after it.
        LinkLostError when no answer can come.
        """
        self.acknowledged.clear()
        tag = self._acknowledged
        await self._channel.call(Basic.Qos(prefetch_count=self._prefetch))
        return tag

    async def close(self) -> None:
        """End the consumer and its channel; TimeoutError when the broker does not agree."""
        self.flush()
        self._resume()
        async with asyncio.timeout(_CLOSE_SECONDS):
            await self._channel.close()

    def _append(self, contents: list[Content]) -> None:
        self._inbox += contents
        self._bytes += _size(contents)
        if self._bytes > self._most_bytes and not self._pauses:
            self._pauses = True
            self._channel.carrier.pause()
        self._wake.set()

    def _resume(self) -> None:
        if self._pauses:
            self._pauses = False
            self._channel.carrier.resume()

    def _end(self, reason: LinkLostError) -> None:
        if self._ended is None:
            self._ended = reason
        if self._timer is not None:
            self._timer.cancel()
        self._resume()
        self._wake.set()


def _size(contents: list[Content]) -> int:
    return sum([len(content.body) for content in contents])
