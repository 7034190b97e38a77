"""Joins with `since`: what was missed comes once, in order, before anything newer; or the client is told."""

import asyncio

import pytest

from tests.support.club import Club
from tests.support.fakes import RecordingClient, settle
from tests.support.visits import BIG, Log, cursor, sit, texts


async def test_a_join_with_since_gets_what_was_missed_before_its_answer(club: Club, log: Log) -> None:
    """Ack and event alike carry `recovered` and `offset`, besides what the route file gives them."""
    client = await club.connect("ann")
    answer = await sit(client, since=cursor(10))
    assert client.names == ["said", "said", 1, "seated"] or client.names == ["said", "said", "seated", 1]
    assert texts(client) == ["b", "c"]
    assert answer == {"status": "ok", "recovered": True, "offset": cursor(16)}
    (seated,) = client.received("seated")
    assert isinstance(seated, dict)
    assert (seated["recovered"], seated["offset"], seated["last"]) == (True, cursor(16), "c")
    await log.say("d")
    assert texts(client) == ["b", "c", "d"]
    assert club.count("bridged_recoveries_total", by="cursor", recovered="true") == 1


async def test_a_join_without_since_is_answered_as_ever(club: Club, log: Log) -> None:
    """And brings nothing of before."""
    client = await club.connect("ann")
    assert await sit(client) == {"status": "ok"}
    assert client.names == ["seated", 1]


@pytest.mark.parametrize(
    "since",
    [
        "10-00000000",  # a checksum that the event there does not have
        "11-abcd000b",  # a hole
        "9-abcd0009",  # before the first that is kept
        "-1-00000000",
        "16-abcd0010+10-abcd000a+00000000",  # a replay of other rooms
        "16-abcd0010+12345678901234567-abcd000a+00000000",
        "1h",
    ],
)
async def test_what_cannot_be_had_is_said(club: Club, log: Log, since: str) -> None:
    """The join succeeds, nothing old is sent, all that is new is."""
    client = await club.connect("ann")
    answer = await sit(client, since=since)
    assert answer == {"status": "ok", "recovered": False, "offset": cursor(16)}
    assert client.names == ["seated", 1]
    await log.say("d")
    assert texts(client) == ["d"]


async def test_an_age_is_an_answer_to_what_happened_lately(club: Club, log: Log) -> None:
    """Rather a little more than asked for than less, since the log's times are rough."""
    await club.clock.advance(60)
    await log.say("d", timestamp=club.clock.wall)
    await club.clock.advance(30)
    await log.say("e", timestamp=club.clock.wall)
    client = await club.connect("ann")
    assert (await sit(client, since="10s"))["recovered"] is True
    assert texts(client)[-1] == "e"
    assert "c" not in texts(client)


async def test_what_has_become_stale_is_left_out(club: Club, log: Log) -> None:
    """An event with `max_age` is not shown later than it would be if it came now."""
    await log.say("come", key="calls", timestamp=club.clock.wall)
    await club.clock.advance(20)
    in_time = await club.connect("ann")
    assert (await sit(in_time, since=cursor(16)))["recovered"] is True
    await club.clock.advance(20)
    late = await club.connect("ann")
    assert await sit(late, since=cursor(16)) == {"status": "ok", "recovered": True, "offset": cursor(19)}
    assert (len(in_time.received("calls")), len(late.received("calls"))) == (1, 0)


async def test_zero_seconds_are_the_first_cursor_of_a_client_that_has_none(club: Club, log: Log) -> None:
    """It then holds an offset to come back with."""
    await club.clock.advance(60)
    await log.say("d", timestamp=club.clock.wall)
    await club.clock.advance(60)
    client = await club.connect("ann")
    answer = await sit(client, since="0s")
    assert (answer["recovered"], answer["offset"]) == (True, cursor(19))


async def test_a_cursor_ahead_of_the_reader_is_waited_for(club: Club, log: Log) -> None:
    """Another instance has read more; this one comes to it, and nothing is missed in between."""
    client = await club.connect("ann")
    client.send("sit", {"table": "1", "since": cursor(19)}, ack=1)
    await settle()
    assert client.received(1) == []
    await log.say("d", "e")
    await settle()
    assert client.received(1) == [{"status": "ok", "recovered": True, "offset": cursor(22)}]
    assert texts(client) == ["e"]


async def test_a_cursor_ahead_is_waited_for_five_seconds(club: Club, log: Log) -> None:
    """Then the client is told; its other commands have waited behind."""
    client = await club.connect("ann")
    client.send("sit", {"table": "1", "since": cursor(19)}, ack=1)
    client.send("knock", ack=2)
    await settle()
    await club.clock.advance(4.9)
    assert client.log == []
    await club.clock.advance(0.2)
    assert client.received(1) == [{"status": "ok", "recovered": False, "offset": cursor(16)}]
    assert client.names[-1] == 2


async def test_a_room_that_one_is_in_is_given_what_is_older_alone(club: Club, log: Log) -> None:
    """What came since the first join came already."""
    client = await club.connect("ann")
    await sit(client)
    await log.say("d")
    assert (await sit(client, ack=2, since=cursor(10)))["recovered"] is True
    assert texts(client) == ["d", "b", "c"]
    assert (await sit(client, ack=3, since=cursor(10)))["recovered"] is True
    assert texts(client) == ["d", "b", "c"]


async def test_with_another_log_no_client_of_before_is_given_a_cursor(club: Club, log: Log) -> None:
    """It would hide that its other rooms lack something; cut, it comes again and loads all of them."""
    ann, bob = await club.connect("ann"), await club.connect("bob")
    bob.send("sit", {"table": "1", "since": cursor(19)}, ack=1)
    await settle()
    club.window.begin_epoch()
    club.lost_and_found.begin_epoch()
    await log.say("d", "e")
    await settle()
    assert bob.is_gone
    await sit(ann, "2")
    assert not ann.is_gone
    ann.send("sit", {"table": "1", "since": "1m"}, ack=2)
    await settle()
    assert ann.is_gone
    assert ann.received(2) == bob.received(1) == []
    again = await club.connect("ann")
    assert (await sit(again, since=cursor(19)))["recovered"] is True


async def test_a_refused_join_replays_nothing(club: Club, log: Log) -> None:
    """Neither where the token does not allow the room nor where there are too many."""
    client = await club.connect("ann", tables=["2"])
    client.send("sit", {"table": "1", "since": cursor(10)}, ack=1)
    await settle()
    (answer,) = client.received(1)
    assert isinstance(answer, dict)
    assert answer["code"] == "FORBIDDEN"
    assert texts(client) == []


async def test_more_than_may_wait_for_a_client_comes_in_portions(club: Club, log: Log) -> None:
    """Each waits until the one before has left; live events wait behind, and nothing is lost or doubled."""
    big = [f"{number} {BIG}" for number in range(60)]
    for text in big:
        await log.say(text)
    client = await club.connect("ann")
    await sit(client, "2", ack=1)
    client.is_slow = True
    client.send("sit", {"table": "1", "since": cursor(16)}, ack=2)
    client.send("knock", ack=3)
    await settle()
    portions = []
    while not client.received(2):
        portions.append(len(texts(client)))
        await log.say("at 2", table="2")
        await log.say("at 1")
        client.gate.set()
        await settle()
    assert len(portions) > 3
    assert texts(client)[:60] == big
    assert len(texts(client)) == 60 + 2 * len(portions)
    assert client.names.index(2) < client.names.index(3)
    await log.say("end")
    assert texts(client)[-1] == "end"
    assert texts(client).count("end") == 1


async def test_a_client_that_reads_fast_does_not_hold_up_the_others(club: Club, log: Log) -> None:
    """Between two portions the loop has its turn, though nothing of the first one waits any more."""
    for number in range(60):
        await log.say(f"{number} {BIG}")
    client = await club.connect("ann")
    seen: set[int] = set()

    async def look() -> None:
        while not client.received(1):
            seen.add(len(texts(client)))
            await asyncio.sleep(0)

    client.send("sit", {"table": "1", "since": cursor(16)}, ack=1)
    await look()
    assert len(texts(client)) == 60
    assert len(seen) > 3


async def test_to_leave_and_come_again_does_not_help(club: Club, log: Log) -> None:
    """By joins, or with all of it on connecting; another connection of the same user is another client."""
    for number in range(60):
        await log.say(f"{number} {BIG}")
        await log.say(f"{number} {BIG}", key="any")
    for since in (None, cursor(16)):
        connection, auth = f"by {since}", {"token": club.token(), "since": since}
        replayed = 0
        for _ in range(25):
            client = await club.try_connect("/hall", auth, connection=connection)
            assert isinstance(client, RecordingClient)
            if since is None:
                client.send("sit", {"table": "1", "since": cursor(16)}, ack=1)
            for _ in range(5):
                await settle()
            replayed += len(client.received("any")) + len(client.received("said"))
            client.leave()
        assert replayed * len(BIG) / 1e6 == pytest.approx(16, abs=2)
    client = await club.try_connect("/hall", auth, connection=connection)
    assert isinstance(client, RecordingClient)
    client.send("knock", ack=2)
    await settle()
    assert client.log == []
    await club.clock.advance(3)
    for _ in range(5):
        await settle()
    assert len(client.received("any")) == 60
    assert client.names[-1] == 2


async def test_whoever_asks_again_and_again_waits(club: Club, log: Log) -> None:
    """At 16 outboxes of replays at once, and one a second from then on; others and other commands do not."""
    for number in range(60):
        await log.say(f"{number} {BIG}")
    client, other = await club.connect("ann"), await club.connect("bob")
    answered = 0
    for ack in range(1, 20):
        client.send("sit", {"table": "1", "since": cursor(16)}, ack=ack)
        client.send("stand", {"table": "1"})
        for _ in range(5):
            await settle()
        if not client.received(ack):
            break
        answered = ack
    assert answered * 60 * len(BIG) / 1e6 == pytest.approx(16, abs=2)
    await sit(other, since=cursor(16))
    await club.clock.advance(2)
    for _ in range(5):
        await settle()
    assert client.received(answered + 1)
