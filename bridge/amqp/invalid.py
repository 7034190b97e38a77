"""Keeps events that no schema fits: publishes them to `bridge.invalid`, without ever holding up the flow."""

import asyncio
from collections import deque
from typing import Final
from uuid import uuid4

import structlog

from bridge.flow.ports import Publisher
from bridge.model import UNSETTLED, Delivery, Invalid, PublishMessage, PublishOutcome
from bridge.telemetry.metrics import Metrics

_RETRY_DELAY: Final = 1.0
_LONGEST_TEXT: Final = 1000  # characters of a header; all of them must fit into one frame
_LONGEST_PROPERTY: Final = 255  # bytes: AMQP's short string

log = structlog.get_logger(__name__)


class InvalidSink:
    """A bounded queue in memory and one task that publishes from it, in order, with confirms.

    While the broker is away it retries, under the same message id. What comes when the queue is full is
    dropped and counted in `bridged_invalid_dropped_total`.
    """

    def __init__(
        self,
        publisher: Publisher,
        exchange: str,
        source: str,
        metrics: Metrics,
        *,
        capacity: int = 1000,
        capacity_bytes: int = 16_000_000,
    ) -> None:
        """`exchange` is `amqp.invalid.name`; `source` the name of the stream or queue that was read."""
        self._publisher = publisher
        self._exchange = exchange
        self._source = source
        self._dropped = metrics.invalid_dropped
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._waiting: deque[tuple[int | None, PublishMessage]] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        metrics.queue_length.labels("invalid").set_function(lambda: len(self._waiting))

    def put(self, delivery: Delivery, invalid: Invalid, now: float) -> None:
        """Queue an event with the reason why `invalid.route` cannot use it; `now` in epoch seconds."""
        if len(self._waiting) >= self._capacity or self._bytes + len(delivery.body) > self._capacity_bytes:
            self._dropped.inc()
            return
        self._waiting.append((delivery.offset, self._to_message(delivery, invalid, now)))
        self._bytes += len(delivery.body)
        self._wake.set()
        self._empty.clear()

    def find_oldest(self) -> int | None:
        """The offset of the first event that waits; None when none does, or none of the log."""
        return next((offset for offset, _ in self._waiting if offset is not None), None)

    async def drain(self) -> None:
        """Wait until `run` has published all that is queued; the caller bounds the time."""
        await self._empty.wait()

    async def run(self) -> None:
        """Publish what is queued until cancelled."""
        while True:
            while not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            _, message = self._waiting[0]
            try:
                outcome = await self._publisher.publish(message)
            except Exception as error:
                # The loop's top: what a service puts into an event must not end the instance, all others
                # that read it, and each again after its restart.
                self._dropped.inc()
                log.warning("invalid.not_kept", outcome=type(error).__name__, exchange=self._exchange)
            else:
                if outcome in UNSETTLED:
                    await asyncio.sleep(_RETRY_DELAY)
                    continue
                if outcome is not PublishOutcome.CONFIRMED:
                    self._dropped.inc()
                    log.warning("invalid.not_kept", outcome=outcome, exchange=self._exchange)
            self._waiting.popleft()
            self._bytes -= len(message.body)
            if not self._waiting:
                self._empty.set()

    def _to_message(self, delivery: Delivery, invalid: Invalid, now: float) -> PublishMessage:
        if delivery.offset is not None:
            message_id = f"{self._source}:{delivery.offset}"
        else:
            message_id = _short(delivery.message_id) or uuid4().hex
        headers = {
            "reason": invalid.reason,
            "error": invalid.error[:_LONGEST_TEXT],
            "path": invalid.path[:_LONGEST_TEXT],
            "route": invalid.route[:_LONGEST_TEXT],
            "exchange": delivery.exchange,
            "routing_key": delivery.routing_key,
        }
        return PublishMessage(
            exchange=self._exchange,
            routing_key=delivery.routing_key,
            body=delivery.body,
            message_id=message_id,
            type=invalid.reason,
            timestamp=now if delivery.timestamp is None else delivery.timestamp,
            headers=headers,
            content_type=_short(delivery.content_type) or "application/octet-stream",
        )


def _short(text: str | None) -> str | None:
    """The text where it fits into a property: what was no UTF-8 has grown when it was read."""
    return text if text is not None and len(text.encode()) <= _LONGEST_PROPERTY else None
