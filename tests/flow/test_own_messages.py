"""Messages of the bridge's own exchanges: decoded, handed on, and never in the way of those behind them."""

from collections.abc import Sequence

from msgspec import Struct

from bridge.flow.own_messages import OwnMessages
from bridge.model import LOG_EXCHANGE, Delivery, Emission

_EMISSION = Emission(route="-", namespace="/", event="told", args=(), rooms=("a",))


class Tell(Struct):
    """A message."""

    word: str


def _deliver(key: str, body: bytes) -> Delivery:
    return Delivery(exchange=LOG_EXCHANGE, routing_key=key, body=body)


def test_whoever_registered_takes_the_decoded_message() -> None:
    taken: list[tuple[Tell, str, float]] = []

    def take(tell: Tell, delivery: Delivery, now: float) -> Sequence[Emission]:
        taken.append((tell, delivery.routing_key, now))
        return [_EMISSION]

    messages = OwnMessages()
    messages.register("house.tell", Tell, take)
    assert messages.take(_deliver("house.tell", b'{"word":"hi","more":1}'), 5.0) == [_EMISSION]
    assert taken == [(Tell("hi"), "house.tell", 5.0)]


def test_what_nobody_takes_and_what_cannot_be_read_lead_to_nothing() -> None:
    messages = OwnMessages()
    messages.register("house.tell", Tell, lambda tell, delivery, now: [_EMISSION])
    assert messages.take(_deliver("house.other", b"{}"), 5.0) == ()
    for body in (b"", b"[]", b"{}", b"\xff", b'{"word":1}'):
        assert messages.take(_deliver("house.tell", body), 5.0) == ()


def test_a_fault_of_the_taker_stops_nothing() -> None:
    def fail(tell: Tell, delivery: Delivery, now: float) -> Sequence[Emission]:
        raise KeyError(tell.word)

    messages = OwnMessages()
    messages.register("house.tell", Tell, fail)
    assert messages.take(_deliver("house.tell", b'{"word":"hi"}'), 5.0) == ()
