"""Admission: where the token is looked for, what a refusal says, how many connections a user may have."""

import pytest

from bridge.errors import Code
from bridge.flow.ports import ConnectRefused
from tests.support.club import Club
from tests.support.fakes import RecordingClient


async def test_the_token_of_the_payload_goes_before_that_of_the_header(club: Club) -> None:
    """An empty one is none."""
    ann, bob = club.token("ann"), f"Bearer {club.token('bob')}"
    for auth, bearer, user in [
        ({"token": ann}, None, "ann"),
        ({"token": ann}, bob, "ann"),
        ({"token": ""}, bob, "bob"),
        ({"token": None}, bob.replace("Bearer", "bearer"), "bob"),
        ("text", bob, "bob"),
        (None, bob.replace(" ", "   "), "bob"),
    ]:
        client = await club.try_connect("/hall", auth, bearer=bearer)
        assert isinstance(client, RecordingClient)
        session = club.sessions.get(client)
        assert session is not None
        assert session.principal is not None
        assert session.principal.user == user
        client.leave()


@pytest.mark.parametrize(
    ("auth", "bearer"),
    [(None, None), ({"token": ""}, None), (None, "Bearer "), (None, "Basic abc"), ([], "Bearer")],
)
async def test_without_a_token_one_may_sign_in_later_where_that_is_configured(
    club: Club, auth: object, bearer: str | None
) -> None:
    """Elsewhere it is refused, and where nothing is required let in."""
    for namespace in ("/hall", "/garden/1"):
        assert isinstance(await club.try_connect(namespace, auth, bearer=bearer), RecordingClient)
    refused = await club.try_connect("/desk", auth, bearer=bearer)
    assert isinstance(refused, ConnectRefused)
    assert refused.code is Code.NOT_AUTHENTICATED


@pytest.mark.parametrize("token", ["no", 7, {"a": 1}, [], True, "x" * 9000])
async def test_a_token_that_is_none_is_refused(club: Club, token: object) -> None:
    """Of whatever type; nothing is held."""
    refused = await club.try_connect("/hall", {"token": token})
    assert isinstance(refused, ConnectRefused)
    assert refused.code is Code.INVALID_TOKEN
    assert club.left_over() == {}


async def test_the_claims_must_permit_the_namespace(club: Club) -> None:
    """With the words of its name."""
    token = {"token": club.token("ann", tables=["1"])}
    assert isinstance(await club.try_connect("/table/1", token), RecordingClient)
    refused = await club.try_connect("/table/2", token)
    assert isinstance(refused, ConnectRefused)
    assert refused.code is Code.FORBIDDEN


async def test_a_user_has_so_many_connections_at_most(club: Club) -> None:
    """Counted in connections, not in namespaces, over the system; those without a token do not count."""
    first = await club.connect("ann", "/hall", connection="one")
    same = await club.connect("ann", "/table/1", connection="one")
    await club.connect("ann", "/hall", connection="two")
    waiting = await club.connect_unsigned("/hall", connection="three")
    refused = await club.try_connect("/table/2", {"token": club.token("ann")}, connection="three")
    assert isinstance(refused, ConnectRefused)
    assert refused.code is Code.TOO_MANY_CONNECTIONS
    waiting.send("authenticate", {"token": club.token("ann")}, ack=1)
    assert waiting.received(1)[0]["code"] == "TOO_MANY_CONNECTIONS"
    await club.connect("bob", "/hall", connection="four")
    await club.connect("ann", "/bar", connection="five")  # it has limits of its own
    first.leave()
    waiting.send("authenticate", {"token": club.token("ann")}, ack=2)
    assert waiting.received(2)[0]["code"] == "TOO_MANY_CONNECTIONS"
    same.drop()
    waiting.send("authenticate", {"token": club.token("ann")}, ack=3)
    assert waiting.received(3) == [{"status": "ok"}]


async def test_a_renewal_does_not_count_twice(club: Club) -> None:
    """Nor does it need a free connection."""
    clients = [await club.connect("ann") for _ in range(2)]
    for client in clients:
        client.send("authenticate", {"token": club.token("ann")}, ack=1)
        assert client.received(1) == [{"status": "ok"}]
        client.leave()
    assert club.sessions.connections("shop", "ann", besides="") == 0
