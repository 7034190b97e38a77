"""What the others of a room are told of who comes and goes, in every namespace that shows it."""

from pathlib import Path

import msgspec
import pytest

from bridge.model import Principal, RoomRef
from bridge.rules.presence_plan import PresencePlans
from bridge.state.presence import Change, Member
from tests.support.rules import compile_project

ROUTES = """
    exchange: shop.events
    namespaces:
      /hall:
        rooms:
          table:{table}: &table
            presence:
              joined: {came: {user: "{user.sub}", at: "{table}", when: "{now.ms}", by: "{sid}"}}
              left: {went: {user: "{user.sub}"}}
              grace: 7s
          bench:{name}: {occupancy: true}
          quiet:{name}: {}
      /table/{table}:
        rooms:
          table:{table}: {presence: {joined: {came: {name: "{user.profile.name}"}}}}
      /floor/{floor}:
        rooms:
          table:{table}: {presence: {left: {went: {floor: "{floor}"}}}}
          bench:{name}: {}
"""
TABLE = RoomRef(system="shop", room="table:1")
ADA = Principal(user="ada", claims={"sub": "ada", "profile": {"name": "Ada"}, "email": "ada@example.org"})


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> PresencePlans:
    """Of a shop with tables, benches and quiet corners."""
    return PresencePlans(compile_project(tmp_path_factory.mktemp("presence"), ROUTES))


def plan(
    plans: PresencePlans, kind: str, *namespaces: str, room: RoomRef = TABLE
) -> list[tuple[str, str, object]]:
    """Namespace, event and body of all that is told when Ada comes or goes."""
    member = plans.to_member(room, "/hall", ADA, "s-1")
    change = Change(
        kind="joined" if kind == "joined" else "left", member=member, users=1, namespaces=namespaces
    )
    emissions = plans.plan(change, 5.0)
    assert all(emission.skip_sid == "s-1" and emission.rooms == (room.room,) for emission in emissions)
    return [(one.namespace, one.event, msgspec.json.decode(one.args[0])) for one in emissions]


def test_each_namespace_is_told_in_its_own_words(plans: PresencePlans) -> None:
    """Those that the room's words name, and of others those in which somebody is."""
    assert plan(plans, "joined") == [
        ("/hall", "came", {"user": "ada", "at": "1", "when": 5000, "by": "s-1"}),
        ("/table/1", "came", {"name": "Ada"}),
    ]
    assert plan(plans, "left", "/hall", "/floor/2", "/elsewhere") == [
        ("/hall", "went", {"user": "ada"}),
        ("/floor/2", "went", {"floor": "2"}),
    ]


def test_rooms_without_presence_and_those_that_are_unknown_are_told_nothing(plans: PresencePlans) -> None:
    """Other instances may have another configuration."""
    for room in ("quiet:x", "bench:x", "cellar", "table:a b"):
        assert plan(plans, "joined", "/hall", room=RoomRef(system="shop", room=room)) == []
    assert plan(plans, "joined", "/hall", room=RoomRef(system="other", room="table:1")) == []


def test_a_member_carries_the_claims_that_are_read_in_any_namespace(plans: PresencePlans) -> None:
    """And no others."""
    member = plans.to_member(TABLE, "/hall", ADA, "s-1")
    assert member == Member(
        room=TABLE,
        sid="s-1",
        user="ada",
        namespace="/hall",
        claims={"sub": "ada", "profile": {"name": "Ada"}},
    )


def test_occupancy_is_told_where_one_namespace_asks_for_it(plans: PresencePlans) -> None:
    """With the words of the room."""
    assert plans.find_occupancy(RoomRef(system="shop", room="bench:left")) == {"name": "left"}
    assert plans.find_occupancy(TABLE) is None
    assert plans.find_occupancy(RoomRef(system="other", room="bench:left")) is None


def test_an_instance_that_has_ended_has_the_longest_grace(plans: PresencePlans, tmp_path: Path) -> None:
    """Of all rooms that are told of."""
    assert plans.longest_grace == 7.0
    bare = "exchange: shop.events\nnamespaces: {/hall: {rooms: {quiet: {}}}}"
    assert PresencePlans(compile_project(tmp_path, bare)).longest_grace == 0.0
