"""Owns the bodies of the SWE Agent's events and commands: projects, agents, workflows, reviews, issues, AI.

Every event is an envelope `{type, timestamp, source, data}`; its `type` is the client event's name.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta

from .common import Command, Event, Id, Maybe, Number, Open, Timestamp

Url = Annotated[
    str,
    Meta(
        max_length=2048,
        pattern=r"\A(?:(?:https?|ssh|git)://|[A-Za-z0-9._-]{1,64}@[A-Za-z0-9.-]{1,255}:)[^\s\x00-\x1f\x7f-\x9f]+\Z",
        description="the address of a page or a repository",
    ),
]
"""An address that a browser may show as a link: `https://...`, `git@host:path`; never `javascript:`."""

Percent = Annotated[int, Meta(ge=0, le=100)] | Annotated[float, Meta(ge=0, le=100)]
"""How much of a whole, from 0 to 100."""

AgentStatus = Literal["online", "offline", "busy", "idle", "error"]
WorkflowStatus = Literal["pending", "running", "completed", "failed", "cancelled"]
IssueStatus = Literal["open", "in_progress", "closed", "blocked"]
IssuePriority = Literal["low", "medium", "high", "critical"]
TargetType = Literal["issue", "pr", "code"]
Category = Literal["optimization", "refactor", "bug_fix", "security", "performance", "maintainability"]
Severity = Literal["info", "warning", "critical"]


class Envelope(Event):
    """What every event has around its `type` and its `data`."""

    timestamp: Timestamp
    source: str
    """The service that speaks."""


# --- Commands ----------------------------------------------------------------------------------


class Subscription(Command):
    """`subscribe` and `unsubscribe`: a room by its whole name, such as `project:550e8400`."""

    room: Annotated[str, Meta(min_length=1, max_length=256)]


# --- Projects ----------------------------------------------------------------------------------


class ProjectChange(Event):
    """What a project is after somebody changed it."""

    project_id: Id
    project_name: str
    repository_url: Url
    status: str
    updated_by: Id
    changes: dict[str, object]


class ProjectUpdated(Envelope):
    """`project.updated`: somebody changed a project."""

    type: Literal["project.updated"]
    data: ProjectChange


class ProjectDeletion(Event):
    """Which project is gone."""

    project_id: Id
    deleted_by: Id


class ProjectDeleted(Envelope):
    """`project.deleted`: somebody deleted a project."""

    type: Literal["project.deleted"]
    data: ProjectDeletion


# --- Agents ------------------------------------------------------------------------------------


class AgentState(Event):
    """How an agent is."""

    agent_id: Id
    agent_name: str
    status: AgentStatus
    availability: Number
    metadata: Open


class AgentStatusChanged(Envelope):
    """`agent.status_changed`: an agent is in another state."""

    type: Literal["agent.status_changed"]
    data: AgentState


class AgentPresence(Event):
    """Which agent came or went, and as much of its state as is known."""

    agent_id: Id
    agent_name: Maybe[str] = UNSET
    status: Maybe[AgentStatus] = UNSET
    availability: Maybe[Number] = UNSET
    metadata: Maybe[Open] = UNSET


class AgentConnected(Envelope):
    """`agent.connected`: an agent connected to the system."""

    type: Literal["agent.connected"]
    data: AgentPresence


class AgentDisconnected(Envelope):
    """`agent.disconnected`: an agent left the system."""

    type: Literal["agent.disconnected"]
    data: AgentPresence


# --- Workflows ---------------------------------------------------------------------------------


class WorkflowState(Event):
    """How far a workflow has come."""

    workflow_id: Id
    status: WorkflowStatus
    progress: Percent
    current_step: str
    total_steps: Annotated[int, Meta(ge=0)]
    estimated_time_remaining: Number
    """Seconds."""
    logs: list[str]
    errors: list[Open]
    project_id: Maybe[Id] = UNSET


class WorkflowProgress(Envelope):
    """`workflow.progress`: a workflow went on."""

    type: Literal["workflow.progress"]
    data: WorkflowState


class WorkflowMilestone(Event):
    """Which workflow began or ended, and as much of its state as is known."""

    workflow_id: Id
    status: Maybe[WorkflowStatus] = UNSET
    progress: Maybe[Percent] = UNSET
    current_step: Maybe[str] = UNSET
    total_steps: Maybe[Annotated[int, Meta(ge=0)]] = UNSET
    estimated_time_remaining: Maybe[Number] = UNSET
    logs: Maybe[list[str]] = UNSET
    errors: Maybe[list[Open]] = UNSET
    project_id: Maybe[Id] = UNSET


class WorkflowStarted(Envelope):
    """`workflow.started`: a workflow began."""

    type: Literal["workflow.started"]
    data: WorkflowMilestone


class WorkflowCompleted(Envelope):
    """`workflow.completed`: a workflow ended well."""

    type: Literal["workflow.completed"]
    data: WorkflowMilestone


class WorkflowFailed(Envelope):
    """`workflow.failed`: a workflow failed."""

    type: Literal["workflow.failed"]
    data: WorkflowMilestone


# --- Pull requests -----------------------------------------------------------------------------


class PullRequest(Event):
    """A new pull request."""

    pr_id: Id
    project_id: Id
    title: str
    description: str
    author: str
    branch: str
    github_url: Url
    status: str
    created_at: Timestamp
    updated_at: Maybe[Timestamp] = UNSET


class PrCreated(Envelope):
    """`pr.created`: somebody opened a pull request."""

    type: Literal["pr.created"]
    data: PullRequest


class PullRequestChange(Event):
    """What a pull request is after it changed."""

    pr_id: Id
    project_id: Id
    title: str
    status: str
    description: Maybe[str] = UNSET
    author: Maybe[str] = UNSET
    branch: Maybe[str] = UNSET
    github_url: Maybe[Url] = UNSET
    created_at: Maybe[Timestamp] = UNSET
    updated_at: Maybe[Timestamp] = UNSET


class PrUpdated(Envelope):
    """`pr.updated`: a pull request changed, or was merged."""

    type: Literal["pr.updated"]
    data: PullRequestChange


class PullRequestEnd(Event):
    """Which pull request is closed, and as much of it as is known."""

    pr_id: Id
    project_id: Id
    title: Maybe[str] = UNSET
    status: Maybe[str] = UNSET
    description: Maybe[str] = UNSET
    author: Maybe[str] = UNSET
    branch: Maybe[str] = UNSET
    github_url: Maybe[Url] = UNSET
    created_at: Maybe[Timestamp] = UNSET
    updated_at: Maybe[Timestamp] = UNSET


class PrClosed(Envelope):
    """`pr.closed`: a pull request was closed."""

    type: Literal["pr.closed"]
    data: PullRequestEnd


# --- Issues ------------------------------------------------------------------------------------


class IssueChange(Event):
    """What an issue is after it changed."""

    issue_id: Id
    project_id: Id
    title: str
    description: str
    status: IssueStatus
    priority: IssuePriority
    updated_at: Timestamp
    assigned_to: Maybe[Id] = UNSET
    """Nobody, where it is absent or null."""
    created_at: Maybe[Timestamp] = UNSET


class IssueUpdated(Envelope):
    """`issue.updated`: an issue changed."""

    type: Literal["issue.updated"]
    data: IssueChange


class IssueMilestone(Event):
    """Which issue came or was closed, and as much of it as is known."""

    issue_id: Id
    project_id: Id
    title: Maybe[str] = UNSET
    description: Maybe[str] = UNSET
    status: Maybe[IssueStatus] = UNSET
    priority: Maybe[IssuePriority] = UNSET
    updated_at: Maybe[Timestamp] = UNSET
    assigned_to: Maybe[Id] = UNSET
    created_at: Maybe[Timestamp] = UNSET


class IssueCreated(Envelope):
    """`issue.created`: somebody opened an issue."""

    type: Literal["issue.created"]
    data: IssueMilestone


class IssueClosed(Envelope):
    """`issue.closed`: an issue was closed."""

    type: Literal["issue.closed"]
    data: IssueMilestone


# --- AI ----------------------------------------------------------------------------------------


class Suggestion(Event):
    """What the AI suggests, and for what."""

    suggestion_id: Id
    target_type: TargetType
    target_id: Id
    category: Category
    title: str
    description: str
    severity: Severity
    confidence: Number
    suggested_action: str
    metadata: Open
    project_id: Maybe[Id] = UNSET


class AiSuggestion(Envelope):
    """`ai.suggestion`: a recommendation of the AI."""

    type: Literal["ai.suggestion"]
    data: Suggestion


class Analysis(Event):
    """What the AI has looked at, and as much of its findings as is known."""

    suggestion_id: Id
    target_type: Maybe[TargetType] = UNSET
    target_id: Maybe[Id] = UNSET
    category: Maybe[Category] = UNSET
    title: Maybe[str] = UNSET
    description: Maybe[str] = UNSET
    severity: Maybe[Severity] = UNSET
    confidence: Maybe[Number] = UNSET
    suggested_action: Maybe[str] = UNSET
    metadata: Maybe[Open] = UNSET
    project_id: Maybe[Id] = UNSET


class AiAnalysisComplete(Envelope):
    """`ai.analysis_complete`: the AI is done with an analysis."""

    type: Literal["ai.analysis_complete"]
    data: Analysis
