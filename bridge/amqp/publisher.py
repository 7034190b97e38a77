"""Publishes messages with publisher confirms, on a connection of its own, with a channel for each exchange.

What goes to one exchange mostly goes to the same streams: on a channel of its own it keeps the numbers by
which a RabbitMQ before 4.0 tells duplicates (confirms.py), and waits for no confirm of what goes elsewhere.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

import structlog

from bridge.amqp.channel import LinkLostError
from bridge.amqp.confirms import ConfirmingChannel, to_properties
from bridge.amqp.connection import SETUP_SECONDS, BrokerConnection
from bridge.amqp.link import Link
from bridge.amqp.requests import DirectRequester
from bridge.amqp.topology import OWN_EXCHANGES, Topology, declare_publishing
from bridge.config.model import Amqp
from bridge.model import PublishMessage, PublishOutcome
from bridge.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)


class ConfirmingPublisher:
    """Publishes persistent, mandatory messages and says truthfully what became of each.

    Messages are sent without waiting for one another's confirms; at most `in_flight` of them, and
    16 MB of bodies, are without an answer at a time. Implements `flow.ports.EagerPublisher`.
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
        names = (*topology.exchanges, *OWN_EXCHANGES, config.state.name, config.invalid.name)
        self._exchanges = tuple(dict.fromkeys(names))
        self._requester = requester
        self._window = _Window(in_flight, in_flight_bytes)
        metrics.queue_length.labels("publishing").set_function(lambda: self._window.messages)
        self._link: Link | None = None
        self._channels: dict[str, ConfirmingChannel] = {}
        """By exchange; while there is a link there is one for each."""
        self._renewed: asyncio.Future[None] | None = None
        """What `_renewal` waits for, while anybody does."""

    async def run(self) -> None:
        """Keep the connection up until cancelled."""
        await self.connection.run(self._serve)

    async def publish(self, message: PublishMessage) -> PublishOutcome:
        """Publish one message and wait for the broker's answer, `confirm_timeout` at most.

        BROKER_UNAVAILABLE comes at once while there is no connection, and after `confirm_timeout` when
        the broker takes nothing (memory or disk alarm), answers nothing, or the window is full: in each
        case the message was not sent. What AMQP cannot carry (a key over 255 bytes) is REJECTED.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._config.confirm_timeout
        answer: asyncio.Future[PublishOutcome] = loop.create_future()
        try:
            if not self._post_at_once(message, partial(_settle, answer)):
                async with asyncio.timeout_at(deadline):
                    posted = await self._post_in_turn(message, partial(_settle, answer))
                if not posted:
                    return PublishOutcome.BROKER_UNAVAILABLE
        except TimeoutError:
            return PublishOutcome.BROKER_UNAVAILABLE
        except ValueError as error:
            log.error("publish.impossible", exchange=message.exchange, reason=str(error))
            return PublishOutcome.REJECTED
        # One timer: asyncio.timeout would cost as much as all the rest.
        timer = loop.call_at(deadline, _settle, answer, PublishOutcome.UNKNOWN_OUTCOME)
        try:
            return await answer
        finally:
            timer.cancel()

    def post(self, message: PublishMessage, done: Callable[[PublishOutcome], None]) -> bool:
        """Publish one message at once, if nothing need be waited for, and call `done` as `publish` returns.

        False when it cannot be sent now, or not at all: nothing was done.
        """
        try:
            return self._post_at_once(message, done)
        except ValueError:
            return False  # `publish` says why

    def _post_at_once(self, message: PublishMessage, done: Callable[[PublishOutcome], None]) -> bool:
        if self._link is None or not self._link.is_writable:
            return False
        return self._window.enter_now(len(message.body)) and self._send(message, done)

    async def _post_in_turn(self, message: PublishMessage, done: Callable[[PublishOutcome], None]) -> bool:
        """Wait until the message may be sent, and send it; False when the connection is away."""
        while self._link is not None:
            await self._link.writable()
            await self._window.enter(len(message.body))
            if self._send(message, done):
                return True
            if self._link is not None:  # the channel is being replaced
                await self._renewal()
        return False

    async def _renewal(self) -> None:
        """Wait until a channel has been replaced, or the link is gone."""
        if self._renewed is None:
            self._renewed = asyncio.get_running_loop().create_future()
        await asyncio.wait([self._renewed])

    def _renew(self) -> None:
        if self._renewed is not None:
            self._renewed.set_result(None)
            self._renewed = None

    def _send(self, message: PublishMessage, done: Callable[[PublishOutcome], None]) -> bool:
        """Send a message that has room in the window, and give the room back when it is answered.

        False when it cannot be sent, ValueError when it never can: the room is given back at once.
        """
        size, posted = len(message.body), False
        try:
            if self._link is not None:
                told = partial(self._leave, size, done)
                properties = to_properties(message, persistent=True)
                channel = self._channels[message.exchange]
                posted = channel.post(message, properties, told, self._config.confirm_timeout)
        finally:
            if not posted:
                self._window.leave(size)
        return posted

    def _leave(self, size: int, done: Callable[[PublishOutcome], None], outcome: PublishOutcome) -> None:
        self._window.leave(size)
        done(outcome)

    async def _serve(self, link: Link) -> None:
        async with asyncio.timeout(SETUP_SECONDS):
            await declare_publishing(link, self._config, self._topology)
            opened = await asyncio.gather(*(ConfirmingChannel.open(link) for _ in self._exchanges))
            ended = [] if self._requester is None else [(await self._requester.open(link)).ended]
        self._link, self._channels = link, dict(zip(self._exchanges, opened, strict=True))
        self.connection.mark_up()
        try:
            await self._keep_channels(link, ended)
        finally:
            self._link = None
            self._channels.clear()
            self._renew()
            if self._requester is not None:
                self._requester.close()

    async def _keep_channels(self, link: Link, ended: list[asyncio.Future[LinkLostError]]) -> None:
        """Replace channels that were given up; returns when one is closed, or one of `ended` is done."""
        while True:
            over = [one.over for one in self._channels.values()]
            done, _ = await asyncio.wait([*ended, *over], return_when=asyncio.FIRST_COMPLETED)
            for exchange, one in self._channels.items():
                if one.over not in done:
                    continue
                if one.channel.ended.done():
                    return
                await one.channel.close()  # first: what it has sent keeps its place
                self._channels[exchange] = await ConfirmingChannel.open(link)
                self._renew()
            if any(future in done for future in ended):
                return


def _settle(answer: asyncio.Future[PublishOutcome], outcome: PublishOutcome) -> None:
    if not answer.done():
        answer.set_result(outcome)


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
