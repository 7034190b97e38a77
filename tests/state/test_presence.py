"""Presence: users in rooms, however many clients they have."""

from bridge.model import RoomRef
from bridge.state.presence import Presence

APOLLO = RoomRef(system="portal", room="project:apollo")


def test_the_first_client_of_a_user_joins_and_the_last_one_leaves() -> None:
    """Further clients of the same user, and repeated joins, are no news."""
    presence = Presence()
    assert presence.join(APOLLO, "ada", "c1")
    assert not presence.join(APOLLO, "ada", "c2")
    assert not presence.join(APOLLO, "ada", "c1")
    assert presence.join(APOLLO, "bob", "c3")
    assert presence.users(APOLLO) == 2
    assert not presence.leave(APOLLO, "ada", "c1")
    assert presence.users(APOLLO) == 2
    assert presence.leave(APOLLO, "ada", "c2")
    assert presence.users(APOLLO) == 1


def test_who_was_not_there_leaves_nothing() -> None:
    """A leave without a join is nobody's last, and leaves no trace."""
    presence = Presence()
    assert not presence.leave(APOLLO, "ada", "c1")
    presence.join(APOLLO, "ada", "c1")
    assert not presence.leave(APOLLO, "ada", "c2")
    assert not presence.leave(APOLLO, "bob", "c1")
    assert presence.users(APOLLO) == 1


def test_an_equal_room_name_of_another_system_is_another_room() -> None:
    """Rooms are counted within their system, and empty ones are forgotten."""
    presence = Presence()
    other = RoomRef(system="swe_agent", room="project:apollo")
    presence.join(APOLLO, "ada", "c1")
    assert presence.users(other) == 0
    assert presence.join(other, "ada", "c1")
    presence.leave(other, "ada", "c1")
    presence.leave(APOLLO, "ada", "c1")
    assert presence.room_count == 0
