"""Every event of the Agents' document reaches the rooms that it belongs to, once, and nobody else."""

import pytest

from tests.support.agents import Agents, seen
from tests.support.daemon import unique

_AT = 1234567890
_TASK = {"title": 'Größe "1"', "steps": [1, 2.5, None, True], "nested": {"deep": {"deeper": []}}}


def _example(agents: Agents, event: str) -> tuple[str, dict[str, object], list[str]]:
    """An event's routing key, its body as the document shows it, and its rooms besides the dashboard."""
    agent, task, conversation = agents.agent, agents.task, agents.conversation
    changed = {"agent_id": agent, "old_status": "idle", "new_status": "busy", "timestamp": _AT}
    at_task, rooms = {"task_id": task, "timestamp": _AT}, [f"task:{task}"]
    examples: dict[str, tuple[str, dict[str, object], list[str]]] = {
        "agent:status_changed": (f"agent.{agent}.status_changed", changed, [f"agent:{agent}"]),
        "agent:heartbeat": (
            f"agent.{agent}.heartbeat",
            {"agent_id": agent, "timestamp": _AT, "metadata": {"load": 0.5}},
            [f"agent:{agent}"],
        ),
        "task:created": (f"task.{task}.created", {**at_task, "task": _TASK}, rooms),
        "task:assigned": (
            f"task.{task}.assigned",
            {**at_task, "task": "a task", "agent_id": agent},
            [*rooms, f"agent:{agent}"],
        ),
        "task:updated": (f"task.{task}.updated", {**at_task, "update": {"progress": 10}}, rooms),
        "task:completed": (f"task.{task}.completed", {**at_task, "result": _TASK}, rooms),
        "conversation:message": (
            f"conversation.{conversation}.message",
            {
                "conversation_id": conversation,
                "message": {"text": "hello"},
                "timestamp": "2026-11-20T10:00:00Z",
            },
            [f"conversation:{conversation}"],
        ),
        "system:alert": (
            "system.alert",
            {"message": unique("alert"), "severity": "critical", "timestamp": _AT},
            [],
        ),
    }
    return examples[event]


_AT_DASHBOARD = {
    "agent:status_changed",
    "task:created",
    "task:assigned",
    "task:completed",
    "system:alert",
}
_EVENTS = sorted({*_AT_DASHBOARD, "agent:heartbeat", "task:updated", "conversation:message"})


@pytest.mark.parametrize("event", _EVENTS)
async def test_an_event_reaches_each_of_its_rooms_as_it_was_published(agents: Agents, event: str) -> None:
    """A member of each room receives it whole; whoever is in other rooms receives nothing."""
    key, body, rooms = _example(agents, event)
    members = [await agents.connect(room) for room in rooms]
    everything = [f"{kind}:{unique('other')}" for kind in ("agent", "task", "conversation")]
    bystander = await agents.connect(*everything)
    await agents.publish(key, body)
    await agents.mark(*members, bystander)
    assert [seen(member) for member in members] == [[(event, [body])]] * len(members)
    assert seen(bystander) == []


@pytest.mark.parametrize("event", _EVENTS)
async def test_the_dashboard_shows_global_events(agents: Agents, event: str) -> None:
    """Who has just connected is in the dashboard, and receives what belongs there, and only that."""
    key, body, _ = _example(agents, event)
    client = await agents.connect(dashboard=True)
    await agents.publish(key, body)
    await agents.mark(client)
    expected = [[body]] if event in _AT_DASHBOARD else []
    assert [args for args in client.received(event) if args == [body]] == expected


async def test_a_client_in_several_rooms_of_an_event_receives_it_once(agents: Agents) -> None:
    """`task:assigned` goes to three rooms; a member of all three sees one."""
    key, body, rooms = _example(agents, "task:assigned")
    client = await agents.connect(*rooms, dashboard=True)
    await agents.publish(key, body)
    await agents.mark(client)
    assert client.received("task:assigned").count([body]) == 1


async def test_an_incomplete_event_is_set_aside(agents: Agents) -> None:
    """A body that lacks what the document shows is set aside, and what follows arrives."""
    client = await agents.connect(f"task:{agents.task}")
    key, body, _ = _example(agents, "task:assigned")
    await agents.publish(key, {name: value for name, value in body.items() if name != "agent_id"})
    await agents.publish(key, {**body, "agent_id": "no id"})
    await agents.publish(key, {**body, "internal": "dropped"})
    await agents.mark(client)
    assert seen(client) == [("task:assigned", [body])]


@pytest.mark.parametrize("result", [None, 0, False, "done", ["a"], {"files": []}], ids=repr)
async def test_a_result_is_whatever_the_task_makes(agents: Agents, result: object) -> None:
    """The document does not say what a result is: any JSON passes."""
    client = await agents.connect(f"task:{agents.task}")
    body = {"task_id": agents.task, "result": result, "timestamp": 1.5}
    await agents.publish(f"task.{agents.task}.completed", body)
    assert await client.wait_for("task:completed") == [[body]]


async def test_an_unsubscribed_room_is_silent(agents: Agents) -> None:
    """After `unsubscribed`, nothing of the room arrives any more."""
    client = await agents.connect(f"task:{agents.task}")
    await client.call("unsubscribe", {"room": f"task:{agents.task}"})
    client.events.clear()
    key, body, _ = _example(agents, "task:updated")
    await agents.publish(key, body)
    await agents.mark(client)
    assert seen(client) == []
