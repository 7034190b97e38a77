"""Messages that instances write again into `bridge.state`: a header says what each was before."""

from typing import Final
from uuid import uuid4

import msgspec
from msgspec import Struct, structs

from bridge.flow.control import BAN_KEY, REVOKE_KEY, VerdictKey
from bridge.model import CONTROL_EXCHANGE, OFFSET_HEADER, Delivery, PublishMessage
from bridge.state.verdicts import Verdict

ORIGIN_HEADER: Final = "origin"
"""Of a message that was written again: an `Origin` in JSON."""


class Origin(Struct, frozen=True, kw_only=True):
    """What a message was that now stands in the state again; its key and body are the message's own."""

    exchange: str
    written: float
    """When it was written again (epoch seconds)."""
    timestamp: float | None = None
    message_id: str | None = None
    content_type: str | None = None
    headers: dict[str, object] = {}


_decode_origin: Final = msgspec.json.Decoder(Origin).decode


def restore(state: str, copy: Delivery) -> tuple[Delivery | None, float | None]:
    """What a message of the state was before it was copied, and when that was; None is a marker.

    `state` names the stream and its exchange. DecodeError when the header is no `Origin`.
    """
    if copy.exchange != state:
        return structs.replace(copy, offset=None), copy.timestamp
    header = copy.headers.get(ORIGIN_HEADER)
    if not isinstance(header, str):
        return None, copy.timestamp
    origin = _decode_origin(header)
    delivery = Delivery(
        exchange=origin.exchange,
        routing_key=copy.routing_key,
        body=copy.body,
        content_type=origin.content_type,
        headers=origin.headers,
        message_id=origin.message_id,
        timestamp=origin.timestamp,
    )
    return delivery, origin.written


def write_value(state: str, delivery: Delivery, now: float) -> PublishMessage:
    """The event whose value is retained, at `now` (epoch seconds)."""
    origin = Origin(
        exchange=delivery.exchange,
        written=now,
        timestamp=delivery.timestamp,
        message_id=delivery.message_id,
        content_type=delivery.content_type,
        headers={name: value for name, value in delivery.headers.items() if name != OFFSET_HEADER},
    )
    return _write(state, delivery.routing_key, delivery.body, origin)


def write_verdict(state: str, key: VerdictKey, verdict: Verdict, now: float) -> PublishMessage:
    """The order that led to a verdict, at `now` (epoch seconds)."""
    order = to_order(key, verdict)
    origin = Origin(exchange=order.exchange, written=now, timestamp=verdict.time)
    return _write(state, order.routing_key, order.body, origin)


def to_order(key: VerdictKey, verdict: Verdict) -> Delivery:
    """An order that leads to a verdict, as an operator may have given it."""
    tenant, _, user = key[-1].rpartition("\0")
    body: dict[str, object] = {"user": user, "until": verdict.until}
    if tenant:
        body["tenant"] = tenant
    if len(key) == 3 and key[1]:
        body["system"] = key[1]
    return Delivery(
        exchange=CONTROL_EXCHANGE,
        routing_key=BAN_KEY if len(key) == 3 else REVOKE_KEY,
        body=msgspec.json.encode(body),
        timestamp=verdict.time if verdict.stamped else None,
    )


def _write(state: str, key: str, body: bytes, origin: Origin) -> PublishMessage:
    header = msgspec.json.encode(origin, enc_hook=str).decode()
    return PublishMessage(
        exchange=state,
        routing_key=key,
        body=body,
        message_id=uuid4().hex,
        type=key,
        timestamp=origin.written,
        headers={ORIGIN_HEADER: header},
        content_type="application/octet-stream",
    )
