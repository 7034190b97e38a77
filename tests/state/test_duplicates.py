"""Duplicates: what was seen already."""

from bridge.state.duplicates import Duplicates


def test_a_message_is_seen_the_second_time() -> None:
    """Ids belong to their exchange."""
    duplicates = Duplicates(bound=10)
    assert not duplicates.seen("portal.events", "m1")
    assert duplicates.seen("portal.events", "m1")
    assert not duplicates.seen("summit.events", "m1")


def test_the_oldest_is_forgotten_first() -> None:
    """Seeing a message again does not renew it."""
    duplicates = Duplicates(bound=2)
    for message_id in ("m1", "m2", "m1", "m3"):
        duplicates.seen("x", message_id)
    duplicates.trim()
    assert len(duplicates) == 2
    assert duplicates.seen("x", "m2")
    assert duplicates.seen("x", "m3")
    assert not duplicates.seen("x", "m1")


def test_more_are_kept_where_more_are_needed() -> None:
    """The bound gives way to what the history holds, and holds again when that has become less."""
    duplicates = Duplicates(bound=1)
    for message_id in ("m1", "m2", "m3"):
        duplicates.seen("x", message_id)
    duplicates.trim(at_least=2)
    assert len(duplicates) == 2
    duplicates.trim(at_least=0)
    assert len(duplicates) == 1
    assert duplicates.seen("x", "m3")
