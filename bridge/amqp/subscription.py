"""One consumer on a channel of its own: deliveries pile up in order and are taken in batches."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
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

HandOver = Callable[[list[Content]], Coroutine[None, None, None] | None]
"""Takes deliveries in order; returns None when they are handled, or what is still to be awaited."""


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
        self._holds_up = False
        """It has paused the connection, as another consumer of it may have; each resumes for itself."""
        self._wake = asyncio.Event()
        self._ended: Exception | None = None
        self._hand_over: HandOver | None = None
        """Takes what comes at once, while nothing is under way."""
        self._under_way: tuple[Coroutine[None, None, None], Content] | None = None
        """What takes longer, and the last delivery of it."""
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

    async def deliver(self, hand_over: HandOver) -> None:
        """Hand over deliveries, and acknowledge them, until the consumer ends: LinkLostError.

        All that came together is handed over in the very turn of the loop in which it came. Where
        `hand_over` returns an awaitable, what comes meanwhile waits for it. What it raises ends this, too.
        """
        try:
            while True:
                while self._inbox and self._ended is None:
                    # A quarter of what the broker sends ahead, so that acknowledgements keep it sending.
                    contents = self._cut(self._ack_after)
                    under_way = hand_over(contents)
                    if under_way is not None:
                        await under_way
                    self.acknowledge(contents[-1])
                await self._deliver_at_once(hand_over)
        finally:
            self.flush()

    async def _deliver_at_once(self, hand_over: HandOver) -> None:
        """Let `hand_over` be called for what comes, until it takes longer over something: wait for that."""
        self._hand_over = hand_over
        try:
            while self._under_way is None:
                await self._wait()
            under_way, last = self._under_way
            await under_way
            self.acknowledge(last)
        finally:
            self._hand_over = None
            if self._under_way is not None:
                self._under_way[0].close()  # in case that it was not awaited
                self._under_way = None

    async def take(self, limit: int) -> list[Content]:
        """Wait for deliveries and take up to `limit`, oldest first: all that came together, at once.

        LinkLostError once the consumer has ended. What was not taken by then is dropped: the broker
        still has it.
        """
        while not self._inbox or self._ended is not None:
            await self._wait()
        return self._cut(limit)

    async def _wait(self) -> None:
        """Wait until something happens; raises what ended the consumer."""
        self._wake.clear()
        self.waiting_since = asyncio.get_running_loop().time()
        if self._ended is None:
            await self._wake.wait()
        self.waiting_since = None
        if self._ended is not None:
            raise self._ended

    def _cut(self, limit: int) -> list[Content]:
        """Take up to `limit` deliveries from those that wait."""
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
        if self._hand_over is not None:
            self._begin(self._hand_over, contents)
            return
        self._inbox += contents
        self._bytes += _size(contents)
        if self._bytes > self._most_bytes and not self._holds_up:
            self._holds_up = True
            self._channel.carrier.pause()
        self._wake.set()

    def _resume(self) -> None:
        if self._holds_up:
            self._holds_up = False
            self._channel.carrier.resume()

    def _begin(self, hand_over: HandOver, contents: list[Content]) -> None:
        try:
            under_way = hand_over(contents)
        except Exception as error:  # raised where it is waited for, not into the connection
            self._end(error)
            return
        if under_way is None:
            self.waiting_since = asyncio.get_running_loop().time()
            self.acknowledge(contents[-1])
        else:
            self._hand_over = None  # what comes from here on waits
            self._under_way = under_way, contents[-1]
            self._wake.set()

    def _end(self, reason: Exception) -> None:
        if self._ended is None:
            self._ended = reason
        self._hand_over = None  # more may come before its taker learns of it
        if self._timer is not None:
            self._timer.cancel()
        self._resume()
        self._wake.set()


def _size(contents: list[Content]) -> int:
    return sum([len(content.body) for content in contents])
