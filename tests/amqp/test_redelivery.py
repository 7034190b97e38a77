"""What comes again over a new connection: told from what is new by its order, not by its looks."""

from hypothesis import given
from hypothesis import strategies as st

from bridge.amqp.events import Content
from bridge.amqp.redelivery import Redelivery


def contents(bodies: str, *, first: int = 1, redelivered: bool = False) -> list[Content]:
    """Deliveries without an id or a time, a letter each, with tags from `first` on."""
    return [
        Content(
            tag=tag,
            exchange="events",
            routing_key="key",
            properties=b"",
            body=body.encode(),
            redelivered=redelivered,
        )
        for tag, body in enumerate(bodies, first)
    ]


def left(redelivery: Redelivery, again: str, new: str = "") -> str:
    """What is not left out of what comes over a new connection, before what comes for the first time."""
    coming = contents(again, redelivered=True) + contents(f"{new}!", first=len(again) + 1)
    return b"".join(content.body for content in redelivery.leave_out(coming)).decode()


def test_what_was_handled_is_left_out_and_what_follows_is_not() -> None:
    """Whether the broker had the acknowledgements of all, of some or of none of it."""
    for again, expected in (
        ("abcd", "!"),
        ("bcdef", "ef!"),
        ("d", "!"),
        ("ef", "ef!"),
        ("", "!"),
    ):
        redelivery = Redelivery(10)
        redelivery.note(contents("abcd"))
        assert left(redelivery, again) == expected


def test_an_event_that_looks_like_a_handled_one_is_not_that_one() -> None:
    """It was sent before and not handled, and would have to be followed by what followed the other."""
    for again in ("a", "ac", "ba", "abd", "abca"):
        redelivery = Redelivery(10)
        redelivery.note(contents("abc"))
        assert left(redelivery, again) == ("a!" if again == "abca" else f"{again}!")


def test_what_the_broker_has_acknowledgements_of_does_not_come_again() -> None:
    """So of equal events only the last few may be taken for others."""
    redelivery = Redelivery(10)
    redelivery.note(contents("aaaaaa"))
    redelivery.settle(5)
    assert len(redelivery) == 1
    assert left(redelivery, "aaa") == "aa!"


def test_what_came_again_may_come_once_more() -> None:
    """Until it is acknowledged over the new connection, whose tags begin anew."""
    redelivery = Redelivery(10)
    redelivery.note(contents("abcd"))
    assert left(redelivery, "cde") == "e!"
    assert len(redelivery) == 2
    redelivery.settle(1)
    assert left(redelivery, "de") == "e!"


def test_what_is_new_to_the_broker_was_never_handled() -> None:
    """An equal event that was published meanwhile is another one."""
    redelivery = Redelivery(10)
    redelivery.note(contents("ab"))
    assert left(redelivery, "", new="ab") == "ab!"
    redelivery.note(contents("ab"))
    assert left(redelivery, "a", new="b") == "ab!"


def test_as_many_are_kept_as_the_broker_sends_ahead() -> None:
    """Whoever sent more has the acknowledgements of those before."""
    redelivery = Redelivery(3)
    redelivery.note(contents("abcde"))
    assert len(redelivery) == 3
    assert left(redelivery, "cdef") == "f!"


@given(st.text("ab", max_size=12), st.integers(0, 12), st.integers(0, 12), st.text("ab", max_size=6))
def test_nothing_is_shown_twice_and_only_what_looks_equal_may_be_missing(
    handled: str, acknowledged: int, settled: int, unhandled: str
) -> None:
    """Whatever the events, and wherever the acknowledgements ended."""
    acknowledged = min(acknowledged, len(handled))
    redelivery = Redelivery(20)
    redelivery.note(contents(handled))
    redelivery.settle(min(settled, acknowledged))
    again = handled[acknowledged:]
    found = left(redelivery, again + unhandled)
    assert f"{unhandled}!".endswith(found)
    missing = len(unhandled) + 1 - len(found)
    if missing:  # then it would have looked the same, had the broker had fewer acknowledgements
        assert handled.endswith(again + unhandled[:missing])
    assert missing <= acknowledged - min(settled, acknowledged)
