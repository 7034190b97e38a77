"""Messages of the bridge's own exchanges: hands them to whoever takes them, decoded, and publishes them."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, TypeVar
from uuid import uuid4

import msgspec
import structlog

from bridge.flow.ports import Publisher, TakeOwn
from bridge.model import LOG_EXCHANGE, UNSETTLED, Delivery, Emission, PublishMessage, PublishOutcome
from bridge.telemetry.sparing import Sparing

T = TypeVar("T")

LOG_HEADER: Final = "log"
"""Names the log whose instances a message is for: two configurations may share one broker, each with a log of
its own, and one `bridge.log`. A message without it, such as an operator's, is for all."""
_RETRY_DELAY: Final = 1.0
_REFUSED_DELAY: Final = 2.0
_RETRIED: Final = (
    *UNSETTLED,
    PublishOutcome.UNROUTABLE,  # the log was deleted; the reader is about to declare it again
)

log = structlog.get_logger()


class OwnMessages:
    """The messages of one exchange, by their routing key.

    Whoever may publish there is trusted, which the broker's permissions decide; still a message that
    is none stops nothing, and a key that nobody takes is passed over: a newer version may have sent it.
    """

    def __init__(self, log_name: str | None = None, *, from_people: bool = False) -> None:
        """`log_name` is the log of this instance; messages for that of others are passed over.

        `from_people`: keys are typed by hand, so that the log tells of one that nobody takes.
        """
        self._log_name = log_name
        self._from_people = from_people
        self._takers: dict[str, TakeOwn] = {}
        self._sparing = Sparing()  # asked about keys that somebody takes, and all others as one

    def register(
        self, key: str, body: type[T], take: Callable[[T, Delivery, float], Sequence[Emission]]
    ) -> None:
        """Let `take` have the messages of a routing key: the JSON body as `body`, the delivery, and now."""
        decoder = msgspec.json.Decoder(body)
        self._takers[key] = lambda delivery, now: take(decoder.decode(delivery.body), delivery, now)

    def take(self, delivery: Delivery, now: float) -> Sequence[Emission]:
        """Carry out one message at `now` (epoch seconds); the emissions that it leads to."""
        taker = self._takers.get(delivery.routing_key)
        if delivery.headers.get(LOG_HEADER, self._log_name) != self._log_name:
            return ()
        if taker is None:
            if self._from_people and self._sparing.may_say(None, now):
                self._warn(delivery, f"there is no such key (known: {', '.join(sorted(self._takers))})")
            return ()
        try:
            return taker(delivery, now)
        except (msgspec.DecodeError, RecursionError) as error:  # too deep is not readable either
            if self._sparing.may_say(delivery.routing_key, now):
                self._warn(delivery, str(error))
        except Exception:
            # The log's top: one message's fault must not stop what is behind it.
            if self._sparing.may_say(delivery.routing_key, now):
                log.exception("own_message.failed", exchange=delivery.exchange, key=delivery.routing_key)
        return ()

    def _warn(self, delivery: Delivery, reason: str) -> None:
        log.warning(
            "own_message.unreadable", exchange=delivery.exchange, key=delivery.routing_key, reason=reason
        )


class OwnWriter:
    """Publishes messages of the bridge's own, for the instances of one log."""

    def __init__(self, publisher: Publisher, log_name: str, clock: Callable[[], float]) -> None:
        """`clock` gives epoch seconds."""
        self._publisher = publisher
        self._log_name = log_name
        self._clock = clock
        self._sparing = Sparing()

    async def write(self, key: str, body: object, *, exchange: str = LOG_EXCHANGE) -> PublishOutcome:
        """Publish a message, whose JSON body is made from any value that msgspec encodes, once."""
        return await self._publisher.publish(self._to_message(exchange, key, body))

    async def write_until_confirmed(self, key: str, body: object, *, exchange: str = LOG_EXCHANGE) -> bool:
        """Publish a message, again and again under the same id while the broker is away.

        False when the broker refuses it for good.
        """
        outcome = await self._publish(self._to_message(exchange, key, body))
        if outcome is not PublishOutcome.CONFIRMED:
            log.error("own_message.refused", exchange=exchange, key=key, outcome=outcome)
        return outcome is PublishOutcome.CONFIRMED

    async def write_until_taken(self, key: str, body: object) -> None:
        """Publish a message to the log until it is confirmed, also while the broker refuses it.

        It does so while it starts, or a stream has no leader; what the others must know must come too.
        """
        message = self._to_message(LOG_EXCHANGE, key, body)
        while (outcome := await self._publish(message)) is not PublishOutcome.CONFIRMED:
            if self._sparing.may_say(key, self._clock()):
                log.error("own_message.refused", exchange=LOG_EXCHANGE, key=key, outcome=outcome)
            await asyncio.sleep(_REFUSED_DELAY)

    async def _publish(self, message: PublishMessage) -> PublishOutcome:
        """Publish until the broker says what becomes of it."""
        while True:
            outcome = await self._publisher.publish(message)
            if outcome not in _RETRIED:
                return outcome
            await asyncio.sleep(_RETRY_DELAY)

    def _to_message(self, exchange: str, key: str, body: object) -> PublishMessage:
        return PublishMessage(
            exchange=exchange,
            routing_key=key,
            body=msgspec.json.encode(body),
            message_id=uuid4().hex,
            type=key,
            timestamp=self._clock(),
            headers={LOG_HEADER: self._log_name},
        )
