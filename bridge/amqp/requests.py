"""Sends requests and waits for their replies, over RabbitMQ's direct reply-to."""

import asyncio
from itertools import count
from typing import Final

import structlog
from pamqp.commands import Basic

from bridge.amqp.channel import Channel
from bridge.amqp.confirms import ConfirmingChannel, to_properties
from bridge.amqp.events import Content
from bridge.amqp.link import Link
from bridge.amqp.properties import decode_properties
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
        self._channel: ConfirmingChannel | None = None

    async def open(self, link: Link) -> Channel:
        """Use a new connection from here on; whoever opened it sees when the channel closes."""
        channel = await ConfirmingChannel.open(link)
        channel.channel.on_deliveries = self._take
        await channel.channel.call(Basic.Consume(queue=_REPLY_TO, no_ack=True))
        self._link, self._channel = link, channel
        return channel.channel

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

    async def _enter(self) -> ConfirmingChannel | None:
        """Wait until the request may be sent; None when the connection is away."""
        if self._link is None:
            return None
        await self._link.writable()
        await self._places.acquire()
        if self._channel is None:
            self._places.release()
        return self._channel

    async def _exchange(
        self, channel: ConfirmingChannel, request: Request, deadline: float
    ) -> Reply | PublishOutcome:
        """Send the request; its reply may come before the broker's confirm."""
        loop = asyncio.get_running_loop()
        number = str(next(self._numbers))
        try:
            sent = channel.send(request.message, _to_properties(request, number))
        except ValueError as error:
            log.error("request.impossible", exchange=request.message.exchange, reason=str(error))
            return PublishOutcome.REJECTED
        reply: asyncio.Future[Reply] = loop.create_future()
        self._waiting[number] = reply
        outcome = sent.outcome
        try:
            await asyncio.wait(
                (outcome, reply), timeout=deadline - loop.time(), return_when=asyncio.FIRST_COMPLETED
            )
            if not _has_come(reply):
                await asyncio.wait((outcome,), timeout=deadline - loop.time())
                if outcome.done() and outcome.result() is not PublishOutcome.CONFIRMED:
                    return outcome.result()
                await asyncio.wait((reply,), timeout=deadline - loop.time())
            if not reply.done():
                return PublishOutcome.TIMEOUT
            return PublishOutcome.UNKNOWN_OUTCOME if reply.cancelled() else reply.result()
        finally:
            del self._waiting[number]
            channel.forget(sent)

    def _take(self, contents: list[Content]) -> None:
        """Hand replies over; one that nobody waits for any more came too late."""
        for content in contents:
            properties = decode_properties(content.properties)
            reply = self._waiting.get(str(properties.correlation_id))
            if reply is None or reply.done():
                log.debug("reply.too_late", message_id=properties.message_id)
                continue
            headers = properties.headers
            error = _to_text(headers["error"]) if "error" in headers else None
            reply.set_result(Reply(body=content.body, content_type=properties.content_type, error=error))


def _to_text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes | bytearray) else str(value)


def _has_come(reply: asyncio.Future[Reply]) -> bool:
    return reply.done() and not reply.cancelled()


def _to_properties(request: Request, number: str) -> bytes:
    expiration = str(max(1, round(request.timeout * 1000)))
    return to_properties(
        request.message, persistent=False, expiration=expiration, reply_to=_REPLY_TO, correlation_id=number
    )
