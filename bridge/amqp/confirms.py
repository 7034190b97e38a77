"""A channel with publisher confirms: says truthfully what became of each message that was sent on it.

RabbitMQ before 4.0 does not. When the leader of a stream changes, it writes what is unconfirmed to the new
one under the number that a message has on its channel, instead of in the stream. These messages are then
never confirmed; and if others of the channel had gone elsewhere, so that the two numbers differ, the next
ones pass for duplicates: confirmed and dropped (rabbitmq-server c68c9a48c3). Hence a message counts as
confirmed only once all before it on its channel are answered, and a channel on which an answer does not come
is given up.
"""

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Self

import structlog
from pamqp.commands import Confirm

from bridge.amqp.channel import Channel, ChannelClosedError, LinkLostError
from bridge.amqp.events import Confirmed, Content
from bridge.amqp.frames import SYNTAX_ERROR, WireError, encode_publish
from bridge.amqp.link import Link
from bridge.amqp.properties import decode_properties, encode_properties
from bridge.model import PublishMessage, PublishOutcome

log = structlog.get_logger(__name__)


class Sent:
    """A message that is on its way; `outcome` is done when the broker has answered, or never will."""

    __slots__ = ("confirmed", "message", "outcome", "returned", "tag")

    def __init__(self, tag: int, message: PublishMessage) -> None:
        self.tag = tag
        self.message = message
        self.returned = self.confirmed = False
        self.outcome: asyncio.Future[PublishOutcome] = asyncio.get_running_loop().create_future()

    def settle(self, outcome: PublishOutcome) -> None:
        """Answer whoever still waits."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class Posted:
    """A message that is on its way, for someone who is told and does not wait: no future, and no timer."""

    __slots__ = ("_done", "confirmed", "deadline", "message", "returned")

    def __init__(
        self, message: PublishMessage, done: Callable[[PublishOutcome], None], deadline: float
    ) -> None:
        self.message = message
        self.returned = self.confirmed = False
        self.deadline = deadline
        self._done = done

    def settle(self, outcome: PublishOutcome) -> None:
        """Tell what became of it; whoever calls this has taken it from those that wait.

        A confirm may be about a thousand messages: whoever fails to hear of one must not cost the others.
        """
        try:
            self._done(outcome)
        except Exception:
            log.exception("confirm.failed")


class ConfirmingChannel:
    """Sends mandatory messages, and matches confirms and returns to them."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.over: asyncio.Future[LinkLostError] = asyncio.get_running_loop().create_future()
        """Done when nothing more can be sent; the result says why."""
        self._loop = asyncio.get_running_loop()
        self._tags = count(1)
        self._last = 0
        self._oldest = 1
        """No message before this one waits."""
        self._waiting: dict[int, Sent | Posted] = {}
        self._timer: asyncio.TimerHandle | None = None
        """Of the oldest posted message."""
        channel.on_confirmed = self._confirm
        channel.on_returned = self._give_back
        channel.on_ended = self._end

    @classmethod
    async def open(cls, link: Link) -> Self:
        """Open a channel in confirm mode."""
        channel = await link.channel()
        await channel.call(Confirm.Select())
        return cls(channel)

    def send(self, message: PublishMessage, properties: bytes) -> Sent:
        """Send a message with the rest of this turn of the loop; ValueError when AMQP cannot carry it.

        Whoever stops waiting calls `forget`.
        """
        channel = self.channel
        frames = self._encode(message, properties)
        if self.over.done():
            sent = Sent(0, message)
            sent.settle(PublishOutcome.BROKER_UNAVAILABLE)
            return sent
        self._last = next(self._tags)
        sent = Sent(self._last, message)
        self._waiting[self._last] = sent
        channel.write(frames)
        return sent

    def post(
        self,
        message: PublishMessage,
        properties: bytes,
        done: Callable[[PublishOutcome], None],
        seconds: float,
    ) -> bool:
        """Send a message likewise, and call `done` once, later.

        After `seconds` without an answer the channel is over, and all that wait are UNKNOWN_OUTCOME: the
        confirms of the later ones may not be true. False when it is over already, and nothing was sent.
        `seconds` are the same for all messages.
        """
        channel = self.channel
        if self.over.done():
            return False
        frames = self._encode(message, properties)
        deadline = self._loop.time() + seconds
        self._last = next(self._tags)
        self._waiting[self._last] = Posted(message, done, deadline)
        channel.write(frames)
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._expire)
        return True

    def forget(self, sent: Sent) -> None:
        """Nobody waits for this one any more."""
        if self._waiting.pop(sent.tag, None) is not None:
            self._tell()

    def _encode(self, message: PublishMessage, properties: bytes) -> bytes:
        channel = self.channel
        return encode_publish(
            channel.number,
            message.exchange,
            message.routing_key,
            properties,
            message.body,
            channel.carrier.frame_max,
        )

    def _expire(self) -> None:
        """Give the channel up if the oldest posted message has had its time; they stand in that order.

        One timer for all: one for each would cost as much as sending it.
        """
        self._timer = None
        oldest = next((sent for sent in self._waiting.values() if isinstance(sent, Posted)), None)
        if oldest is None:
            return
        if oldest.deadline > self._loop.time():
            self._timer = self._loop.call_at(oldest.deadline, self._expire)
            return
        log.warning("confirm.missing", exchange=oldest.message.exchange, waiting=len(self._waiting))
        missing = LinkLostError("a confirm did not come in time")
        self._finish(missing, lambda _: PublishOutcome.UNKNOWN_OUTCOME)

    def _confirm(self, confirmed: Confirmed) -> None:
        tag, waiting = confirmed.tag, self._waiting
        if tag > self._last:
            raise WireError(SYNTAX_ERROR, "confirm of a message that was not sent")
        first = self._oldest if confirmed.multiple else tag
        for number in range(first, (tag or self._last) + 1):  # tag 0 is all of them
            if (sent := waiting.get(number)) is None:
                continue
            if confirmed.positive and not sent.returned:
                sent.confirmed = True
            else:
                del waiting[number]
                sent.settle(PublishOutcome.UNROUTABLE if confirmed.positive else PublishOutcome.REJECTED)
        self._tell()

    def _tell(self) -> None:
        """Tell of those that are confirmed, up to the first that is not answered."""
        waiting = self._waiting
        while self._oldest <= self._last:
            if (sent := waiting.get(self._oldest)) is not None:
                if not sent.confirmed:
                    return
                del waiting[self._oldest]
                sent.settle(PublishOutcome.CONFIRMED)
            self._oldest += 1

    def _give_back(self, content: Content) -> None:
        """Mark what reached no queue. The broker returns in the order of publishing, before it confirms.

        A return carries no tag, so the oldest message of this exchange, key and id is meant. Two with
        all of these in common are one message, sent again.
        """
        message_id = decode_properties(content.properties).message_id
        for sent in self._waiting.values():
            message = sent.message
            if (
                not sent.returned
                and not sent.confirmed
                and message.message_id == message_id
                and message.routing_key == content.routing_key
                and message.exchange == content.exchange
            ):
                sent.returned = True
                return

    def _end(self, reason: LinkLostError) -> None:
        """One missing exchange closes the channel for all that were on their way."""
        missing = str(reason) if isinstance(reason, ChannelClosedError) and reason.code == 404 else ""

        def outcome_of(message: PublishMessage) -> PublishOutcome:
            named = f"no exchange '{message.exchange}' " in missing
            return PublishOutcome.UNROUTABLE if named else PublishOutcome.UNKNOWN_OUTCOME

        self._finish(reason, outcome_of)

    def _finish(self, reason: LinkLostError, outcome_of: Callable[[PublishMessage], PublishOutcome]) -> None:
        """Send nothing more, and tell all that wait what is known of them."""
        if self._timer is not None:
            self._timer.cancel()
        if not self.over.done():
            self.over.set_result(reason)
        waiting, self._waiting = self._waiting, {}
        for sent in waiting.values():
            sent.settle(outcome_of(sent.message))


def to_properties(
    message: PublishMessage,
    *,
    persistent: bool,
    expiration: str | None = None,
    reply_to: str | None = None,
    correlation_id: str | None = None,
) -> bytes:
    """The properties that every message of the bridge has; ValueError when AMQP cannot carry them."""
    return encode_properties(
        content_type=message.content_type,
        headers=message.headers,
        persistent=persistent,
        message_id=message.message_id,
        timestamp=message.timestamp,
        type=message.type,
        correlation_id=correlation_id,
        reply_to=reply_to,
        expiration=expiration,
    )
