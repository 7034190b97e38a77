"""Sends requests and waits for their replies, over RabbitMQ's direct reply-to."""

import asyncio
from itertools import count
from typing import Final

import structlog
from aiormq import Channel
from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from bridge.amqp.confirms import LONGEST_KEY, send, to_properties
from bridge.amqp.connection import Link
from bridge.model import PublishOutcome, Reply, Request
from bridge.telemetry.metrics import Metrics

_REPLY_TO: Final = "amq.rabbitmq.reply-to"

log = structlog.get_logger(__name__)


class DirectRequester:
    """Publishes transient, mandatory requests, and hands each reply to whoever waits for it.

    Replies come back on the channel that the request was sent on, which stands on the publishing
    connection (`ConfirmingPublisher` opens it). A request that nobody took in time expires in its
    queue. At most `in_flight` requests wait for replies; a further one waits for its turn within its
    own time. Implements `flow.ports.Requester`.
    """

    def __init__(self, metrics: Metrics, *, in_flight: int = 1000) -> None:
        self._places = asyncio.Semaphore(in_flight)
        self._numbers = count(1)
        self._waiting: dict[str, asyncio.Future[Reply]] = {}
        metrics.queue_length.labels("requests").set_function(lambda: len(self._waiting))
        self._link: Link | None = None
        self._channel: Channel | None = None

    async def open(self, link: Link) -> Channel:
        """Use a new connection from here on; whoever opened it sees when the channel closes."""
        channel = await link.channel(confirms=True)
        await channel.basic_consume(_REPLY_TO, self._take, no_ack=True)
        self._link, self._channel = link, channel
        return channel

    def close(self) -> None:
        """The connection is gone, and with it all replies that were on their way."""
        self._link = self._channel = None
        for reply in self._waiting.values():
            reply.cancel()

    async def request(self, request: Request) -> Reply | PublishOutcome:
        """Send one request and wait for its reply, `request.timeout` at most.

        UNROUTABLE: no queue is bound for it. TIMEOUT: it was sent, and nobody answered.
        BROKER_UNAVAILABLE: it was not sent. UNKNOWN_OUTCOME: the connection broke, so that no reply can
        come. REJECTED: the broker refused it.
        """
        if len(request.message.routing_key.encode()) > LONGEST_KEY:
            log.error("request.key_too_long", exchange=request.message.exchange)
            return PublishOutcome.REJECTED
        deadline = asyncio.get_running_loop().time() + request.timeout
        try:
            async with asyncio.timeout_at(deadline):
                channel = await self._enter()
        except TimeoutError:
            return PublishOutcome.BROKER_UNAVAILABLE
        if channel is None:
            return PublishOutcome.BROKER_UNAVAILABLE
        try:
            return await self._exchange(channel, request, deadline)
        finally:
            self._places.release()

    async def _enter(self) -> Channel | None:
        """Wait until the request may be sent; None when the connection is away."""
        if self._link is None:
            return None
        await self._link.unblocked()
        await self._places.acquire()
        if self._channel is None:
            self._places.release()
        return self._channel

    async def _exchange(self, channel: Channel, request: Request, deadline: float) -> Reply | PublishOutcome:
        """Send the request; its reply may come before the broker's confirm."""
        loop = asyncio.get_running_loop()
        number = str(next(self._numbers))
        reply: asyncio.Future[Reply] = loop.create_future()
        self._waiting[number] = reply
        sending = loop.create_task(send(channel, request.message, _to_properties(request, number)))
        try:
            await asyncio.wait(
                (sending, reply), timeout=deadline - loop.time(), return_when=asyncio.FIRST_COMPLETED
            )
            if not _has_come(reply):
                await asyncio.wait((sending,), timeout=deadline - loop.time())
                if sending.done() and sending.result() is not PublishOutcome.CONFIRMED:
                    return sending.result()
                await asyncio.wait((reply,), timeout=deadline - loop.time())
            if not reply.done():
                return PublishOutcome.TIMEOUT
            return PublishOutcome.UNKNOWN_OUTCOME if reply.cancelled() else reply.result()
        finally:
            del self._waiting[number]
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _take(self, message: DeliveredMessage) -> None:
        """Hand a reply over; one that nobody waits for any more came too late."""
        properties = message.header.properties
        reply = self._waiting.get(str(properties.correlation_id))
        if reply is None or reply.done():
            log.debug("reply.too_late", message_id=properties.message_id)
            return
        headers = properties.headers or {}
        error = _to_text(headers["error"]) if "error" in headers else None
        reply.set_result(Reply(body=message.body, content_type=properties.content_type, error=error))


def _to_text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes | bytearray) else str(value)


def _has_come(reply: asyncio.Future[Reply]) -> bool:
    return reply.done() and not reply.cancelled()


def _to_properties(request: Request, number: str) -> Basic.Properties:
    expiration = str(max(1, round(request.timeout * 1000)))
    return to_properties(
        request.message, delivery_mode=1, expiration=expiration, reply_to=_REPLY_TO, correlation_id=number
    )
