"""Presence in projects: `join_project`, `joined_project`, `user_joined`, `user_left`, `leave_project`."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.daemon import unique
from tests.support.js_client import JsClient, JsClients
from tests.support.portal import Portal, names


async def _join(portal: Portal, namespace: str = "/portal", **claims: object) -> JsClient:
    client = await portal.connect(namespace, **claims)
    await client.emit("join_project", {"project_name": portal.project})
    await client.wait_for("joined_project")
    return client


def _body(args: list[object]) -> dict[str, object]:
    (body,) = args
    assert isinstance(body, dict)
    return body


def _is_now(text: object) -> bool:
    assert isinstance(text, str)
    return abs(datetime.fromisoformat(text) - datetime.now(UTC)) < timedelta(seconds=20)


async def test_joining_is_answered_with_the_state_of_the_project(portal: Portal) -> None:
    """Before any event `current_state` and `last_activity` are null; the joiner itself is an active user."""
    client = await _join(portal)
    assert client.received("joined_project") == [
        [{"project_name": portal.project, "current_state": None, "active_users": 1, "last_activity": None}]
    ]


@pytest.mark.parametrize("state", ["SPRINT_ACTIVE", {"name": "SPRINT_ACTIVE", "step": 3}], ids=str)
async def test_current_state_is_that_of_the_last_state_change(portal: Portal, state: object) -> None:
    """`current_state` is the `new_state` of the last `state_change`, a text or an object as it came."""
    watcher = await portal.project_client(user=unique("bob"))
    await portal.tell(watcher, "an earlier one")
    await portal.tell(watcher, state)
    client = await _join(portal)
    joined = _body(client.received("joined_project")[0])
    assert joined["current_state"] == state
    assert _is_now(joined["last_activity"])


async def test_last_activity_is_the_time_of_the_last_event(portal: Portal) -> None:
    """Any event of the project counts, by the time that its service gave it."""
    at = datetime(2026, 11, 20, 9, 30, 15, tzinfo=UTC)
    watcher = await portal.project_client(user=unique("bob"))
    await portal.tell(watcher)
    task: dict[str, object] = {"task_id": "t-1", "task_type": "code", "status": "running", "progress": 1}
    await portal.services.publish(
        f"project.{portal.project}.task_update",
        {"project_name": portal.project, "agent_type": "coder", **task},
        timestamp=at,
    )
    await watcher.wait_for("task_update")
    joined = _body((await _join(portal)).received("joined_project")[0])
    assert isinstance(joined["last_activity"], str)
    assert datetime.fromisoformat(joined["last_activity"]) == at
    assert joined["current_state"] == "mark"


async def test_active_users_are_distinct_users_of_all_namespaces(portal: Portal) -> None:
    """A user with two windows counts once; `/portal` and `/project/{name}` count together."""
    bob, eve = unique("bob"), unique("eve")
    await _join(portal, user=bob)
    await _join(portal, f"/project/{portal.project}", user=bob)
    await _join(portal, f"/project/{portal.project}", user=eve)
    client = await _join(portal)
    assert _body(client.received("joined_project")[0])["active_users"] == 3


async def test_being_in_the_namespace_is_not_yet_joining(portal: Portal) -> None:
    """`/project/{name}` shows events at once, but only `join_project` makes its user an active one."""
    await portal.project_client(user=unique("bob"))
    client = await _join(portal)
    assert _body(client.received("joined_project")[0])["active_users"] == 1


@pytest.mark.parametrize("namespace", ["/portal", "/project/{project}"])
async def test_the_others_hear_who_joins_and_leaves(portal: Portal, namespace: str) -> None:
    """`user_joined`/`user_left {user_id, project_name, timestamp}` reach the others in both namespaces."""
    others = [
        await _join(portal, user=unique("bob")),
        await _join(portal, f"/project/{portal.project}", user=unique("eve")),
    ]
    client = await _join(portal, namespace.format(project=portal.project))
    await client.emit("leave_project", {"project_name": portal.project})
    for other in others:
        await other.wait_for("user_left")
        told = [
            (name, _body(args)) for name, args in other.events if _body(args).get("user_id") == portal.user
        ]
        assert [name for name, _ in told] == ["user_joined", "user_left"]
        for _, body in told:
            assert sorted(body) == ["project_name", "timestamp", "user_id"]
            assert body["project_name"] == portal.project
            assert _is_now(body["timestamp"])
    assert names(client) == ["joined_project"]


async def test_the_user_is_the_tokens_whatever_the_client_says(portal: Portal) -> None:
    """The optional `user_id` of `join_project` changes nothing."""
    other = await _join(portal, user=unique("bob"))
    client = await portal.connect("/portal")
    await client.emit("join_project", {"project_name": portal.project, "user_id": "root"})
    told = _body((await other.wait_for("user_joined"))[0])
    assert told["user_id"] == portal.user


async def test_a_users_second_window_is_no_news(portal: Portal) -> None:
    """Only a user's first client joins and only the last one leaves, as far as the others are told."""
    other = await _join(portal, user=unique("bob"))
    first = await _join(portal)
    second = await _join(portal, f"/project/{portal.project}")
    await first.emit("leave_project", {"project_name": portal.project})
    await first.emit("join_project", {"project_name": portal.project})
    await first.wait_for("joined_project", 2)
    await first.emit("leave_project", {"project_name": portal.project})
    await second.disconnect()
    await other.wait_for("user_left")
    assert names(other) == ["joined_project", "user_joined", "user_left"]


async def test_joining_twice_is_joining_once(portal: Portal) -> None:
    """A second `join_project` is answered like the first and tells nobody anything."""
    other = await _join(portal, user=unique("bob"))
    client = await _join(portal)
    await client.emit("join_project", {"project_name": portal.project})
    joined = await client.wait_for("joined_project", 2)
    assert [_body(args)["active_users"] for args in joined] == [2, 2]
    await client.emit("leave_project", {"project_name": portal.project})
    await other.wait_for("user_left")
    assert names(other) == ["joined_project", "user_joined", "user_left"]


async def test_leaving_the_namespace_leaves_the_project_at_once(portal: Portal) -> None:
    """`socket.disconnect()` is told to the others without waiting."""
    other = await _join(portal, user=unique("bob"))
    client = await _join(portal)
    await client.disconnect()
    told = _body((await other.wait_for("user_left", timeout=2))[0])
    assert told["user_id"] == portal.user


async def test_a_client_that_just_drops_has_left(quick: Portal) -> None:
    """A lost connection that does not come back is told too, after a moment (1 s here, 5 s as shipped)."""
    other = await _join(quick, user=unique("bob"))
    client = await quick.connect("/portal", options={"reconnection": False})
    await client.emit("join_project", {"project_name": quick.project})
    await client.wait_for("joined_project")
    await client.kill()
    told = _body((await other.wait_for("user_left"))[0])
    assert told["user_id"] == quick.user


async def test_a_polling_client_that_just_drops_has_left(quick: Portal) -> None:
    """A poll that breaks off is a lost connection, not one that is missed a minute later."""
    other = await _join(quick, user=unique("bob"))
    async with JsClients() as elsewhere:
        client = await elsewhere.connect(
            f"{quick.daemon.url}/portal", transports=["polling"], auth={"token": quick.token()}
        )
        await client.emit("join_project", {"project_name": quick.project})
        await client.wait_for("joined_project")
        await client.session()  # an answer of its process: by then it polls again
    await other.wait_for("user_left", timeout=5)
    assert names(other) == ["joined_project", "user_joined", "user_left"]


async def test_a_client_that_comes_back_soon_was_never_gone(quick: Portal) -> None:
    """A short break of the connection is not told to the others."""
    other = await _join(quick, user=unique("bob"))
    client = await quick.connect("/portal", options={"reconnectionDelay": 100, "reconnectionDelayMax": 100})
    await client.emit("join_project", {"project_name": quick.project})
    await client.wait_for("joined_project")
    await client.kill()
    await client.wait_connected(2)
    await client.emit("join_project", {"project_name": quick.project})
    joined = await client.wait_for("joined_project", 2)
    assert _body(joined[1])["active_users"] == 2
    await client.disconnect()
    await other.wait_for("user_left", timeout=8)
    assert names(other) == ["joined_project", "user_joined", "user_left"]


async def test_members_see_state_changes_until_they_leave(portal: Portal) -> None:
    """In `/portal` joining brings the project's `state_change`, and nothing else of it; leaving ends it."""
    client = await _join(portal)
    watcher = await portal.project_client(user=unique("bob"))
    for example in ("sprint_progress", "backlog_updated"):
        await portal.publish(example, _BODIES[example] | {"project_name": portal.project})
    await portal.tell(watcher, "one")
    await client.wait_for("state_change")
    await client.emit("leave_project", {"project_name": portal.project})
    await client.emit("join_project", {"project_name": "not allowed"})
    await client.until(lambda: bool(client.received("validation_error") or client.received("error")))
    await portal.tell(watcher, "two")
    assert client.received("state_change") == [[portal.state_change("one")]]
    assert not client.received("sprint_progress")


async def test_a_foreign_project_cannot_be_joined(portal: Portal) -> None:
    """Joining needs the project in `projects`: else FORBIDDEN, and nothing of it is seen or told."""
    foreign = unique("gemini")
    owner = await portal.connect("/portal", user=unique("bob"), projects=[foreign])
    await owner.emit("join_project", {"project_name": foreign})
    await owner.wait_for("joined_project")
    client = await portal.connect("/portal")
    await client.emit("join_project", {"project_name": foreign})
    error = _body((await client.wait_for("error"))[0])
    assert (error["code"], error["type"]) == ("FORBIDDEN", "authentication")
    await portal.services.publish(f"project.{foreign}.state_change", portal.state_change())
    await owner.wait_for("state_change")
    assert names(owner) == ["joined_project", "state_change"]
    assert names(client) == ["error"]


async def test_leaving_a_project_that_was_not_joined_is_no_error(portal: Portal) -> None:
    """`leave_project` may be sent at any time, as the document's hook does on its way out."""
    client = await portal.connect("/portal")
    assert await client.call("leave_project", {"project_name": portal.project}) == {"status": "ok"}
    assert not client.events


_BODIES: dict[str, dict[str, object]] = {
    "sprint_progress": {
        "sprint_id": "s-1",
        "total_stories": 1,
        "completed_stories": 0,
        "failed_stories": 0,
        "in_progress_stories": 1,
        "estimated_completion": "2026-11-20T10:00:00Z",
        "velocity": 1,
    },
    "backlog_updated": {"change_type": "added", "story_id": "story-1"},
}
