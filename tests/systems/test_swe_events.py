"""The SWE Agent's events reach the rooms that its document names, exactly as they were published."""

import pytest

from tests.support.daemon import unique
from tests.support.swe import Swe, seen
from tests.systems.swe_events import ALL, DOCUMENTED, SIBLINGS, Example, bare, of_project

ids = lambda example: example.event  # noqa: E731  the tests' names


@pytest.mark.parametrize("example", ALL, ids=ids)
async def test_event_arrives_as_it_stands_in_the_document(swe: Swe, example: Example) -> None:
    """The example of the document, word for word, is deeply equal in every room that it names, once."""
    projects = [room.removeprefix("project:") for room in example.rooms if room.startswith("project:")]
    clients = []
    for room in example.rooms:
        user = room.removeprefix("user:") if room.startswith("user:") else unique("ann")
        clients.append(await swe.connect(room, user=user, projects=projects))
    everywhere = await swe.connect(*example.rooms[:1], projects=projects)
    await swe.publish(example.key, example.body)
    await swe.mark(*clients, everywhere)
    for client in [*clients, everywhere]:
        assert seen(client) == [(example.event, [example.body])]


@pytest.mark.parametrize("example", SIBLINGS, ids=ids)
async def test_sibling_may_carry_its_ids_alone(swe: Swe, example: Example) -> None:
    """What the document names without an example needs nothing but the ids of its family."""
    body = of_project(bare(example), swe.project, swe.user)
    client = await swe.connect(f"project:{swe.project}")
    await swe.publish(example.key, body)
    assert await client.wait_for(example.event) == [[body]]


@pytest.mark.parametrize("event", ["workflow.progress", "ai.suggestion", "workflow.failed"])
async def test_event_of_a_project_goes_to_it_and_not_to_all(swe: Swe, event: str) -> None:
    """`project:<project_id>` if available, else `global`."""
    example = next(example for example in ALL if example.event == event)
    member, other = await swe.connect(f"project:{swe.project}"), await swe.bystander()
    ours = example.with_data(project_id=swe.project)
    await swe.publish(example.key, ours)
    await swe.publish(example.key, example.body)
    await swe.mark(member, other)
    assert seen(member) == [(event, [ours]), (event, [example.body])]
    assert seen(other) == [(event, [example.body])]


async def test_event_comes_once_to_a_client_in_several_of_its_rooms(swe: Swe) -> None:
    """Who changed the project and also watches it gets one event, not two."""
    client = await swe.connect(f"project:{swe.project}", f"agent:{swe.project}")
    for example in DOCUMENTED:
        body = of_project(example.body, swe.project, swe.user)
        await swe.publish(example.key, body)
    await swe.mark(client)
    assert [name for name, _ in seen(client)] == [example.event for example in DOCUMENTED]


async def test_bystander_receives_nothing(swe: Swe) -> None:
    """A user of another project sees no event of this one, whatever it subscribes to."""
    member, bystander = await swe.connect(f"project:{swe.project}"), await swe.bystander()
    for room in (f"project:{swe.project}", f"user:{swe.user}"):
        assert await bystander.call("subscribe", {"room": room}) != {"status": "success", "room": room}
    concerned = [example for example in ALL if not example.event.startswith("agent.")]
    for example in concerned:
        body = of_project(example.with_data(project_id=swe.project), swe.project, swe.user)
        await swe.publish(example.key, body)
    await swe.mark(member, bystander)
    assert len(seen(member)) == len(concerned)
    assert seen(bystander) == []


async def test_issue_reaches_whoever_it_is_assigned_to(swe: Swe) -> None:
    """`user:<assigned_to>` hears of it without a subscription; one of nobody goes to the project alone."""
    example = next(example for example in ALL if example.event == "issue.updated")
    assignee, member = await swe.connect(), await swe.connect(f"project:{swe.project}", user=unique("bob"))
    body = of_project(example.body, swe.project, swe.user)
    unassigned = of_project(example.with_data(assigned_to=None), swe.project, swe.user)
    await swe.publish(example.key, body)
    await swe.publish(example.key, unassigned)
    await swe.mark(assignee, member)
    assert seen(assignee) == [("issue.updated", [body])]
    assert seen(member) == [("issue.updated", [body]), ("issue.updated", [unassigned])]


async def test_subscription_ends_with_unsubscribe(swe: Swe) -> None:
    """What comes after the ack of `unsubscribe` is not received any more."""
    room = f"project:{swe.project}"
    client = await swe.connect(room, user=unique("ann"))
    example = next(example for example in ALL if example.event == "pr.created")
    body = of_project(example.body, swe.project, swe.user)
    await swe.publish(example.key, body)
    await client.wait_for("pr.created")
    assert await client.call("unsubscribe", {"room": room}) == {"status": "success", "room": room}
    await swe.publish(example.key, body)
    await swe.mark(client)
    assert seen(client) == [("pr.created", [body])]


async def test_event_of_a_megabyte_arrives(swe: Swe) -> None:
    """The document's maximum payload: 1 MB, here with multi-byte text, to several clients."""
    example = next(example for example in ALL if example.event == "ai.suggestion")
    body = example.with_data(project_id=swe.project, metadata={"text": "größer 👋 " * 66_000})
    clients = [await swe.connect(f"project:{swe.project}", user=unique("ann")) for _ in range(3)]
    await swe.publish(example.key, body)
    for client in clients:
        assert await client.wait_for("ai.suggestion", timeout=10) == [[body]]
