"""Properties and headers are read as pamqp reads them, and whatever a service puts there is survived."""

import struct
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands, decode, encode

from bridge.amqp.fields import decode_table
from bridge.amqp.frames import WireError
from bridge.amqp.properties import decode_properties, decode_usual, encode_properties

_NAMES = st.text(max_size=20)
_TIMES = st.integers(0, 4_000_000_000).map(lambda second: datetime.fromtimestamp(second, UTC))
_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, width=32),
        st.text(max_size=30),
        st.binary(max_size=9).map(bytearray),
        st.decimals(min_value=0, max_value=10_000, places=2),
        _TIMES,
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
    max_leaves=8,
)
_TABLES = st.dictionaries(_NAMES, _VALUES, max_size=5)
_SHORT = st.text(min_size=1, max_size=60)
_PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "content_type": st.just("application/json") | _SHORT,
        "content_encoding": _SHORT,
        "headers": st.just({"x-stream-offset": 12}) | _TABLES,
        "delivery_mode": st.sampled_from([1, 2]),
        "priority": st.integers(0, 9),
        "correlation_id": _SHORT,
        "reply_to": _SHORT,
        "expiration": _SHORT,
        "message_id": _SHORT,
        "timestamp": _TIMES,
        "message_type": _SHORT,
        "user_id": st.just("guest"),
        "app_id": _SHORT,
    },
)
_FROM_A_STREAM = st.fixed_dictionaries(
    {
        "content_type": st.sampled_from(["application/json", "application/jsom"]),
        "headers": st.integers(-(2**63), 2**63 - 1).map(lambda offset: {"x-stream-offset": offset}),
        "delivery_mode": st.sampled_from([1, 2]),
        "message_id": _SHORT,
        "timestamp": _TIMES,
    },
    optional={"priority": st.integers(0, 9), "message_type": _SHORT, "app_id": _SHORT},
)
"""Most events have these."""


@given(_PROPERTIES | _FROM_A_STREAM)
def test_reads_what_pamqp_reads(values: dict[str, object]) -> None:
    """Every combination of properties gives the values that pamqp gives."""
    raw = commands.Basic.Properties(**values).marshal()  # type: ignore[arg-type]
    reference = commands.Basic.Properties()
    reference.unmarshal(struct.unpack(">H", raw[:2])[0], raw[2:])
    found = decode_properties(raw)
    assert found.content_type == reference.content_type
    assert dict(found.headers) == (reference.headers or {})
    assert found.correlation_id == reference.correlation_id
    assert found.message_id == reference.message_id
    expected = reference.timestamp
    assert found.timestamp == (expected.timestamp() if isinstance(expected, datetime) else None)


@given(_FROM_A_STREAM | _PROPERTIES, st.integers(0, 200), st.binary(max_size=5))
def test_the_quicker_way_reads_the_same(values: dict[str, object], place: int, change: bytes) -> None:
    """Or nothing; also of properties that are broken."""
    raw = commands.Basic.Properties(**values).marshal()  # type: ignore[arg-type]
    place %= len(raw) + 1
    for some in (raw, raw[:place] + change + raw[place + 1 :]):
        if (usual := decode_usual(some)) is not None:
            found = decode_properties(some)
            assert (found.content_type, found.correlation_id) == ("application/json", None)
            assert usual == (found.headers["x-stream-offset"], found.message_id, found.timestamp)


def test_most_events_are_read_in_the_quicker_way() -> None:
    """JSON with an id, a time, and the offset that the broker adds."""
    when = datetime(2026, 11, 1, tzinfo=UTC)
    headers: dict[str, object] = {"x-stream-offset": 2**40}
    values = {"content_type": "application/json", "delivery_mode": 2, "message_id": "m", "timestamp": when}
    assert decode_usual(commands.Basic.Properties(headers=headers, **values).marshal()) == (  # type: ignore[arg-type]
        2**40,
        "m",
        when.timestamp(),
    )
    more = headers | {"tenant": "acme"}
    assert decode_usual(commands.Basic.Properties(headers=more, **values).marshal()) is None  # type: ignore[arg-type]


@given(_TABLES)
def test_tables_are_those_of_pamqp(table: dict[str, object]) -> None:
    """All types of values, nested as well."""
    raw = encode.field_table(table)  # type: ignore[arg-type]
    assert decode_table(raw, 0, len(raw)) == (decode.field_table(raw)[1], len(raw))


@given(_PROPERTIES | _FROM_A_STREAM, st.integers(0, 200), st.binary(max_size=5))
def test_broken_properties_are_a_wire_error(values: dict[str, object], place: int, change: bytes) -> None:
    """Bytes that are no properties raise WireError and nothing else."""
    raw = commands.Basic.Properties(**values).marshal()  # type: ignore[arg-type]
    place %= len(raw) + 1
    with suppress(WireError):
        decode_properties(raw[:place] + change + raw[place + 1 :])


def test_deep_tables_are_cut() -> None:
    """Tables in tables, twenty thousand deep, as any service may send them, cost nobody the connection."""
    raw = b"\0\0\0\0"
    for _ in range(20_000):
        raw = struct.pack(">I", len(raw) + 2) + b"\0F" + raw
    table, end = decode_table(raw, 0, len(raw))
    assert end == len(raw)
    depth = 0
    while isinstance(table, dict) and "" in table:
        table, depth = table[""], depth + 1  # type: ignore[assignment]
    assert (table, depth) == (None, 33)


def test_every_type_of_the_errata() -> None:
    """The types as RabbitMQ writes them; what is no text or no time is bytes, or None."""
    entries = {
        b"t\x01": True,
        b"b\xff": -1,
        b"B\xff": 255,
        b"s\xff\xff": -1,
        b"u\xff\xff": 65535,
        b"I\xff\xff\xff\xff": -1,
        b"i\xff\xff\xff\xff": 2**32 - 1,
        b"l" + b"\xff" * 8: -1,
        b"L" + b"\xff" * 8: -1,
        b"f\x3f\x80\0\0": 1.0,
        b"D\x02\0\0\0\x7b": Decimal("1.23"),
        b"S\0\0\0\x01\xff": b"\xff",
        b"x\0\0\0\x01\xff": bytearray(b"\xff"),
        b"T" + b"\x7f" * 8: None,
        b"V": None,
    }
    for raw, value in entries.items():
        table = struct.pack(">I", len(raw) + 2) + b"\x01n" + raw
        assert decode_table(table, 0, len(table)) == ({"n": value}, len(table))


def test_writes_what_pamqp_reads() -> None:
    """The properties of a message of the bridge, read by pamqp."""
    raw = encode_properties(
        content_type="application/json",
        headers={"x-user": "zoë", "x-sid": ""},
        persistent=True,
        message_id="m-1",
        timestamp=1_700_000_000.9,
        type="send_message",
        correlation_id="7",
        reply_to="amq.rabbitmq.reply-to",
        expiration="2500",
    )
    found = commands.Basic.Properties()
    found.unmarshal(struct.unpack(">H", raw[:2])[0], raw[2:])
    assert (found.content_type, found.headers) == ("application/json", {"x-user": "zoë", "x-sid": ""})
    assert (found.delivery_mode, found.message_id, found.message_type) == (2, "m-1", "send_message")
    assert found.timestamp == datetime.fromtimestamp(1_700_000_000, UTC)
    assert (found.correlation_id, found.reply_to, found.expiration) == ("7", "amq.rabbitmq.reply-to", "2500")
    assert found.app_id == "bridged"


@pytest.mark.parametrize("field", ["content_type", "message_id", "type"])
def test_what_amqp_cannot_carry_is_a_value_error(field: str) -> None:
    """Texts over 255 bytes are refused before anything is sent."""
    values = {"content_type": "a", "message_id": "b", "type": "c", field: "ü" * 128}
    with pytest.raises(ValueError, match="256 bytes"):
        encode_properties(headers={}, persistent=True, timestamp=0.0, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("timestamp", [-1.0, 2.0**63, float("inf"), float("nan")])
def test_times_that_amqp_cannot_carry(timestamp: float) -> None:
    """Refused, too, whatever a service made up."""
    with pytest.raises(ValueError, match="time"):
        encode_properties(
            content_type="a", headers={}, persistent=True, message_id="m", type="t", timestamp=timestamp
        )
