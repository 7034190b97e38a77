"""Presence: users in rooms over all instances, however many clients they have and whoever tells of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bridge.model import RoomRef
from bridge.state.presence import Change, Member, PresenceTable, Seat

APOLLO = RoomRef(system="portal", room="project:apollo")
GEMINI = RoomRef(system="portal", room="project:gemini")
HERE, THERE, ELSEWHERE = "here:1", "there:1", "elsewhere:1"


def make(user: str, sid: str, room: RoomRef = APOLLO, namespace: str = "/portal") -> Member:
    """A client of a user in a room."""
    return Member(room=room, sid=sid, user=user, namespace=namespace)


def tell(changes: list[Change]) -> list[tuple[str, str, int]]:
    """What happened to whom, and how many users that makes."""
    return [(change.kind, change.member.user, change.users) for change in changes]


def test_the_first_client_of_a_user_joins_and_the_last_one_leaves() -> None:
    """Wherever it is; further clients of the same user, and what is told twice, are no news."""
    table = PresenceTable(HERE)
    assert tell(table.joined(HERE, [make("ada", "c1")])) == [("joined", "ada", 1)]
    assert table.joined(THERE, [make("ada", "c2")]) == []
    assert tell(table.joined(THERE, [make("ada", "c2"), make("bob", "c3")])) == [("joined", "bob", 2)]
    assert table.left(HERE, [(APOLLO, "c1")]) == []
    assert tell(table.left(THERE, [(APOLLO, "c2")])) == [("left", "ada", 1)]
    assert tell(table.left(THERE, [(APOLLO, "c2"), (APOLLO, "c3")])) == [("left", "bob", 0)]
    assert (table.room_count, table.member_count) == (0, 0)


def test_own_clients_count_before_the_log_knows_of_them() -> None:
    """And no longer once they have gone; for what is told only the log counts."""
    table = PresenceTable(HERE)
    table.joined(THERE, [make("bob", "c1")])
    assert table.enter(make("ada", "c2"))
    assert not table.enter(make("ada", "c2"))
    assert table.users(APOLLO) == 2
    assert tell(table.joined(HERE, [make("ada", "c2")])) == [("joined", "ada", 2)]
    assert table.exit((APOLLO, "c2"))
    assert not table.exit((APOLLO, "c2"))
    assert table.users(APOLLO) == 1
    assert dict(table.occupied()) == {APOLLO: 2}
    assert tell(table.left(HERE, [(APOLLO, "c2")])) == [("left", "ada", 1)]


def test_what_the_log_says_late_of_an_own_client_does_not_bring_it_back() -> None:
    """It came and went before its coming was read."""
    table = PresenceTable(HERE)
    table.enter(make("ada", "c1"))
    table.exit((APOLLO, "c1"))
    assert tell(table.joined(HERE, [make("ada", "c1")])) == [("joined", "ada", 1)]
    assert table.users(APOLLO) == 0
    assert tell(table.left(HERE, [(APOLLO, "c1")])) == [("left", "ada", 0)]
    assert (table.room_count, table.member_count) == (0, 0)


def test_a_client_that_moved_is_not_taken_away_by_the_instance_that_it_left() -> None:
    """It keeps its sid; the one that lost it says so later."""
    table = PresenceTable(ELSEWHERE)
    table.joined(HERE, [make("ada", "c1")])
    assert table.joined(THERE, [make("ada", "c1")]) == []
    assert table.left(HERE, [(APOLLO, "c1")]) == []
    assert table.users(APOLLO) == 1


def test_a_change_names_the_namespaces_in_which_somebody_is() -> None:
    """Each once, those of other rooms not."""
    table = PresenceTable(HERE)
    table.joined(THERE, [make("eve", "c0", GEMINI, "/gemini"), make("ada", "c1"), make("ada", "c2")])
    [change] = table.joined(HERE, [make("bob", "c3", namespace="/project/apollo")])
    assert change.namespaces == ("/portal", "/project/apollo")
    [change] = table.left(THERE, [(APOLLO, "c1"), (APOLLO, "c2")])
    assert change.namespaces == ("/project/apollo",)


def test_a_list_of_all_members_is_no_news_but_for_those_whom_it_lacks() -> None:
    """A starting instance learns who is there; one that has missed somebody's going learns that."""
    table = PresenceTable(HERE)
    table.joined(THERE, [make("ada", "c1"), make("bob", "c2")])
    assert table.listed(THERE, [make("bob", "c2")], first=True, last=False) == []
    assert table.joined(THERE, [make("bob", "c3")]) == []
    assert tell(table.listed(THERE, [make("eve", "c4")], first=False, last=True)) == [("left", "ada", 2)]
    assert table.users(APOLLO) == 2
    assert table.joined(ELSEWHERE, [make("eve", "c5")]) == []


def test_a_list_that_was_not_read_from_its_first_part_takes_nobody_away() -> None:
    """Nobody knows who was in the other parts."""
    table = PresenceTable(HERE)
    table.joined(THERE, [make("ada", "c1")])
    assert table.listed(THERE, [make("bob", "c2")], first=False, last=True) == []
    assert table.users(APOLLO) == 2


def test_members_of_an_instance_that_ended_go_when_its_time_of_grace_is_over() -> None:
    """But for those who came back to another one, and those that it tells of anew: it had not ended."""
    table = PresenceTable(HERE)
    table.joined(THERE, [make("ada", "c1"), make("bob", "c2"), make("eve", "c3")])
    table.end(THERE)
    assert table.is_ending(THERE)
    assert table.joined(ELSEWHERE, [make("ada", "c1")]) == []
    assert table.joined(THERE, [make("eve", "c3")]) == []
    assert tell(table.gone(THERE)) == [("left", "bob", 2)]
    assert not table.is_ending(THERE)
    assert tell(table.gone(THERE)) == [("left", "eve", 1)]
    assert not table.has_members(THERE)


def test_an_own_client_stays_here_though_the_others_hold_the_instance_for_dead() -> None:
    """They are told of it anew."""
    table = PresenceTable(HERE)
    table.enter(make("ada", "c1"))
    table.joined(HERE, [make("ada", "c1")])
    table.end(HERE)
    assert tell(table.gone(HERE)) == [("left", "ada", 0)]
    assert table.users(APOLLO) == 1
    assert tell(table.joined(HERE, [make("ada", "c1")])) == [("joined", "ada", 1)]


def test_an_equal_room_name_of_another_system_is_another_room() -> None:
    """Rooms are counted within their system."""
    table = PresenceTable(HERE)
    other = RoomRef(system="swe_agent", room="project:apollo")
    table.enter(make("ada", "c1"))
    assert table.users(other) == 0
    table.enter(make("ada", "c1", other))
    assert (table.users(APOLLO), table.users(other)) == (1, 1)


INSTANCES = (HERE, THERE, ELSEWHERE)
MEMBERS = st.builds(
    make, st.sampled_from(["ada", "bob"]), st.sampled_from(["c1", "c2"]), st.sampled_from([APOLLO, GEMINI])
).map(lambda member: make(member.user, f"{member.user}-{member.sid}", member.room))
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["joined", "left", "listed", "end", "gone", "enter", "exit"]),
        st.sampled_from(INSTANCES),
        st.lists(MEMBERS, max_size=3),
    ),
    max_size=30,
)
Step = tuple[str, str, list[Member]]
"""What the log says of an instance; or what that instance alone knows of its own clients."""


class Model:
    """The same in a few lines: a set of (instance, seat, user), looked through each time."""

    def __init__(self) -> None:
        self.there: set[tuple[str, Seat, str]] = set()
        self.ending: dict[str, set[tuple[str, Seat, str]]] = {}

    def take(self, step: Step) -> None:
        """Apply what the log says."""
        kind, instance, members = step
        named = {(instance, member.seat, member.user) for member in members}
        own = {one for one in self.there if one[0] == instance}
        if kind in ("joined", "listed"):
            self.there |= named
        if kind == "left":
            self.there -= named
        if kind == "listed":
            self.there -= own - named
        if kind in ("joined", "left", "listed") and instance in self.ending:
            self.ending[instance] -= named
        if kind == "end":
            self.ending[instance] = own
        if kind == "gone":
            self.there -= self.ending.pop(instance, own)

    def users(self, room: RoomRef) -> set[str]:
        """Who is in a room."""
        return {user for _, seat, user in self.there if seat[0] == room}


def apply(table: PresenceTable, step: Step) -> list[Change]:
    """Let a table read what the log says."""
    kind, instance, members = step
    if kind == "joined":
        return table.joined(instance, members)
    if kind == "left":
        return table.left(instance, [member.seat for member in members])
    if kind == "listed":
        return table.listed(instance, members, first=True, last=True)
    if kind == "end":
        table.end(instance)
        return []
    return table.gone(instance)


@given(STEPS)
def test_all_instances_agree_with_each_other_and_with_a_naive_model(steps: list[Step]) -> None:
    """Whatever each knows of its own clients beforehand: the same changes, in the same order."""
    model = Model()
    tables = {instance: PresenceTable(instance) for instance in INSTANCES}
    told: dict[RoomRef, set[str]] = {APOLLO: set(), GEMINI: set()}
    for step in steps:
        kind, instance, members = step
        if kind in ("enter", "exit"):
            for member in members:
                if kind == "enter":
                    tables[instance].enter(member)
                else:
                    tables[instance].exit(member.seat)
            continue
        model.take(step)
        changes = [tell(apply(table, step)) for table in tables.values()]
        assert changes[0] == changes[1] == changes[2]
        for room in told:
            assert {dict(table.occupied()).get(room, 0) for table in tables.values()} == {
                len(model.users(room))
            }


@given(STEPS)
def test_what_is_told_adds_up_to_who_is_there(steps: list[Step]) -> None:
    """But for lists of all members, whose users are no news."""
    model = Model()
    table = PresenceTable("observer:1")
    told: dict[RoomRef, set[str]] = {APOLLO: set(), GEMINI: set()}
    for step in steps:
        if step[0] in ("enter", "exit"):
            continue
        model.take(step)
        for change in apply(table, step):
            users = told[change.member.room]
            assert (change.member.user in users) == (change.kind == "left")
            (users.add if change.kind == "joined" else users.discard)(change.member.user)
        for room, users in told.items():
            if step[0] == "listed":
                users.update(model.users(room))
            assert users == model.users(room)
            assert table.users(room) == len(users)


@given(st.lists(st.tuples(st.booleans(), MEMBERS), max_size=30))
def test_nothing_is_left_of_clients_that_have_gone(steps: list[tuple[bool, Member]]) -> None:
    """Here first, and in the log as late as may be."""
    table = PresenceTable(HERE)
    for comes, member in steps:
        if comes:
            table.enter(member)
        else:
            table.exit(member.seat)
    for comes, member in steps:
        if comes:
            table.joined(HERE, [member])
        else:
            table.left(HERE, [member.seat])
    for _, member in steps:
        table.exit(member.seat)
        table.left(HERE, [member.seat])
    assert (table.room_count, table.member_count) == (0, 0)
    assert not table.has_members(HERE)
