"""Publishes messages with publisher confirms, on a connection of its own."""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

import structlog

from bridge.amqp.confirms import ConfirmingChannel, to_properties
from bridge.amqp.connection import SETUP_SECONDS, BrokerConnection
from bridge.amqp.link import Link
from bridge.amqp.requests import DirectRequester
from bridge.amqp.topology import Topology, declare_publishing
from bridge.config.model import Amqp
from bridge.model import PublishMessage, PublishOutcome
from bridge.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)


class ConfirmingPublisher:
    """Publishes persistent, mandatory messages and says truthfully what became of each.

    Messages are sent without waiting for one another's confirms; at most `in_flight` of them, and
    16 MB of bodies, are without a confirm at a time. Implements `flow.ports.EagerPublisher`.
    """

    def __init__(
        self,
        config: Amqp,
        topology: Topology,
        instance_id: str,
        metrics: Metrics,
        *,
        requester: DirectRequester | None = None,
        in_flight: int = 1000,
        in_flight_bytes: int = 16_000_000,
    ) -> None:
        """`requester` shares the connection, on a channel of its own."""
        self.connection = BrokerConnection(config, "publish", metrics, instance_id)
        """Its `up_since` and `down_since` say how publishing fares."""
        self._config = config
        self._topology = topology
        self._requester = requester
        self._window = _Window(in_flight, in_flight_bytes)
        metrics.queue_length.labels("publishing").set_function(lambda: self._window.messages)
        self._link: Link | None = None
        self._channel: ConfirmingChannel | None = None

    async def run(self) -> None:
        """Keep the connection up until cancelled."""
        await self.connection.run(self._serve)

    async def publish(self, message: PublishMessage) -> PublishOutcome:
        """Publish one message and wait for the broker's answer, `confirm_timeout` at most.

        BROKER_UNAVAILABLE comes at once while there is no connection, and after `confirm_timeout` when
        the broker takes nothing (memory or disk alarm) or the window is full: in each case the message
        was not sent. What AMQP cannot carry (a key over 255 bytes) is REJECTED.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._config.confirm_timeout
        size = len(message.body)
        channel = self._channel
        if channel is None or self._link is None:
            return PublishOutcome.BROKER_UNAVAILABLE
        if not (self._link.is_writable and self._window.enter_now(size)):
            try:
                async with asyncio.timeout_at(deadline):
                    channel = await self._enter(self._link, size)
            except TimeoutError:
                return PublishOutcome.BROKER_UNAVAILABLE
            if channel is None:
                return PublishOutcome.BROKER_UNAVAILABLE
        try:
            return await self._send(channel, message, deadline)
        finally:
            self._window.leave(size)

    def post(self, message: PublishMessage, done: Callable[[PublishOutcome], None]) -> bool:
        """Publish one message at once, if nothing need be waited for, and call `done` as `publish` returns.

        False when it cannot be sent now, or not at all: nothing was done.
        """
        channel, size = self._channel, len(message.body)
        if channel is None or self._link is None or not self._link.is_writable:
            return False
        if not self._window.enter_now(size):
            return False
        posted = False
        try:
            properties = to_properties(message, persistent=True)
            told = partial(self._leave, size, done)
            posted = channel.post(message, properties, told, self._config.confirm_timeout)
        except ValueError:
            pass  # `publish` says why
        if not posted:
            self._window.leave(size)
        return posted

    def _leave(self, size: int, done: Callable[[PublishOutcome], None], outcome: PublishOutcome) -> None:
        self._window.leave(size)
        done(outcome)

    async def _enter(self, link: Link, size: int) -> ConfirmingChannel | None:
        """Wait until the message may be sent; None when the connection is away."""
        await link.writable()
        await self._window.enter(size)
        if self._channel is None:
            self._window.leave(size)
        return self._channel

    async def _send(
        self, channel: ConfirmingChannel, message: PublishMessage, deadline: float
    ) -> PublishOutcome:
        try:
            sent = channel.send(message, to_properties(message, persistent=True))
        except ValueError as error:
            log.error("publish.impossible", exchange=message.exchange, reason=str(error))
            return PublishOutcome.REJECTED
        # One timer: asyncio.timeout would cost as much as all the rest.
        timer = asyncio.get_running_loop().call_at(deadline, sent.settle, PublishOutcome.UNKNOWN_OUTCOME)
        try:
            return await sent.outcome
        finally:
            timer.cancel()
            channel.forget(sent)

    async def _serve(self, link: Link) -> None:
        async with asyncio.timeout(SETUP_SECONDS):
            await declare_publishing(link, self._config, self._topology)
            channel = await ConfirmingChannel.open(link)
            ended = [channel.channel.ended]
            if self._requester is not None:
                ended.append((await self._requester.open(link)).ended)
        self._link, self._channel = link, channel
        self.connection.mark_up()
        try:
            await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._link = self._channel = None
            if self._requester is not None:
                self._requester.close()


class _Window:
    """Bounds what is in flight, in messages and in bytes, first come first served.

    A single message always fits, however large.
    """

    def __init__(self, messages: int, size: int) -> None:
        self._most_messages = messages
        self._most_bytes = size
        self.messages = 0
        self._bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    def enter_now(self, size: int) -> bool:
        """Take room if there is some and nobody waits for it."""
        if self._waiting or not self._has_room(size):
            return False
        self._take(size)
        return True

    async def enter(self, size: int) -> None:
        """Wait for room and take it."""
        if self.enter_now(size):
            return
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((size, admitted))
        try:
            await admitted
        except asyncio.CancelledError:
            if admitted.done() and not admitted.cancelled():
                self.leave(size)
            raise

    def leave(self, size: int) -> None:
        """Give the room back, to those who wait."""
        self.messages -= 1
        self._bytes -= size
        while self._waiting and (self._waiting[0][1].done() or self._has_room(self._waiting[0][0])):
            size, admitted = self._waiting.popleft()
            if not admitted.done():
                self._take(size)
                admitted.set_result(None)

    def _has_room(self, size: int) -> bool:
        return self.messages == 0 or (
            self.messages < self._most_messages and self._bytes + size <= self._most_bytes
        )

    def _take(self, size: int) -> None:
        self.messages += 1
        self._bytes += size
