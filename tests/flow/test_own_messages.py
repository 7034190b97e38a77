"""Messages of the bridge's own exchanges: decoded, handed on, and never in the way of those behind them."""

from collections.abc import Sequence

from msgspec import Struct
from structlog.testing import capture_logs

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


def test_a_key_that_people_mistyped_is_told_of() -> None:
    """Once a minute, however many keys there are; between instances it may be that of a newer version."""
    for from_people in (False, True):
        messages = OwnMessages("log", from_people=from_people)
        messages.register("house.tell", Tell, lambda tell, delivery, now: [_EMISSION])
        with capture_logs() as logs:
            messages.take(_deliver("house.tel", b'{"word":"hi"}'), 5.0)
            messages.take(_deliver("house.tall", b'{"word":"hi"}'), 6.0)
        assert [(entry["key"], entry["reason"]) for entry in logs] == (
            [("house.tel", "there is no such key (known: house.tell)")] if from_people else []
        )


def test_a_fault_of_the_taker_stops_nothing() -> None:
    def fail(tell: Tell, delivery: Delivery, now: float) -> Sequence[Emission]:
        raise KeyError(tell.word)

    messages = OwnMessages()
    messages.register("house.tell", Tell, fail)
    assert messages.take(_deliver("house.tell", b'{"word":"hi"}'), 5.0) == ()


def test_a_flood_of_what_cannot_be_taken_is_a_line_a_minute() -> None:
    """Whoever may publish there, a faulty service among them, does not fill the disk with the log."""

    def fail(tell: Tell, delivery: Delivery, now: float) -> Sequence[Emission]:
        raise KeyError(tell.word)

    messages = OwnMessages()
    messages.register("house.tell", Tell, fail)
    messages.register("house.other", Tell, fail)
    with capture_logs() as logs:
        for number in range(1000):
            for body in (b'{"word":1}', b"[" * 20_000, b'{"word":"hi"}'):
                messages.take(_deliver("house.tell", body), 1000.0 + number / 100)
        assert len(logs) == 1
        messages.take(_deliver("house.other", b"{}"), 1010.0)
        messages.take(_deliver("house.tell", b"{}"), 1060.0)
        assert [entry["key"] for entry in logs] == ["house.tell", "house.other", "house.tell"]
