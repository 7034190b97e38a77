"""Changes of presence that wait for the log: in order, bounded, and true in the end."""

from hypothesis import given
from hypothesis import strategies as st

from bridge.model import RoomRef
from bridge.state.presence import Member
from bridge.state.presence_changes import Joins, Leaves, PresenceChanges

ROOM = RoomRef(system="portal", room="project:apollo")
PLENTY = 10_000


def make(sid: str) -> Member:
    """A client in the room."""
    return Member(room=ROOM, sid=sid, user=f"user of {sid}", namespace="/portal")


def drain(changes: PresenceChanges, most_bytes: int = PLENTY) -> list[str]:
    """Take all: `+` and the sid of each that came, `-` of each that has gone, one text for each message."""
    told = []
    while True:
        match changes.take(most_bytes):
            case None:
                return told
            case Joins(members):
                told.append(" ".join(f"+{member.sid}" for member in members))
            case Leaves(seats):
                told.append(" ".join(f"-{sid}" for _, sid in seats))


def test_changes_are_taken_in_order_those_of_one_kind_together() -> None:
    """Also a coming and going of the same client, while few wait."""
    changes = PresenceChanges()
    for sid in ("a", "b"):
        changes.join(make(sid))
    changes.leave((ROOM, "a"))
    changes.join(make("a"))
    assert drain(changes) == ["+a +b", "-a", "+a"]
    assert len(changes) == 0
    assert drain(changes) == []


def test_a_message_is_of_a_bounded_size_or_has_one_change() -> None:
    """As the log's segments and the broker's frames want it."""
    changes = PresenceChanges()
    for sid in "abc":
        changes.join(make(sid))
    for sid in "abc":
        changes.leave((ROOM, sid))
    assert drain(changes, 1) == ["+a", "+b", "+c", "-a", "-b", "-c"]


def test_the_announced_members_are_listed_in_parts() -> None:
    """One that waits is not among them: its coming is still to be news."""
    changes = PresenceChanges()
    assert changes.list_announced(PLENTY) == [[]]
    for sid in "abc":
        changes.join(make(sid))
    drain(changes)
    changes.join(make("d"))
    assert changes.list_announced(PLENTY) == [[make("a"), make("b"), make("c")]]
    assert changes.list_announced(1) == [[make("a")], [make("b")], [make("c")]]


def test_when_many_wait_each_client_is_told_once() -> None:
    """One that came and went meanwhile is told to nobody, as is one that went and came back."""
    changes = PresenceChanges(bound=4)
    changes.join(make("stays"))
    changes.join(make("goes"))
    drain(changes)
    changes.leave((ROOM, "stays"))
    changes.join(make("stays"))
    changes.leave((ROOM, "goes"))
    changes.join(make("brief"))
    changes.leave((ROOM, "brief"))
    assert drain(changes) == ["-goes"]


def test_members_are_told_anew_before_what_waits() -> None:
    """But for those who wait themselves; also when many wait."""
    changes = PresenceChanges(bound=4)
    for sid in "abc":
        changes.join(make(sid))
    drain(changes)
    changes.leave((ROOM, "b"))
    changes.join(make("d"))
    changes.renew()
    changes.renew()
    changes.leave((ROOM, "c"))
    changes.join(make("c"))
    assert drain(changes) == ["+a", "-b", "+d", "-c", "+c"]
    assert [member.sid for member in changes.announced.values()] == ["a", "d", "c"]


@given(st.lists(st.tuples(st.sampled_from("+-t"), st.sampled_from("abcd")), max_size=60))
def test_the_log_knows_the_truth_in_the_end(steps: list[tuple[str, str]]) -> None:
    """However often clients come and go between two messages, and however many wait."""
    changes = PresenceChanges(bound=3)
    there: set[str] = set()
    told: list[str] = []
    for step, sid in steps:
        if step == "+" and sid not in there:
            there.add(sid)
            changes.join(make(sid))
        elif step == "-" and sid in there:
            there.remove(sid)
            changes.leave((ROOM, sid))
        elif step == "t":
            told += drain(changes)
        assert len(changes) <= 8
    told += drain(changes)
    known: set[str] = set()
    for change in " ".join(told).split():
        (known.add if change[0] == "+" else known.discard)(change[1])
    assert known == there == {member.sid for member in changes.announced.values()}
