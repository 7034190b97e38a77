"""Owns the bodies of the portal's events and commands: a web portal beside its orchestrator."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta

from .common import Command, Event, Id, KeyWord, Maybe, Number, Open, Timestamp, Uuid

# --- /portal: commands -------------------------------------------------------------------------


class JoinProject(Command):
    """`join_project`: enter a project's room. The user is the token's, whatever `user_id` says."""

    project_name: KeyWord
    user_id: Maybe[str] = UNSET


class LeaveProject(Command):
    """`leave_project`: leave a project's room."""

    project_name: KeyWord


class SubscribeToEvents(Command):
    """`subscribe_to_events`: ask for events of one project, or of all of the token's projects."""

    events: Annotated[list[KeyWord], Meta(min_length=1, max_length=32)]
    project_name: Maybe[KeyWord] = UNSET


# --- /project/{project} ------------------------------------------------------------------------


class StateChange(Event):
    """`state_change`: the project's workflow went from one state to another."""

    project_name: Id
    old_state: Open
    new_state: Open
    timestamp: Timestamp
    triggered_by: str
    command: Maybe[str] = UNSET
    reason: Maybe[str] = UNSET


class TaskUpdate(Event):
    """`task_update`: how far a task has come."""

    project_name: Id
    task_id: Id
    task_type: str
    status: Open
    progress: Number
    agent_type: str
    started_at: Maybe[Timestamp] = UNSET
    completed_at: Maybe[Timestamp] = UNSET
    error: Maybe[str] = UNSET
    metadata: Maybe[Open] = UNSET


class ApprovalRequest(Event):
    """`approval_request`: a task waits for somebody's decision."""

    project_name: Id
    request_id: Id
    task: Open
    reason: str
    created_at: Timestamp
    retry_count: Number
    timeout_at: Timestamp


class ApprovalResolved(Event):
    """`approval_resolved`: somebody decided."""

    project_name: Id
    request_id: Id
    approved: bool
    resolved_by: str
    resolved_at: Timestamp
    comment: Maybe[str] = UNSET


class SprintProgress(Event):
    """`sprint_progress`: how far a sprint has come, in stories."""

    project_name: Id
    sprint_id: Id
    total_stories: Number
    completed_stories: Number
    failed_stories: Number
    in_progress_stories: Number
    estimated_completion: Timestamp
    velocity: Number


class BacklogUpdated(Event):
    """`backlog_updated`: a story came, went, changed or moved."""

    project_name: Id
    change_type: Literal["added", "removed", "updated", "reordered"]
    story_id: Id
    story: Maybe[Open] = UNSET
    old_position: Maybe[Number] = UNSET
    new_position: Maybe[Number] = UNSET


class ResolveApproval(Command):
    """`resolve_approval`: the answer to an `approval_request`."""

    request_id: Id
    approved: bool
    comment: Maybe[str] = UNSET


# --- /chat/{project} ---------------------------------------------------------------------------


class FileAttachment(Command):
    """A file that goes with a message, as its sender declares it."""

    name: Annotated[str, Meta(min_length=1)]
    size: Annotated[int, Meta(ge=0, le=10_485_760)] | Annotated[float, Meta(ge=0, le=10_485_760)]
    """Bytes, 10 MiB at most."""
    type: Annotated[str, Meta(min_length=1)]


class SendMessage(Command):
    """`send_message`: a message or command for the project's chat."""

    content: Annotated[str, Meta(min_length=1, max_length=2000)]
    type: Literal["command", "message", "thread_reply"]
    thread_id: Maybe[Uuid] = UNSET
    attachments: Maybe[Annotated[list[FileAttachment], Meta(max_length=5)]] = UNSET


class MessageReceived(Event):
    """`message_received`: a message in the chat."""

    message_id: Id
    project_name: Id
    user_id: Id
    content: str
    type: Literal["command", "response", "system", "thread"]
    timestamp: Timestamp
    thread_id: Maybe[Id] = UNSET
    attachments: Maybe[list[Open]] = UNSET
    reactions: Maybe[list[Open]] = UNSET


class CommandResult(Event):
    """`command_result`: what became of a command that was sent as a message."""

    message_id: Id
    command: str
    success: bool
    execution_time: Number
    timestamp: Timestamp
    result: object = UNSET
    error: Maybe[str] = UNSET
    embed_data: Maybe[Open] = UNSET


class Typing(Event):
    """`typing_start` and `typing_stop`: somebody writes, or stopped."""

    user_id: Id
    project_name: Id
    timestamp: Timestamp


class ThreadCreated(Event):
    """`thread_created`: a message became the root of a thread."""

    thread_id: Id
    parent_message_id: Id
    project_name: Id
    created_by: str
    timestamp: Timestamp


class ThreadUpdated(Event):
    """`thread_updated`: a thread grew."""

    thread_id: Id
    message_count: Number
    last_message_at: Timestamp
    participants: list[str]


# --- /monitoring -------------------------------------------------------------------------------


class AgentActivity(Event):
    """`agent_activity`: what an agent does for a project."""

    agent_type: str
    project_name: Id
    action: str
    status: Literal["started", "completed", "failed", "paused"]
    timestamp: Timestamp
    task_id: Maybe[Id] = UNSET
    story_id: Maybe[Id] = UNSET
    duration: Maybe[Number] = UNSET
    metrics: Maybe[Open] = UNSET
    error: Maybe[str] = UNSET


class NetworkIo(Event):
    """Traffic of a machine, in bytes."""

    bytes_sent: Number
    bytes_received: Number


class SystemMetrics(Event):
    """`system_metrics`: the load of the system."""

    timestamp: Timestamp
    cpu_usage: Number
    memory_usage: Number
    disk_usage: Number
    network_io: NetworkIo
    active_connections: Number
    active_projects: Number
    active_tasks: Number
    error_rate: Number
    uptime: Number


class TddCycleStarted(Event):
    """`tdd_cycle_started`: work on a story began with its test."""

    project_name: Id
    cycle_id: Id
    story_id: Id
    started_by: str
    estimated_duration: Number
    timestamp: Timestamp


class TddStateChange(Event):
    """`tdd_state_change`: a cycle went from one state to another."""

    project_name: Id
    cycle_id: Id
    old_state: Open
    new_state: Open
    timestamp: Timestamp
    phase_duration: Maybe[Number] = UNSET
    test_results: Maybe[list[Open]] = UNSET
    code_metrics: Maybe[Open] = UNSET


class TestOutput(Event):
    """`test_output`: a piece of what a test run prints."""

    project_name: Id
    cycle_id: Id
    output_type: Literal["stdout", "stderr", "test_result"]
    content: str
    timestamp: Timestamp
    sequence_number: Number


# --- /admin ------------------------------------------------------------------------------------


class ConfigChanged(Event):
    """`config_changed`: somebody changed a setting."""

    config_type: Literal["agent", "system", "security", "user"]
    changed_by: str
    changes: dict[str, object]
    timestamp: Timestamp
    reason: Maybe[str] = UNSET


class UserAction(Event):
    """`user_action`: what a user did, for the audit."""

    user_id: Id
    action: str
    resource: str
    timestamp: Timestamp
    success: bool
    ip_address: Maybe[str] = UNSET
    user_agent: Maybe[str] = UNSET
    error: Maybe[str] = UNSET
