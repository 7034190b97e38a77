"""Rooms: who comes and goes is told once per user, over connections and namespaces, with a time of grace."""

from bridge.model import Remember, RoomRef
from tests.support.club import Club
from tests.support.fakes import settle


async def test_the_others_learn_of_a_users_first_client_and_last_one(club: Club) -> None:
    """Not of those between, and not the user itself."""
    bob = await club.seat("bob")
    ann, second = await club.connect("ann"), await club.connect("ann")
    for client in (ann, second):
        client.send("sit", {"table": "1"})
        client.send("sit", {"table": "1"})
    await settle()
    assert bob.log == [("came", [{"user": "ann", "table": "1"}])]
    assert ann.names == ["seated", "seated"]
    ann.send("stand", {"table": "1"})
    ann.send("stand", {"table": "1"})
    await settle()
    assert bob.names == ["came"]
    second.leave()
    await settle()
    assert bob.log[1:] == [("went", [{"user": "ann", "table": "1"}])]
    assert ann.names == ["seated", "seated"]


async def test_presence_spans_the_namespaces_of_the_system(club: Club) -> None:
    """A user of `/table/1` and one of the hall sit at one table; each namespace is told in its own words."""
    hall = await club.seat("bob")
    table = await club.connect("ann", "/table/1")
    table.send("sit", {"table": "1"})
    await settle()
    assert table.received("seated") == [{"table": "1", "users": 2, "last": None}]
    assert hall.log == [("came", [{"user": "ann", "table": "1"}])]
    hall.send("stand", {"table": "1"})
    await settle()
    assert table.log[1:] == [("went", [{"user": "bob", "table": "1"}])]


async def test_another_table_is_another_room(club: Club) -> None:
    """Nobody there hears of it; a namespace's word and the room's must agree."""
    bob = await club.seat("bob", "2")
    ann = await club.connect("ann", "/table/1")
    ann.send("sit", {"table": "2"}, ack=1)
    await settle()
    assert ann.received(1)[0]["code"] == "FORBIDDEN"
    await club.seat("ann", "1")
    assert bob.log == []


async def test_a_user_who_drops_and_returns_was_never_gone(club: Club) -> None:
    """Within the grace: no `went`, no `came`, and it counts as there."""
    bob, ann = await club.seat("bob"), await club.seat("ann")
    bob.log.clear()
    ann.drop()
    await club.clock.advance(4.9)
    back = await club.connect("ann")
    back.send("sit", {"table": "1"})
    await settle()
    assert back.received("seated") == [{"table": "1", "users": 2, "last": None}]
    await club.clock.advance(10)
    assert bob.log == []
    back.drop()
    await club.clock.advance(5)
    assert bob.log == [("went", [{"user": "ann", "table": "1"}])]


async def test_a_user_who_drops_and_stays_away_is_gone_after_the_grace(club: Club) -> None:
    """Also one who comes back and takes no seat at a table; a leave on purpose is told at once."""
    bob, ann, eve = await club.seat("bob"), await club.seat("ann"), await club.seat("eve")
    bob.log.clear()
    ann.drop()
    eve.leave()
    await settle()
    assert bob.log == [("went", [{"user": "eve", "table": "1"}])]
    await club.connect("ann")
    await club.clock.advance(5)
    assert bob.log[1:] == [("went", [{"user": "ann", "table": "1"}])]
    bob.leave()
    await club.clock.advance(60)
    assert set(club.left_over()) == {"sessions", "lanes", "connections", "members", "rooms"}  # ann's second


async def test_a_leave_within_the_grace_is_told_at_once(club: Club) -> None:
    """By the connection that came back, once that of the grace is over too."""
    bob, ann = await club.seat("bob"), await club.seat("ann")
    bob.log.clear()
    ann.drop()
    back = await club.seat("ann")
    back.send("stand", {"table": "1"})
    await settle()
    assert bob.log == []  # the broken one still counts
    await club.clock.advance(5)
    assert bob.names == ["went"]


async def test_a_room_knows_its_last_event(club: Club) -> None:
    """The answer to a join shows what was remembered of the room."""
    room = RoomRef(system="shop", room="table:1")
    club.remembered.put(Remember(rooms=(room,), event="said", body={"text": "hi"}, time=club.clock.wall))
    client = await club.connect("ann")
    client.send("sit", {"table": "1"})
    await settle()
    assert client.received("seated") == [{"table": "1", "users": 1, "last": "hi"}]
    assert club.rooms.view(room).last_activity == club.clock.wall


async def test_stopping_forgets_the_times_of_grace(club: Club) -> None:
    """Nothing is told after it."""
    bob, ann = await club.seat("bob"), await club.seat("ann")
    bob.log.clear()
    ann.drop()
    club.presence.stop()
    await club.clock.advance(60)
    assert bob.log == []
