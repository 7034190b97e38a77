"""Rooms of the SWE Agent: who may subscribe, how a refusal looks, and what attackers try."""

import pytest

from tests.support.daemon import unique
from tests.support.swe import Swe, seen
from tests.systems.swe_events import ALL, of_project

DENIED = {
    "status": "error",
    "error_code": "ROOM_ACCESS_DENIED",
    "error_message": "Access denied to room",
}
INVALID = {"status": "error", "error_code": "INVALID_ROOM", "error_message": "Invalid room format"}


async def test_subscribe_and_unsubscribe_answer_in_the_ack(swe: Swe) -> None:
    """`{status: success, room}` for all four kinds of rooms, again and again."""
    client = await swe.connect()
    for room in (f"project:{swe.project}", f"user:{swe.user}", f"agent:{unique('agent')}", "global"):
        for command in ("subscribe", "subscribe", "unsubscribe", "unsubscribe"):
            assert await client.call(command, {"room": room}) == {"status": "success", "room": room}


async def test_ping_is_answered(swe: Swe) -> None:
    """With an empty object as documented, with null, and with nothing."""
    client = await swe.connect()
    shapes: list[tuple[object, ...]] = [(), (None,), ({},)]
    for arguments in shapes:
        assert await client.call("ping", *arguments) == {"status": "pong"}


async def test_rooms_of_others_are_denied(swe: Swe) -> None:
    """Another project, another user; and somebody whose token names no project at all."""
    client = await swe.connect()
    bare = await swe.connect(user=unique("bob"), projects=[])
    for room in (f"project:{unique('gemini')}", f"user:{unique('eve')}"):
        assert await client.call("subscribe", {"room": room}) == DENIED
    assert await bare.call("subscribe", {"room": f"project:{swe.project}"}) == DENIED


async def test_star_among_the_projects_opens_all(swe: Swe) -> None:
    """`"*"` in the token's `projects` means every project, but no other user."""
    admin = await swe.connect(f"project:{swe.project}", user=unique("root"), projects=["*"])
    assert await admin.call("subscribe", {"room": f"user:{swe.user}"}) == DENIED


@pytest.mark.parametrize(
    "room",
    [
        "",
        "lobby",
        "project",
        "project:",
        ":",
        "project: apollo",
        "project:a.b",
        "project:a#",
        "project:*",
        "user:*",
        "agent:a*b",
        "agent:a\x00",
        "agent:a\nb",
        "agent:a:b",
        "agent:" + "a" * 129,
        "Global",
        "global ",
        "global:1",
        "\uff47lobal",
        "__proto__",
        "constructor",
        "x" * 100_000,
        None,
        5,
        True,
        ["global"],
        {"name": "global"},
    ],
    ids=lambda room: repr(room)[:24],
)
async def test_what_is_no_room_is_invalid(swe: Swe, room: object) -> None:
    """Nothing but the four documented forms, and no other type than text; the connection is kept."""
    client = await swe.connect()
    for command in ("subscribe", "unsubscribe"):
        assert await client.call(command, {"room": room}) == INVALID
    assert await client.call("ping", {}) == {"status": "pong"}


@pytest.mark.parametrize("args", [[], [None], [{}], ["global"], [{"room": "global", "as": "root"}], [1, 2]])
async def test_commands_of_another_shape_are_invalid(swe: Swe, args: list[object]) -> None:
    """No object, a missing or a further field, two arguments."""
    client = await swe.connect()
    assert await client.call("subscribe", *args) == INVALID


@pytest.mark.parametrize(
    "trick",
    [
        "user:{user}\u200b",
        "user:{fullwidth}",
        "user:{user}:x",
        "user:x:{user}",
        "user:%7B{user}",
        "user: {user}",
        "user:{user}\x00",
        "USER:{user}",
        "project:x:user:{user}",
        "agent:x%3Auser:{user}",
        "user\x3a\x3a{user}",
    ],
)
async def test_no_trick_leads_into_the_room_of_another(swe: Swe, trick: str) -> None:
    """Full-width digits, NUL, colons, percent signs: what the attacker gets is nobody's room."""
    victim = await swe.connect()
    attacker = await swe.bystander()
    wide = swe.user.translate({ord("0") + n: chr(0xFF10 + n) for n in range(10)})
    room = trick.replace("{user}", swe.user).replace("{fullwidth}", wide)
    answer = await attacker.call("subscribe", {"room": room})
    assert answer in (DENIED, INVALID)
    example = next(example for example in ALL if example.event == "project.deleted")
    await swe.publish(example.key, of_project(example.body, swe.project, swe.user))
    await swe.mark(victim, attacker)
    assert len(seen(victim)) == 1
    assert seen(attacker) == []


async def test_user_with_a_colon_is_not_in_a_room_of_two_words(swe: Swe) -> None:
    """`a:b` is one user, and is reached as such; nobody else's room looks like it."""
    user = unique("ann") + ":admin"
    client, other = await swe.connect(user=user), await swe.connect(user=user.partition(":")[0])
    example = next(example for example in ALL if example.event == "project.deleted")
    await swe.publish(example.key, example.with_data(deleted_by=user))
    await swe.mark(client, other)
    assert len(seen(client)) == 1
    assert seen(other) == []


async def test_refusal_without_ack_is_an_event_and_the_connection_is_kept(swe: Swe) -> None:
    """`connection_error` with the code; the client stays and can go on."""
    client = await swe.connect()
    await client.emit("subscribe", {"room": f"project:{unique('gemini')}"})
    await client.emit("subscribe", {"room": "lobby"})
    received = await client.wait_for("connection_error", 2)
    errors = [event for (event,) in received if isinstance(event, dict)]
    assert [error["type"] for error in errors] == ["connection.error"] * 2
    assert [error["data"] for error in errors] == [
        {
            "error_code": refusal["error_code"],
            "error_message": refusal["error_message"],
            "connection_id": client.sid,
        }
        for refusal in (DENIED, INVALID)
    ]
    assert await client.call("ping", {}) == {"status": "pong"}
    assert (client.connected, client.disconnects) == (True, [])


async def test_more_rooms_than_a_client_may_have_are_denied(swe: Swe) -> None:
    """128 rooms of one client; the next is refused, and leaving one makes room."""
    client = await swe.connect()
    answers = [await client.call("subscribe", {"room": f"agent:a{number}"}) for number in range(130)]
    granted = [answer for answer in answers if answer != DENIED]
    assert 120 < len(granted) <= 128
    assert answers[-1] == DENIED
    assert await client.call("unsubscribe", {"room": "agent:a0"}) == {
        "status": "success",
        "room": "agent:a0",
    }
    assert await client.call("subscribe", {"room": "agent:last"}) == {
        "status": "success",
        "room": "agent:last",
    }


async def test_unknown_command_is_refused_in_the_documents_form(swe: Swe) -> None:
    """The code is the bridge's own, the shape the document's."""
    client = await swe.connect()
    answer = await client.call("publish", {"room": "global"})
    assert isinstance(answer, dict)
    assert (answer["status"], answer["error_code"]) == ("error", "UNKNOWN_COMMAND")


async def test_message_of_a_megabyte_is_taken(swe: Swe) -> None:
    """Just under 1 MB from a client is read and answered; the client stays."""
    client = await swe.connect()
    answer = await client.call("subscribe", {"room": "x" * 999_000}, timeout=10)
    assert answer == INVALID
    assert await client.call("ping", {}) == {"status": "pong"}


async def test_larger_message_ends_the_connection(swe: Swe) -> None:
    """Over 1 MB: the connection is closed, and the client comes back by itself."""
    client = await swe.connect()
    await client.emit("subscribe", {"room": "x" * 1_100_000})
    await client.until(lambda: client.connects == 2, 10, lambda: "a reconnect")
    assert client.disconnects == ["transport close"]
