"""Live events: at once, to whoever is there, and known to nothing afterwards."""

import pytest
from structlog.testing import capture_logs

from bridge.flow import live as live_module
from bridge.model import Delivery
from bridge.rules.event_plan import plan_live
from tests.support.club import Club
from tests.support.fakes import RecordingClient
from tests.support.rules import deliver


def hums(text: object, table: str = "1", **fields: object) -> Delivery:
    """Somebody hums at a table."""
    return deliver(f"table.{table}.hums", {"text": text}, exchange="club.events", **fields)


def heard(client: RecordingClient) -> list[object]:
    """What a client heard, in order."""
    return [body["text"] for body in client.received("hums")]


async def test_they_reach_the_members_of_their_rooms_even_while_the_log_is_read(club: Club) -> None:
    """In order, each once, and not the one whose own command it was."""
    ann, bob, eve = await club.seat("ann"), await club.seat("bob"), await club.seat("eve", "2")
    club.live.handle([hums("a"), hums("b", table="2"), hums("c", headers={"x-sid": ann.sid})])
    assert heard(ann) == ["a"]
    assert heard(bob) == ["a", "c"]
    assert heard(eve) == ["b"]
    route = "/hall table.{table}.hums"
    assert club.count("bridged_events_total", route=route, outcome="sent") == 3


async def test_they_have_no_place_in_the_log(club: Club) -> None:
    """So that no cursor and no last value says anything of them."""
    await club.seat()
    before = club.window.head()
    club.live.handle([hums("a")])
    assert [emission.place for emission in club.fanout.sent][-1:] == [None]
    assert club.window.head() == before


async def test_a_message_id_is_shown_once(club: Club) -> None:
    """A service that repeats what it is not sure of is no faster typist."""
    client = await club.seat()
    club.live.handle([hums("a", message_id="m"), hums("a", message_id="m"), hums("b")])
    assert heard(client) == ["a", "b"]
    assert club.count("bridged_events_total", route="-", outcome="duplicate") == 1


async def test_what_fits_no_schema_is_kept_and_the_next_flows(club: Club) -> None:
    """As with the events of the log; what nobody routes is counted."""
    client = await club.seat()
    club.live.handle([hums(7), hums("a"), deliver("nobody.knows", {}, exchange="club.events")])
    assert heard(client) == ["a"]
    [(_, fault)] = club.invalid.kept
    assert (fault.reason, fault.path) == ("schema", "$.text")
    assert club.count("bridged_events_total", route="-", outcome="unrouted") == 1


async def test_a_fault_of_ours_stops_one_event_only(club: Club, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is logged, and the event is kept."""

    def fail_at_bad(rules: object, delivery: Delivery, now: float) -> object:
        if b"bad" in delivery.body:
            raise ZeroDivisionError
        return plan_live(club.rules, delivery, now)

    monkeypatch.setattr(live_module, "plan_live", fail_at_bad)
    client = await club.seat()
    with capture_logs() as logs:
        club.live.handle([hums("a"), hums("bad"), hums("c")])
    assert heard(client) == ["a", "c"]
    assert [line["event"] for line in logs] == ["event.failed"]
    assert len(club.invalid.kept) == 1


async def test_the_log_does_not_bring_them(club: Club) -> None:
    """A binding of before, when they were none, brings them twice: once is enough."""
    club.downlink.caught_up()
    client = await club.seat()
    club.downlink.handle([hums("a")])
    assert heard(client) == []
    assert club.count("bridged_events_total", route="-", outcome="unrouted") == 1
