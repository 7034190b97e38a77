"""Approvals: a service asks, a user with the permission decides, and everybody hears of it."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.daemon import unique
from tests.support.portal import Portal, names
from tests.systems.portal_events import EXAMPLES

_MAY = {"permissions": ["approvals:write"]}


@pytest.mark.parametrize(
    "decision",
    [{"approved": True}, {"approved": False, "comment": "not yet"}, {"approved": True, "comment": ""}],
    ids=str,
)
async def test_a_decision_reaches_the_services_stamped(portal: Portal, decision: dict[str, object]) -> None:
    """`resolve_approval` goes out under its key, stamped with who decided, when, and for which project."""
    commands = await portal.take_commands()
    client = await portal.project_client(**_MAY)
    sent = {"request_id": "r-1", **decision}
    answer = await client.call("resolve_approval", {**sent, "resolved_by": "root", "project_name": "another"})
    (message,) = await commands.wait_for()
    body = json.loads(message.body)
    resolved_at = datetime.fromisoformat(body.pop("resolved_at"))
    assert abs(resolved_at - datetime.now(UTC)) < timedelta(seconds=20)
    assert body == {**sent, "resolved_by": portal.user, "project_name": portal.project}
    assert message.routing_key == f"project.{portal.project}.approval.resolve"
    assert message.type == "resolve_approval"
    assert answer == {"status": "ok", "message_id": message.message_id}


async def test_an_approval_goes_around(portal: Portal) -> None:
    """The request is shown, the decision is taken, and all clients of the project receive the resolution."""
    request, resolved = (
        next(example for example in EXAMPLES if example.event == event)
        for event in ("approval_request", "approval_resolved")
    )
    commands = await portal.take_commands()
    client = await portal.project_client(**_MAY)
    other = await portal.project_client(user=unique("bob"))
    await portal.publish(request.event, request.bodies(portal.project)[0])
    ((asked,),) = await client.wait_for("approval_request")
    assert isinstance(asked, dict)
    await client.emit("resolve_approval", {"request_id": asked["request_id"], "approved": True})
    decided = await commands.body()
    await portal.publish(resolved.event, decided)
    for each in (client, other):
        assert await each.wait_for("approval_resolved") == [[decided]]
        assert names(each) == ["approval_request", "approval_resolved"]


async def test_deciding_needs_the_permission(portal: Portal) -> None:
    """Without `approvals:write` the decision is FORBIDDEN, and no service hears of it."""
    commands = await portal.take_commands()
    client = await portal.project_client(permissions=["monitoring:read"], roles=["admin"])
    answer = await client.call("resolve_approval", {"request_id": "r-1", "approved": True})
    assert isinstance(answer, dict)
    assert (answer["status"], answer["code"]) == ("error", "FORBIDDEN")
    chat = await portal.chat_client()
    await chat.call("send_message", {"content": "mark", "type": "message"})
    messages = await commands.wait_for()
    assert [message.type for message in messages] == ["send_message"]


async def test_a_renewal_may_bring_the_permission(portal: Portal) -> None:
    """The newest token decides what its user may do."""
    commands = await portal.take_commands()
    client = await portal.project_client()
    await client.emit("authenticate", {"token": portal.token(**_MAY)})
    await client.wait_for("authenticated")
    await client.emit("resolve_approval", {"request_id": "r-1", "approved": True})
    assert (await commands.body())["request_id"] == "r-1"


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"request_id": "r-1"},
        {"approved": True},
        {"request_id": "r-1", "approved": "yes"},
        {"request_id": "r-1", "approved": 1},
        {"request_id": "r-1", "approved": None},
        {"request_id": "", "approved": True},
        {"request_id": "a b", "approved": True},
        {"request_id": 1, "approved": True},
        {"request_id": "r-1", "approved": True, "extra": 1},
    ],
    ids=str,
)
async def test_a_decision_that_does_not_fit_is_refused(portal: Portal, sent: dict[str, object]) -> None:
    """What is not a request id and a yes or no is a `validation_error`."""
    client = await portal.project_client(**_MAY)
    await client.emit("resolve_approval", sent)
    error = (await client.wait_for("validation_error"))[0][0]
    assert isinstance(error, dict)
    assert error["message"]
    assert error["details"]
