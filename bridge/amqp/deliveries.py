"""Turns what the broker delivers into the bridge's own `Delivery`."""

from functools import lru_cache
from typing import Final
from zlib import crc32

from bridge.amqp.events import Content
from bridge.amqp.properties import Properties, decode_properties, decode_usual
from bridge.model import LATEST_TIME, OFFSET_HEADER, Delivery

_TIME_HEADER = "timestamp_in_ms"  # of RabbitMQ's own interceptor
_LATEST_MS: Final = int(LATEST_TIME * 1000)


def to_delivery(content: Content, number: int | None = None, salt: int = 0) -> Delivery:
    """A delivery of a queue, with its time. A queue has no places: a reader that counts gives the `number`.

    Equal deliveries have unlike checksums under another `salt`. WireError when the properties are none.
    """
    return _convert(content, decode_properties(content.properties), number, salt)


def to_stream_delivery(content: Content) -> Delivery:
    """A delivery of a stream, with its time and the offset that RabbitMQ adds to its headers.

    A service may have put such a header into a message, too: on a stream the broker's own replaces it.
    """
    usual = decode_usual(content.properties)
    if usual is None:
        properties = decode_properties(content.properties)
        offset = properties.headers.get(OFFSET_HEADER)
        return _convert(content, properties, offset if type(offset) is int else None, 0)
    offset, message_id, time = usual
    return Delivery(
        exchange=content.exchange,
        routing_key=content.routing_key,
        body=content.body,
        content_type="application/json",
        message_id=message_id,
        timestamp=time,
        offset=offset,
        checksum=_sum_up(content, message_id, time, 0),
    )


def _convert(content: Content, properties: Properties, offset: int | None, salt: int) -> Delivery:
    headers = properties.headers
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
        offset=offset,
        checksum=_sum_up(content, properties.message_id, time, salt),
    )


def _sum_up(content: Content, message_id: str | None, time: float | None, salt: int) -> int:
    """The checksum of all that tells one event from another."""
    told = f"{content.exchange}\0{content.routing_key}\0{message_id}\0{_tell(time)}"
    return crc32(told.encode(), crc32(content.body, salt))


@lru_cache(maxsize=64)
def _tell(time: float | None) -> str:
    """Whole seconds as a rule, so that many messages in a row have the same; a float takes long to write."""
    return str(time)
