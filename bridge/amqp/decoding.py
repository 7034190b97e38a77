"""Makes pamqp, which decodes frames for aiormq, tolerate what a service may put into a message's properties.

pamqp raises for a text that is not UTF-8 and for a time past the year 9999 (a timestamp in nanoseconds),
and aiormq then drops the connection. The broker would deliver the same message again after every
reconnect: one odd message would stop all events, for ever. pamqp looks its decoders up in two public
tables; replacing three entries is all that it offers.
"""

from datetime import datetime

from pamqp import common, decode


def tolerate_odd_properties() -> None:
    """Replace pamqp's decoders of short strings, times and tables, for the whole process; idempotent."""
    decode.METHODS["shortstr"] = _decode_text
    decode.METHODS["timestamp"] = decode.TABLE_MAPPING[b"T"] = _decode_time
    decode.METHODS["table"] = decode.TABLE_MAPPING[b"F"] = _decode_table


def _decode_text(value: bytes) -> tuple[int, str]:
    """A short string; what is not UTF-8 in it becomes U+FFFD."""
    end = value[0] + 1
    return end, value[1:end].decode("utf-8", "replace")


def _decode_time(value: bytes) -> tuple[int, datetime | None]:
    """A time of eight bytes; None where it is no time that Python knows."""
    try:
        return decode.timestamp(value)
    except (ValueError, OverflowError, OSError):
        return 8, None


def _decode_table(value: bytes) -> tuple[int, common.FieldTable]:
    """A table whose names need not be UTF-8."""
    end = 4 + int.from_bytes(value[:4])
    if end > len(value):
        raise ValueError("field table longer than its frame")
    table: common.FieldTable = {}
    position = 4
    while position < end:
        consumed, name = _decode_text(value[position:end])
        position += consumed
        consumed, table[name] = decode.embedded_value(value[position:end])
        position += consumed
    return end, table
