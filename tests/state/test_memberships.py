"""Memberships: rooms, members, and what a change costs."""

import hypothesis.strategies as st
from hypothesis import given

from bridge.state.memberships import Memberships


def test_join_and_leave_say_whether_something_changed() -> None:
    """A second join and a leave without a join change nothing."""
    rooms: Memberships[str] = Memberships()
    assert rooms.join("/chat", "a", "m1")
    assert not rooms.join("/chat", "a", "m1")
    assert rooms.leave("/chat", "a", "m1")
    assert not rooms.leave("/chat", "a", "m1")


def test_members_come_in_the_order_of_joining_and_rooms_are_per_namespace() -> None:
    """The same room name in two namespaces is two rooms."""
    rooms: Memberships[str] = Memberships()
    for member in ("m3", "m1", "m2"):
        rooms.join("/chat", "a", member)
    rooms.join("/admin", "a", "m9")
    assert rooms.members("/chat", "a") == ("m3", "m1", "m2")
    assert rooms.members("/admin", "a") == ("m9",)
    assert rooms.members("/chat", "nobody") == ()


def test_a_snapshot_survives_changes_and_is_reused_until_one() -> None:
    """Iterating while members leave is safe; an untouched room yields the very same tuple."""
    rooms: Memberships[str] = Memberships()
    for member in ("m1", "m2"):
        rooms.join("/chat", "a", member)
    before = rooms.members("/chat", "a")
    assert rooms.members("/chat", "a") is before
    for member in before:
        rooms.leave_all(member)
    assert before == ("m1", "m2")
    assert rooms.members("/chat", "a") == ()


def test_leave_all_names_what_was_left_and_forgets_empty_rooms() -> None:
    """After the last member is gone nothing of its rooms stays."""
    rooms: Memberships[str] = Memberships()
    rooms.join("/chat", "a", "m1")
    rooms.join("/chat", "b", "m1")
    rooms.join("/admin", "a", "m1")
    assert rooms.rooms_of("/chat", "m1") == ("a", "b")
    assert rooms.contains("/chat", "a", "m1")
    assert rooms.leave_all("m1") == (("/chat", "a"), ("/chat", "b"), ("/admin", "a"))
    assert rooms.leave_all("m1") == ()
    assert not rooms.contains("/chat", "a", "m1")
    assert (len(rooms._marks), rooms.room_count) == (0, 0)


def test_marks_say_from_where_on_a_member_has_the_events() -> None:
    """Joining again keeps the mark, unless it brings older events; leaving forgets it."""
    rooms: Memberships[str] = Memberships()
    rooms.join("/chat", "a", "m1", 10)
    rooms.join("/chat", "b", "m1", 20)
    rooms.join("/chat", "c", "m1")
    rooms.join("/admin", "a", "m1", 30)
    assert rooms.marks("/chat", "m1") == {"a": 10, "b": 20, "c": -1}
    rooms.join("/chat", "a", "m1", 40)
    rooms.join("/chat", "a", "m1")
    rooms.join("/chat", "b", "m1", 5)
    assert rooms.marks("/chat", "m1") == {"a": 10, "b": 5, "c": -1}
    rooms.leave("/chat", "a", "m1")
    rooms.join("/chat", "a", "m1", 40)
    assert rooms.marks("/chat", "m1") == {"b": 5, "c": -1, "a": 40}
    assert rooms.marks("/chat", "nobody") == {}


_NAMES = st.sampled_from("abc")
_STEPS = st.lists(st.tuples(st.sampled_from(["join", "leave", "leave_all"]), _NAMES, _NAMES, _NAMES))


@given(_STEPS)
def test_any_history_agrees_with_a_plain_set_of_triples(steps: list[tuple[str, str, str, str]]) -> None:
    """Whatever joins and leaves come, the index equals the naive model and counts what is there."""
    rooms: Memberships[str] = Memberships()
    naive: dict[tuple[str, str, str], None] = {}
    for step, namespace, room, member in steps:
        if step == "join":
            rooms.join(namespace, room, member)
            naive.setdefault((namespace, room, member))
        elif step == "leave":
            rooms.leave(namespace, room, member)
            naive.pop((namespace, room, member), None)
        else:
            rooms.leave_all(member)
            naive = {triple: None for triple in naive if triple[2] != member}
        places = {(ns, name) for ns, name, _ in naive}
        for ns, name in places:
            assert rooms.members(ns, name) == tuple(m for n, r, m in naive if (n, r) == (ns, name))
        assert rooms.room_count == len(places)
        assert set(rooms._marks) == {m for _, _, m in naive}


def test_room_sizes_are_of_one_namespace() -> None:
    """Rooms that have members, and how many; those of other namespaces are not among them."""
    memberships: Memberships[str] = Memberships()
    for namespace, room, member in (("/a", "x", "m"), ("/a", "x", "n"), ("/a", "y", "m"), ("/b", "x", "m")):
        memberships.join(namespace, room, member)
    assert memberships.room_sizes("/a") == {"x": 2, "y": 1}
    memberships.leave("/a", "y", "m")
    assert memberships.room_sizes("/a") == {"x": 2}
    assert memberships.room_sizes("/c") == {}


def test_with_another_log_marks_begin_anew() -> None:
    """Its offsets have nothing to do with those of before: all members have all of it."""
    memberships = Memberships[str]()
    memberships.join("/n", "a", "ann", 5000)
    memberships.begin_log(-1)
    assert memberships.marks("/n", "ann") == {"a": -1}
