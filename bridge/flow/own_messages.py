"""Hands the messages of the bridge's own exchanges to whoever takes them, decoded."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
import structlog

from bridge.flow.ports import TakeOwn
from bridge.model import Delivery, Emission

T = TypeVar("T")

log = structlog.get_logger()


class OwnMessages:
    """The messages of one exchange, by their routing key.

    Whoever may publish there is trusted, which the broker's permissions decide; still a message that
    is none stops nothing, and a key that nobody takes is passed over: a newer version may have sent it.
    """

    def __init__(self) -> None:
        self._takers: dict[str, TakeOwn] = {}

    def register(
        self, key: str, body: type[T], take: Callable[[T, Delivery, float], Sequence[Emission]]
    ) -> None:
        """Let `take` have the messages of a routing key: the JSON body as `body`, the delivery, and now."""
        decoder = msgspec.json.Decoder(body)
        self._takers[key] = lambda delivery, now: take(decoder.decode(delivery.body), delivery, now)

    def take(self, delivery: Delivery, now: float) -> Sequence[Emission]:
        """Carry out one message at `now` (epoch seconds); the emissions that it leads to."""
        taker = self._takers.get(delivery.routing_key)
        if taker is None:
            return ()
        try:
            return taker(delivery, now)
        except msgspec.DecodeError as error:
            log.warning(
                "own_message.unreadable",
                exchange=delivery.exchange,
                key=delivery.routing_key,
                reason=str(error),
            )
        except Exception:
            # The log's top: one message's fault must not stop what is behind it.
            log.exception("own_message.failed", exchange=delivery.exchange, key=delivery.routing_key)
        return ()
