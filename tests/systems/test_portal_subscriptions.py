"""`subscribe_to_events` in `/portal`: chosen events of one project, or of all of the token's."""

from tests.support.daemon import unique
from tests.support.js_client import JsClient
from tests.support.portal import Portal, names
from tests.systems.portal_events import EXAMPLES, PROJECT

_OF_PROJECTS = [example for example in EXAMPLES if example.key.startswith(f"project.{PROJECT}.")]


async def _subscribe(client: JsClient, *events: str, **fields: object) -> None:
    """Subscribe and wait for the answer."""
    assert await client.call("subscribe_to_events", {"events": list(events), **fields}) == {"status": "ok"}


async def _publish_all(portal: Portal, project: str) -> None:
    """Publish one of each event of a project; the last one is its `backlog_updated`."""
    for example in _OF_PROJECTS:
        body = {**example.required, "project_name": project}
        await portal.services.publish(example.key.replace(PROJECT, project), body)


async def test_nothing_comes_without_asking(portal: Portal) -> None:
    """A client of `/portal` that asked for nothing receives nothing of its projects."""
    client = await portal.connect("/portal")
    watcher = await portal.project_client(user=unique("bob"))
    await _publish_all(portal, portal.project)
    await watcher.wait_for("backlog_updated")
    await _subscribe(client, "state_change")
    await portal.publish("state_change", portal.state_change())
    await client.wait_for("state_change")
    assert names(client) == ["state_change"]


async def test_each_event_of_a_project_can_be_asked_for(portal: Portal) -> None:
    """All six kinds of project events arrive, as they were published, once they are subscribed."""
    client = await portal.connect("/portal")
    events = [example.event for example in _OF_PROJECTS]
    await _subscribe(client, *events, project_name=portal.project)
    await _publish_all(portal, portal.project)
    await client.wait_for(events[-1])
    expected = [
        (example.event, [{**example.required, "project_name": portal.project}]) for example in _OF_PROJECTS
    ]
    assert client.events == expected


async def test_only_what_was_asked_for_comes(portal: Portal) -> None:
    """Other events of the project, and the same event of other projects, stay away."""
    other = unique("gemini")
    client = await portal.connect("/portal", projects=[portal.project, other])
    await _subscribe(client, "task_update", "backlog_updated", project_name=portal.project)
    await _publish_all(portal, other)
    await _publish_all(portal, portal.project)
    await client.wait_for("backlog_updated")
    assert [name for name, _ in client.events] == ["task_update", "backlog_updated"]
    assert all(
        args[0]["project_name"] == portal.project for _, args in client.events if isinstance(args[0], dict)
    )


async def test_calls_add_up(portal: Portal) -> None:
    """A later call does not end what an earlier one asked for."""
    client = await portal.connect("/portal")
    await _subscribe(client, "task_update", project_name=portal.project)
    await _subscribe(client, "backlog_updated", project_name=portal.project)
    await _publish_all(portal, portal.project)
    await client.wait_for("backlog_updated")
    assert names(client) == ["task_update", "backlog_updated"]


async def test_without_a_project_all_of_the_tokens(portal: Portal) -> None:
    """`subscribe_to_events {events}` asks for these events of every project in `projects`, of no other."""
    other, foreign = unique("gemini"), unique("mercury")
    client = await portal.connect("/portal", projects=[portal.project, other])
    await _subscribe(client, "backlog_updated")
    for project in (foreign, portal.project, other):
        await _publish_all(portal, project)
    received = await client.wait_for("backlog_updated", 2)
    projects = [args[0]["project_name"] for args in received if isinstance(args[0], dict)]
    assert projects == [portal.project, other]


async def test_who_may_see_all_projects_sees_all(portal: Portal) -> None:
    """With `"*"` in `projects` an event of any project comes, once, also when one was named as well."""
    client = await portal.connect("/portal", projects=["*"])
    await _subscribe(client, "backlog_updated")
    await _subscribe(client, "backlog_updated", project_name=portal.project)
    await _publish_all(portal, portal.project)
    other = unique("gemini")
    await _publish_all(portal, other)
    received = await client.wait_for("backlog_updated", 2)
    projects = [args[0]["project_name"] for args in received if isinstance(args[0], dict)]
    assert projects == [portal.project, other]


async def test_an_event_comes_once_to_who_joined_and_subscribed(portal: Portal) -> None:
    """`once each`: membership and subscription together bring one copy of a `state_change`."""
    client = await portal.connect("/portal")
    await client.emit("join_project", {"project_name": portal.project})
    await client.wait_for("joined_project")
    await _subscribe(client, "state_change")
    await _subscribe(client, "state_change", project_name=portal.project)
    for state in ("one", "two"):
        await portal.publish("state_change", portal.state_change(state))
    await client.wait_for("state_change", 2)
    assert client.received("state_change") == [[portal.state_change("one")], [portal.state_change("two")]]


async def test_agent_activity_is_shown_to_subscribers_of_its_project(portal: Portal) -> None:
    """`agent_activity` of `monitoring` goes to who asked for it and may see `{body.project_name}`."""
    other = unique("gemini")
    client = await portal.connect("/portal")
    await _subscribe(client, "agent_activity")
    (example,) = [example for example in EXAMPLES if example.event == "agent_activity"]
    for project in (other, portal.project):
        await portal.services.publish(example.key, {**example.required, "project_name": project})
    received = await client.wait_for("agent_activity")
    assert received == [[{**example.required, "project_name": portal.project}]]


async def test_a_foreign_project_cannot_be_subscribed(portal: Portal) -> None:
    """Subscribing needs the project in `projects`: else FORBIDDEN, and nothing of it comes."""
    foreign = unique("gemini")
    client = await portal.connect("/portal")
    await client.emit("subscribe_to_events", {"events": ["backlog_updated"], "project_name": foreign})
    error = (await client.wait_for("error"))[0][0]
    assert isinstance(error, dict)
    assert (error["code"], error["type"]) == ("FORBIDDEN", "authentication")
    await _subscribe(client, "backlog_updated")
    await _publish_all(portal, foreign)
    await _publish_all(portal, portal.project)
    await client.wait_for("backlog_updated")
    assert names(client) == ["error", "backlog_updated"]


async def test_subscriptions_end_with_the_connection(portal: Portal) -> None:
    """After a reconnect a client asks again, as the document's client does on `connect`."""
    client = await portal.connect("/portal")
    watcher = await portal.project_client(user=unique("bob"))
    await _subscribe(client, "task_update")
    await client.disconnect()
    await client.reconnect()
    await client.wait_connected(2)
    await _publish_all(portal, portal.project)
    await watcher.wait_for("backlog_updated")
    await _subscribe(client, "backlog_updated")
    await _publish_all(portal, portal.project)
    await client.wait_for("backlog_updated")
    assert names(client) == ["backlog_updated"]
