"""Every server-to-client event of the portal's document: its required fields and its optional ones."""

from typing import NamedTuple

PROJECT = "apollo"
"""Stands for the project in the keys, namespaces and bodies below."""

_AT = "2026-11-20T10:00:00.000Z"
_LATER = "2026-11-20T10:30:00.000Z"
_FILE = {"name": "log.txt", "size": 1024, "type": "text/plain"}


class Example(NamedTuple):
    """An event as a service publishes it, and as its namespace's clients receive it."""

    key: str
    namespace: str
    required: dict[str, object]
    optional: dict[str, object]

    @property
    def event(self) -> str:
        """The client event's name."""
        return self.key.rpartition(".")[2]

    def bodies(self, project: str) -> list[dict[str, object]]:
        """The whole body, the bare one, and those with one optional field each, for a project."""
        whole = {**self.required, **self.optional}
        single = [{**self.required, name: value} for name, value in self.optional.items()]
        bodies = [whole, self.required, *single]
        return [_of_project(body, project) for body in bodies]


def _of_project(body: dict[str, object], project: str) -> dict[str, object]:
    return {**body, "project_name": project} if "project_name" in body else body


def _project(event: str, required: dict[str, object], **optional: object) -> Example:
    body = {"project_name": PROJECT, **required}
    return Example(f"project.{PROJECT}.{event}", f"/project/{PROJECT}", body, optional)


def _chat(event: str, required: dict[str, object], **optional: object) -> Example:
    return Example(f"chat.{PROJECT}.{event}", f"/chat/{PROJECT}", required, optional)


def _monitoring(event: str, required: dict[str, object], **optional: object) -> Example:
    return Example(f"monitoring.{event}", "/monitoring", required, optional)


def _admin(event: str, required: dict[str, object], **optional: object) -> Example:
    return Example(f"admin.{event}", "/admin", required, optional)


EXAMPLES = [
    _project(
        "state_change",
        {"old_state": "IDLE", "new_state": "SPRINT_ACTIVE", "timestamp": _AT, "triggered_by": "ann"},
        command="/sprint start",
        reason="planned",
    ),
    _project(
        "task_update",
        {"task_id": "t-1", "task_type": "code", "status": "running", "progress": 42.5, "agent_type": "coder"},
        started_at=_AT,
        completed_at=_LATER,
        error="none so far",
        metadata={"attempt": 2, "files": ["a.py", "b.py"], "nested": {"deep": [None, True, 1.5]}},
    ),
    _project(
        "approval_request",
        {
            "request_id": "r-1",
            "task": {"id": "t-1", "title": "Merge größer", "steps": [1, 2]},
            "reason": "ready to merge",
            "created_at": _AT,
            "retry_count": 0,
            "timeout_at": _LATER,
        },
    ),
    _project(
        "approval_resolved",
        {"request_id": "r-1", "approved": False, "resolved_by": "bob", "resolved_at": _AT},
        comment="not yet ✋",
    ),
    _project(
        "sprint_progress",
        {
            "sprint_id": "s-1",
            "total_stories": 12,
            "completed_stories": 7,
            "failed_stories": 1,
            "in_progress_stories": 4,
            "estimated_completion": _LATER,
            "velocity": 3.25,
        },
    ),
    _project(
        "backlog_updated",
        {"change_type": "reordered", "story_id": "story-1"},
        story={"id": "story-1", "title": "As a user"},
        old_position=3,
        new_position=0,
    ),
    _chat(
        "message_received",
        {
            "message_id": "m-1",
            "project_name": PROJECT,
            "user_id": "ann",
            "content": "Hello <b>there</b>\n\u2028 👋",
            "type": "response",
            "timestamp": _AT,
        },
        thread_id="thread-1",
        attachments=[_FILE, {**_FILE, "url": "https://files.example/log"}],
        reactions=[{"emoji": "👍", "users": ["bob"]}],
    ),
    _chat(
        "command_result",
        {
            "message_id": "m-1",
            "command": "/sprint start",
            "success": True,
            "execution_time": 0.25,
            "timestamp": _AT,
        },
        result={"sprint": "s-1", "stories": [1, 2, 3]},
        error="",
        embed_data={"title": "Sprint", "fields": [{"name": "stories", "value": "3"}]},
    ),
    _chat("typing_start", {"user_id": "ann", "project_name": PROJECT, "timestamp": _AT}),
    _chat("typing_stop", {"user_id": "ann", "project_name": PROJECT, "timestamp": _AT}),
    _chat(
        "thread_created",
        {
            "thread_id": "thread-1",
            "parent_message_id": "m-1",
            "project_name": PROJECT,
            "created_by": "ann",
            "timestamp": _AT,
        },
    ),
    _chat(
        "thread_updated",
        {
            "thread_id": "thread-1",
            "message_count": 3,
            "last_message_at": _AT,
            "participants": ["ann", "bob"],
        },
    ),
    _monitoring(
        "agent_activity",
        {
            "agent_type": "coder",
            "project_name": PROJECT,
            "action": "write_test",
            "status": "started",
            "timestamp": _AT,
        },
        task_id="t-1",
        story_id="story-1",
        duration=12.5,
        metrics={"tokens": 1200, "files": 3},
        error="",
    ),
    _monitoring(
        "system_metrics",
        {
            "timestamp": _AT,
            "cpu_usage": 12.5,
            "memory_usage": 61,
            "disk_usage": 40.1,
            "network_io": {"bytes_sent": 123456789012, "bytes_received": 42},
            "active_connections": 17,
            "active_projects": 3,
            "active_tasks": 5,
            "error_rate": 0.01,
            "uptime": 86400,
        },
    ),
    _monitoring(
        "tdd_cycle_started",
        {
            "project_name": PROJECT,
            "cycle_id": "c-1",
            "story_id": "story-1",
            "started_by": "coder",
            "estimated_duration": 600,
            "timestamp": _AT,
        },
    ),
    _monitoring(
        "tdd_state_change",
        {
            "project_name": PROJECT,
            "cycle_id": "c-1",
            "old_state": "WRITE_TEST",
            "new_state": "TEST_RED",
            "timestamp": _AT,
        },
        phase_duration=30.5,
        test_results=[{"name": "test_a", "passed": False}],
        code_metrics={"coverage": 0.81},
    ),
    _monitoring(
        "test_output",
        {
            "project_name": PROJECT,
            "cycle_id": "c-1",
            "output_type": "stdout",
            "content": "1 passed\n",
            "timestamp": _AT,
            "sequence_number": 7,
        },
    ),
    _admin(
        "config_changed",
        {
            "config_type": "security",
            "changed_by": "root",
            "changes": {"mfa": {"from": False, "to": True}},
            "timestamp": _AT,
        },
        reason="policy",
    ),
    _admin(
        "user_action",
        {"user_id": "ann", "action": "login", "resource": "portal", "timestamp": _AT, "success": True},
        ip_address="192.0.2.1",
        user_agent="Mozilla/5.0",
        error="",
    ),
]
