"""The trip of an event: order, duplicates, the warm-up, and what no schema fits."""

import pytest
from structlog.testing import capture_logs

from bridge.flow import downlink as downlink_module
from bridge.model import Delivery, RoomRef
from bridge.rules.event_plan import plan_event
from tests.support.club import Club
from tests.support.fakes import RecordingClient
from tests.support.rules import deliver

TABLE = RoomRef(system="shop", room="table:1")


def said(text: object, table: str = "1", **fields: object) -> Delivery:
    """Somebody said something at a table."""
    return deliver(f"table.{table}.said", {"text": text}, exchange="club.events", **fields)


def heard(client: RecordingClient) -> list[object]:
    """What a client heard, in order."""
    return [body["text"] for body in client.received("said")]


async def test_events_reach_their_rooms_in_order(club: Club) -> None:
    """Those of a batch, over several rooms and namespaces, each client once."""
    club.downlink.caught_up()
    one, two = await club.seat("ann", "1"), await club.seat("bob", "2")
    both = await club.seat("eve", "1")
    both.send("sit", {"table": "2"})
    await club.clock.advance(0)
    namespace = await club.connect("ann", "/table/1")
    club.downlink.handle([said(f"{n}", table=f"{1 + n % 2}") for n in range(6)])
    assert heard(one) == heard(namespace) == ["0", "2", "4"]
    assert heard(two) == ["1", "3", "5"]
    assert heard(both) == ["0", "1", "2", "3", "4", "5"]


async def test_while_it_warms_up_it_remembers_and_sends_nothing(club: Club) -> None:
    """Last values and message ids are there afterwards; invalid events were kept the first time."""
    client = await club.seat()
    old = said("old", message_id="m1")
    club.downlink.handle([old, said(7), deliver("nobody.knows", {}, exchange="club.events")])
    assert client.log == []
    assert club.invalid.kept == []
    assert club.count("bridged_events_total", route="-", outcome="unrouted") == 0
    assert club.remembered.view(TABLE).events["said"].text == "old"
    club.downlink.caught_up()
    club.downlink.handle([old, said("new")])
    assert heard(client) == ["new"]
    assert club.count("bridged_events_total", route="-", outcome="duplicate") == 1


async def test_what_does_not_tell_its_time_is_as_old_as_what_told_it_before(club: Club) -> None:
    """In a backlog: the room was last active then, and what was to be shown for 30 s is not shown."""
    client = await club.seat()
    old = club.clock.wall - 300
    club.downlink.handle([deliver("a", {}, exchange="x", offset=1, timestamp=old), said("hi", offset=2)])
    assert club.remembered.view(TABLE).time == old
    club.downlink.caught_up()
    calls = [
        deliver("table.1.calls", {"text": text}, exchange="club.events", offset=offset, timestamp=time)
        for offset, text, time in [
            (3, "late", None),
            (4, "old", old + 1),
            (5, "now", club.clock.wall),
            (6, "too", None),
        ]
    ]
    club.downlink.handle(calls)
    assert [body["text"] for body in client.received("calls")] == ["now", "too"]


async def test_a_message_id_is_shown_once(club: Club) -> None:
    """Per exchange, and as long as it is among the last ones; without an id nothing is equal."""
    club.downlink.caught_up()
    client = await club.seat()
    club.downlink.handle([said("a", message_id="m"), said("b", message_id="m"), said("c"), said("c")])
    assert heard(client) == ["a", "c", "c"]
    club.downlink.handle([said(str(number), message_id=f"n{number}") for number in range(100)])
    client.log.clear()
    club.downlink.handle([said("a", message_id="m")])
    assert heard(client) == ["a"]


async def test_no_id_is_forgotten_of_what_the_history_holds(club: Club) -> None:
    """However many came after it: what clients may be given again must not come once more."""
    club.downlink.caught_up()
    client = await club.seat()
    many = [said(str(number), message_id=f"n{number}", offset=number) for number in range(150)]
    club.downlink.handle(many)
    client.log.clear()
    club.downlink.handle([said("0", message_id="n0", offset=150)])
    assert heard(client) == []


async def test_an_invalid_event_is_kept_and_the_next_flows(club: Club) -> None:
    """Once, with the routes that it stopped; counted for each of them."""
    club.downlink.caught_up()
    client = await club.seat()
    bad = said(7)
    club.downlink.handle([said("a"), bad, deliver("table.1.said", b"{", exchange="club.events"), said("b")])
    assert heard(client) == ["a", "b"]
    [(kept, fault), (_, second)] = club.invalid.kept
    assert kept is bad
    assert (fault.reason, fault.path) == ("schema", "$.text")
    assert fault.route == "/hall table.{table}.said, /table/{table} table.{table}.said"
    assert second.reason == "not_json"
    route = "/table/{table} table.{table}.said"
    assert club.count("bridged_events_total", route=route, outcome="invalid") == 2
    assert club.count("bridged_events_total", route=route, outcome="sent") == 2


async def test_a_fault_of_ours_stops_one_event_only(club: Club, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is logged once a minute, and the event is kept."""

    def fail_at_b(rules: object, delivery: Delivery, now: float) -> object:
        if b"bad" in delivery.body:
            raise ZeroDivisionError
        return plan_event(club.rules, delivery, now)

    monkeypatch.setattr(downlink_module, "plan_event", fail_at_b)
    club.downlink.caught_up()
    client = await club.seat()
    with capture_logs() as logs:
        club.downlink.handle([said("a"), said("bad"), said("bad"), said("c")])
    assert heard(client) == ["a", "c"]
    assert [(fault.reason, fault.error) for _, fault in club.invalid.kept] == [
        ("internal", "ZeroDivisionError")
    ] * 2
    assert [line["event"] for line in logs] == ["event.failed"]


async def test_a_faulty_service_does_not_flood_the_log(club: Club) -> None:
    """One line a minute for each route and reason, also after the clock was set back."""
    club.downlink.caught_up()
    with capture_logs() as logs:
        for _ in range(3):
            club.downlink.handle([deliver("table.1.any", {}, exchange="club.events")])
            await club.clock.advance(29)
        assert [line["route"] for line in logs] == [
            f"{name} table.{{table}}.any" for name in ("/hall", "/lobby")
        ]
        await club.clock.advance(1)
        club.downlink.handle([deliver("table.1.any", {}, exchange="club.events")])
        club.clock.set_wall(-3600)
        club.downlink.handle([deliver("table.1.any", {}, exchange="club.events")])
    assert [line["event"] for line in logs] == ["event.invalid"] * 2 * 3
    assert len(club.invalid.kept) == 5


async def test_what_nobody_routes_is_counted(club: Club) -> None:
    """And nothing else."""
    club.downlink.caught_up()
    club.downlink.handle(
        [deliver("nobody.knows", {}, exchange="club.events"), deliver("a", {}, exchange="x")]
    )
    assert club.count("bridged_events_total", route="-", outcome="unrouted") == 2
    assert club.fanout.sent == []


async def test_the_age_of_an_event_is_observed(club: Club) -> None:
    """From its own time; one from the future is no age below nothing."""
    club.downlink.caught_up()
    now = club.clock.wall
    club.downlink.handle([said("a", timestamp=now - 2), said("b", timestamp=now + 2), said("c")])
    assert club.count("bridged_event_age_seconds_sum") == 2
    assert club.count("bridged_event_age_seconds_count") == 2
