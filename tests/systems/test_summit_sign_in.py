"""Who may enter Summit: by a token in the handshake, for as long as it lasts, in one tenant."""

import pytest

from tests.support.daemon import make_token, unique
from tests.support.js_client import JsConnectError
from tests.support.portal import names
from tests.support.summit import Summit


async def test_a_token_in_the_header_counts(summit: Summit) -> None:
    """`auth` payload or `Authorization` header, as the document says."""
    client = await summit.js.connect(
        f"{summit.daemon.url}/realtime",
        transports=["websocket"],
        extraHeaders={"Authorization": f"Bearer {summit.token()}"},
    )
    assert await client.call("maestro:subscribe_run", {"runId": summit.run}) == {"status": "ok"}


@pytest.mark.parametrize(
    ("auth", "code"),
    [
        ({}, "NOT_AUTHENTICATED"),
        ({"token": "nonsense"}, "INVALID_TOKEN"),
        ({"token": make_token("ann", -1)}, "INVALID_TOKEN"),
        ({"token": make_token("ann", secret="x" * 40)}, "INVALID_TOKEN"),
    ],
    ids=["none", "nonsense", "expired", "forged"],
)
async def test_nobody_enters_without_a_good_token(summit: Summit, auth: dict[str, object], code: str) -> None:
    """`connect_error` with a code; an open namespace it is not."""
    with pytest.raises(JsConnectError) as refused:
        await summit.js.connect(f"{summit.daemon.url}/realtime", transports=["websocket"], auth=auth)
    assert isinstance(refused.value.data, dict)
    assert refused.value.data["code"] == code


async def test_a_session_ends_with_its_token(summit: Summit) -> None:
    """`token_expired`, then the server disconnects."""
    token = make_token(summit.user, 1.5, tenant=summit.tenant)
    client = await summit.js.connect(
        f"{summit.daemon.url}/realtime", transports=["websocket"], auth={"token": token}, reconnection=False
    )
    await client.wait_for("token_expired")
    assert await client.wait_disconnected() == "io server disconnect"


async def test_a_renewal_prolongs_the_session(summit: Summit) -> None:
    """`authenticate` with a newer token of the same user and tenant; its rooms are kept."""
    client = await summit.watch()
    await client.emit("authenticate", {"token": summit.token()})
    await client.wait_for("authenticated")
    await summit.tell(client)


@pytest.mark.parametrize("claim", ["tenant", "user"])
async def test_a_renewal_is_no_change_of_person(summit: Summit, claim: str) -> None:
    """A token of another tenant or user is refused, and the session goes on as it was."""
    client = await summit.watch()
    other = unique("other")
    await client.emit("authenticate", {"token": summit.token(**{claim: other})})
    (failed,) = (await client.wait_for("authentication_failed"))[0]
    assert isinstance(failed, dict)
    assert failed["code"] == "FORBIDDEN"
    await summit.publish(f"maestro.run.{summit.run}.status", _status("lost"), tenant=other)
    await summit.tell(client)
    assert names(client) == ["authentication_failed", "maestro:status_update"]


def _status(run: str) -> dict[str, object]:
    return {"runId": run, "status": "RUNNING", "timestamp": 1}
