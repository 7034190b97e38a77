"""Every event of the portal's document reaches the clients of its namespace, exactly as it was published."""

from collections.abc import Mapping

import pytest

from tests.support.daemon import unique
from tests.support.portal import Portal, names
from tests.systems.portal_events import EXAMPLES, PROJECT, Example

_ALL: dict[str, object] = {"permissions": ["monitoring:read"], "roles": ["admin"]}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example.event))
async def test_event_arrives_as_it_was_published(portal: Portal, example: Example) -> None:
    """Each event, with all, with no and with single optional fields, arrives unchanged."""
    key, namespace = (text.replace(PROJECT, portal.project) for text in (example.key, example.namespace))
    client = await portal.connect(namespace, **_ALL)
    bodies = example.bodies(portal.project)
    for body in bodies:
        await portal.services.publish(key, body)
    received = await client.wait_for(example.event, len(bodies))
    assert received == [[body] for body in bodies]
    assert names(client) == [example.event] * len(bodies)


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]], ids=str)
async def test_events_keep_their_order_on_every_transport(portal: Portal, transports: list[str]) -> None:
    """What is published in order arrives in order, on websocket, on polling and through the upgrade."""
    client = await portal.project_client(options={"transports": transports})
    for number in range(100):
        await portal.publish("state_change", portal.state_change(str(number)))
    received = await client.wait_for("state_change", 100)
    assert [_new_state(args) for args in received] == [str(number) for number in range(100)]


async def test_one_event_goes_to_all_clients_of_its_namespace(portal: Portal) -> None:
    """`all of /project/{name}`: every client of the project's namespace receives an event once."""
    clients = [await portal.project_client(user=unique("bob")) for _ in range(8)]
    body = portal.state_change()
    await portal.publish("state_change", body)
    for client in clients:
        await client.wait_for("state_change")
    await portal.tell(clients[0])
    for client in clients:
        assert await client.wait_for("state_change", 2) == [[body], [portal.state_change("mark")]]


async def test_nobody_of_another_project_receives_anything(portal: Portal) -> None:
    """Clients in the namespaces and rooms of another project see none of the events of this one."""
    other = unique("gemini")
    namespaces = [f"/project/{other}", f"/chat/{other}", "/portal"]
    first = await portal.connect(namespaces[0], user=unique("eve"), projects=[other])
    bystanders = [first]
    for namespace in namespaces[1:]:
        bystanders.append(await portal.connect(namespace, shares=first, user=unique("eve"), projects=[other]))
    *_, at_portal = bystanders
    everything = [example.event for example in EXAMPLES]
    await at_portal.emit("join_project", {"project_name": other})
    await at_portal.emit("subscribe_to_events", {"events": everything})
    await at_portal.wait_for("joined_project")

    for example in EXAMPLES:
        for body in example.bodies(portal.project):
            await portal.services.publish(example.key.replace(PROJECT, portal.project), body)
    mark = {**portal.state_change("mark"), "project_name": other}
    typing = {"user_id": "ann", "project_name": other, "timestamp": "2026-11-20T10:00:00Z"}
    await portal.services.publish(f"chat.{other}.typing_start", typing)
    await portal.services.publish(f"project.{other}.state_change", mark)

    for client in (first, at_portal):
        await client.wait_for("state_change")
    assert [names(client) for client in bystanders] == [
        ["state_change"],
        ["typing_start"],
        ["joined_project", "state_change"],
    ]


async def test_namespace_of_one_project_shows_only_its_events(portal: Portal) -> None:
    """A user of two projects receives in each namespace the events of that project alone."""
    other = unique("gemini")
    projects = [portal.project, other]
    one = await portal.connect(f"/project/{portal.project}", projects=projects)
    two = await portal.connect(f"/project/{other}", projects=projects, shares=one)
    await portal.publish("state_change", portal.state_change("one"))
    await portal.services.publish(f"project.{other}.state_change", portal.state_change("two"))
    assert [_new_state(args) for args in await one.wait_for("state_change")] == ["one"]
    assert [_new_state(args) for args in await two.wait_for("state_change")] == ["two"]


async def test_what_the_document_does_not_name_stays_behind(portal: Portal) -> None:
    """Fields that the schema does not name are dropped; absent ones stay absent, nulls stay null."""
    client = await portal.project_client()
    body = portal.state_change(reason=None)
    await portal.publish("state_change", {**body, "internal_secret": "s3cret", "api": {"key": 1}})
    assert await client.wait_for("state_change") == [[body]]


async def test_states_and_tasks_may_be_texts_or_objects(portal: Portal) -> None:
    """Types that the document names but never defines take any string or object."""
    client = await portal.project_client()
    state = {"name": "SPRINT_ACTIVE", "since": "2026-11-20", "tags": ["a"]}
    await portal.publish("state_change", portal.state_change(state))
    received = await client.wait_for("state_change")
    assert received[0][0] == portal.state_change(state)


async def test_an_event_published_twice_arrives_once(portal: Portal) -> None:
    """An equal (exchange, message id) is one event: a service may publish again when it is in doubt."""
    client = await portal.project_client()
    message_id = unique("message")
    key = f"project.{portal.project}.state_change"
    for _ in range(2):
        await portal.services.publish(key, portal.state_change("once"), message_id=message_id)
    await portal.tell(client)
    assert [_new_state(args) for args in client.received("state_change")] == ["once", "mark"]


async def test_a_key_that_nobody_routes_is_passed_over(portal: Portal) -> None:
    """Keys besides the documented ones reach no client and disturb nothing."""
    client = await portal.project_client()
    for key in (
        f"project.{portal.project}.unknown",
        f"project.{portal.project}.state_change.more",
        f"project.{portal.project}",
        "project..state_change",
        "",
    ):
        await portal.services.publish(key, portal.state_change("stray"))
    await portal.tell(client)
    assert names(client) == ["state_change"]


def _new_state(args: list[object]) -> object:
    body = args[0]
    assert isinstance(body, Mapping)
    return body["new_state"]
