"""What the broker delivers becomes a delivery of the bridge, whatever its service put into it."""

import struct

import pytest
from pamqp import commands

from bridge.amqp.deliveries import to_delivery, to_stream_delivery
from bridge.amqp.events import Content


def make_content(properties: bytes = b"\0\0", body: bytes = b"{}") -> Content:
    return Content(1, "portal.events", "a.b", properties, body)


def test_place_in_the_stream() -> None:
    """The header that the broker adds; on a queue it is a service's, and means nothing."""
    content = make_content(commands.Basic.Properties(headers={"x-stream-offset": 7, "x-sid": "s"}).marshal())
    delivery = to_stream_delivery(content)
    assert (delivery.offset, delivery.headers["x-sid"]) == (7, "s")
    assert to_delivery(content).offset is None
    assert to_delivery(content, 9).offset == 9
    for odd in ("7", True, 7.0):
        raw = commands.Basic.Properties(headers={"x-stream-offset": odd}).marshal()
        assert to_stream_delivery(make_content(raw)).offset is None


def test_checksum_tells_events_apart() -> None:
    """Everything counts that a service can choose, and nothing that the broker adds."""
    plain = make_content(commands.Basic.Properties(headers={"x-stream-offset": 7}).marshal())
    same = make_content(commands.Basic.Properties(headers={"x-stream-offset": 8}).marshal())
    others = [
        make_content(commands.Basic.Properties(message_id="m").marshal()),
        make_content(commands.Basic.Properties(headers={"timestamp_in_ms": 5}).marshal()),
        make_content(body=b"[]"),
        Content(1, "portal.events", "a.c", b"\0\0", b"{}"),
        Content(1, "portal.other", "a.b", b"\0\0", b"{}"),
    ]
    assert to_stream_delivery(plain).checksum == to_stream_delivery(same).checksum
    sums = {to_stream_delivery(content).checksum for content in (plain, *others)}
    assert len(sums) == 1 + len(others)
    assert to_delivery(plain, 7).checksum == to_stream_delivery(plain).checksum


def test_salt_makes_equal_events_unlike() -> None:
    """What a cursor of another epoch names is not taken for an event of this one."""
    content = make_content()
    assert to_delivery(content, 7, 1).checksum == to_delivery(content, 7, 1).checksum
    assert len({to_delivery(content, 7, salt).checksum for salt in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("headers", "timestamp", "time"),
    [
        ({"timestamp_in_ms": 1_700_000_000_123}, None, 1_700_000_000.123),
        ({"timestamp_in_ms": "no"}, 1_700_000_000, 1_700_000_000.0),
        ({"timestamp_in_ms": True}, None, None),
        ({"timestamp_in_ms": -5}, 1_700_000_000, 1_700_000_000.0),
        ({"timestamp_in_ms": 2**62}, None, None),
        ({}, 1_700_000_000_500, 1_700_000_000.5),
        ({}, 1_700_000_000_000_000_000, None),
    ],
)
def test_time_of_an_event(headers: dict[str, object], timestamp: int | None, time: float | None) -> None:
    """The header of RabbitMQ's interceptor wins; milliseconds are understood; nonsense is no time."""
    raw = commands.Basic.Properties(headers=headers, message_id="m").marshal()  # type: ignore[arg-type]
    if timestamp is not None:
        flags = struct.unpack(">H", raw[:2])[0] | 1 << 6
        raw = struct.pack(">H", flags) + raw[2:] + struct.pack(">Q", timestamp)
    assert to_delivery(make_content(raw)).timestamp == time
