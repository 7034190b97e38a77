"""A channel with publisher confirms: says truthfully what became of each message that was sent on it."""

import asyncio
from collections.abc import Callable
from itertools import count, takewhile
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

    __slots__ = ("message", "outcome", "returned", "tag")

    def __init__(self, tag: int, message: PublishMessage) -> None:
        self.tag = tag
        self.message = message
        self.returned = False
        self.outcome: asyncio.Future[PublishOutcome] = asyncio.get_running_loop().create_future()

    def settle(self, outcome: PublishOutcome) -> None:
        """Answer whoever still waits."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


class Posted:
    """A message that is on its way, for someone who is told and does not wait: no future, and no timer."""

    __slots__ = ("_done", "deadline", "message", "returned")

    def __init__(
        self, message: PublishMessage, done: Callable[[PublishOutcome], None], deadline: float
    ) -> None:
        self.message = message
        self.returned = False
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
        self._loop = asyncio.get_running_loop()
        self._tags = count(1)
        self._last = 0
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
        if channel.ended.done():
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
        """Send a message likewise, and call `done` once, later: with UNKNOWN_OUTCOME after `seconds`.

        False when the channel has ended, and nothing was sent. `seconds` are the same for all messages.
        """
        channel = self.channel
        if channel.ended.done():
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
        self._waiting.pop(sent.tag, None)

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
        """Give up the posted messages whose time is over; they stand in the order of their deadlines.

        One timer for all: one for each would cost as much as sending it.
        """
        self._timer = None
        late: list[int] = []
        for tag, sent in self._waiting.items():
            if isinstance(sent, Sent):
                continue
            if sent.deadline > self._loop.time():
                self._timer = self._loop.call_at(sent.deadline, self._expire)
                break
            late.append(tag)
        for tag in late:
            self._waiting.pop(tag).settle(PublishOutcome.UNKNOWN_OUTCOME)

    def _confirm(self, confirmed: Confirmed) -> None:
        tag = confirmed.tag
        if tag > self._last:
            raise WireError(SYNTAX_ERROR, "confirm of a message that was not sent")
        if not confirmed.multiple:
            if (sent := self._waiting.pop(tag, None)) is not None:
                sent.settle(_outcome_of(sent, confirmed.positive))
            return
        settled = list(takewhile(lambda number: not tag or number <= tag, self._waiting))
        for number in settled:  # tag 0 is all of them
            sent = self._waiting.pop(number)
            sent.settle(_outcome_of(sent, confirmed.positive))

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
                and message.message_id == message_id
                and message.routing_key == content.routing_key
                and message.exchange == content.exchange
            ):
                sent.returned = True
                return

    def _end(self, reason: LinkLostError) -> None:
        """One missing exchange closes the channel for all that were on their way."""
        missing = str(reason) if isinstance(reason, ChannelClosedError) and reason.code == 404 else ""
        if self._timer is not None:
            self._timer.cancel()
        waiting, self._waiting = self._waiting, {}
        for sent in waiting.values():
            named = f"no exchange '{sent.message.exchange}' " in missing
            sent.settle(PublishOutcome.UNROUTABLE if named else PublishOutcome.UNKNOWN_OUTCOME)


def _outcome_of(sent: Sent | Posted, positive: bool) -> PublishOutcome:
    if not positive:
        return PublishOutcome.REJECTED
    return PublishOutcome.UNROUTABLE if sent.returned else PublishOutcome.CONFIRMED


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
