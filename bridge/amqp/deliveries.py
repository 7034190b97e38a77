"""Turns what the broker delivers into the bridge's own `Delivery`."""

import zlib
from typing import Final

from bridge.amqp.events import Content
from bridge.amqp.properties import decode_properties
from bridge.model import Delivery

_OFFSET_HEADER = "x-stream-offset"
_TIME_HEADER = "timestamp_in_ms"  # of RabbitMQ's own interceptor
_LATEST_MS: Final = 253_402_300_799_000  # the end of the year 9999: no date is later


def to_delivery(content: Content) -> Delivery:
    """The delivery with its offset and time; RabbitMQ 3.10 sends `x-stream-offset` as a signed 64-bit int.

    WireError when the properties are none.
    """
    properties = decode_properties(content.properties)
    headers = properties.headers
    offset = headers.get(_OFFSET_HEADER)
    time = properties.timestamp
    if _TIME_HEADER in headers:
        # Any service may send this header, with anything in it.
        milliseconds = headers[_TIME_HEADER]
        if type(milliseconds) is int and 0 < milliseconds <= _LATEST_MS:
            time = milliseconds / 1000
    return Delivery(
        exchange=content.exchange,
        routing_key=content.routing_key,
        body=content.body,
        content_type=properties.content_type,
        headers=headers,
        message_id=properties.message_id,
        timestamp=time,
        offset=offset if type(offset) is int else None,
    )


def checksum_of(delivery: Delivery) -> int:
    """CRC-32 of all that tells one event from another, to know again the event at an offset."""
    checksum = zlib.crc32(delivery.body)
    for part in (delivery.exchange, delivery.routing_key, delivery.message_id, delivery.timestamp):
        checksum = zlib.crc32(f"\0{part}".encode(), checksum)
    return checksum
