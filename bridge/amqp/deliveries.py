"""Turns what aiormq delivers into the bridge's own `Delivery`."""

import zlib
from datetime import datetime
from typing import Final

from aiormq.abc import DeliveredMessage

from bridge.model import Delivery

_OFFSET_HEADER = "x-stream-offset"
_TIME_HEADER = "timestamp_in_ms"  # of RabbitMQ's own interceptor
_LATEST_MS: Final = 253_402_300_799_000  # the end of the year 9999: no date is later


def to_delivery(message: DeliveredMessage) -> Delivery:
    """The delivery with its offset and time; RabbitMQ 3.10 sends `x-stream-offset` as a signed 64-bit int."""
    properties = message.header.properties
    headers = properties.headers or {}
    return Delivery(
        exchange=message.exchange or "",
        routing_key=message.routing_key or "",
        body=message.body,
        content_type=properties.content_type,
        headers=headers,
        message_id=properties.message_id,
        timestamp=_to_time(headers.get(_TIME_HEADER), properties.timestamp),
        offset=offset_of(message),
    )


def offset_of(message: DeliveredMessage) -> int | None:
    """The message's place in the stream; None from a queue."""
    headers = message.header.properties.headers
    offset = headers.get(_OFFSET_HEADER) if headers else None
    return offset if isinstance(offset, int) else None


def checksum_of(delivery: Delivery) -> int:
    """CRC-32 of all that tells one event from another, to know again the event at an offset."""
    checksum = zlib.crc32(delivery.body)
    for part in (delivery.exchange, delivery.routing_key, delivery.message_id, delivery.timestamp):
        checksum = zlib.crc32(f"\0{part}".encode(), checksum)
    return checksum


def _to_time(milliseconds: object, timestamp: datetime | None) -> float | None:
    # Any service may send this header, with anything in it.
    if type(milliseconds) is int and 0 < milliseconds <= _LATEST_MS:
        return milliseconds / 1000
    return None if timestamp is None else timestamp.timestamp()
