"""Every server event of the SWE Agent's document, as it stands there, and its siblings, which it names."""

from typing import NamedTuple

PROJECT = "550e8400-e29b-41d4-a716-446655440000"
USER = "660e8400-e29b-41d4-a716-446655440001"
AGENT = "770e8400-e29b-41d4-a716-446655440002"
WORKFLOW = "880e8400-e29b-41d4-a716-446655440003"
PR = "990e8400-e29b-41d4-a716-446655440004"
ISSUE = "aa0e8400-e29b-41d4-a716-446655440005"
SUGGESTION = "bb0e8400-e29b-41d4-a716-446655440006"

Body = dict[str, object]


class Example(NamedTuple):
    """An event as a service publishes it, and the rooms whose members receive it."""

    key: str
    body: Body
    rooms: tuple[str, ...]

    @property
    def event(self) -> str:
        """The client event's name: the envelope's `type`."""
        return str(self.body["type"])

    @property
    def data(self) -> Body:
        """The envelope's data."""
        data = self.body["data"]
        assert isinstance(data, dict)
        return data

    def with_data(self, **fields: object) -> Body:
        """The envelope with other data."""
        return {**self.body, "data": {**self.data, **fields}}

    def without(self, *names: str) -> Body:
        """The envelope without some of the data's fields."""
        return {**self.body, "data": {name: value for name, value in self.data.items() if name not in names}}


def _example(key: str, type_: str, source: str, *rooms: str, **data: object) -> Example:
    body: Body = {"type": type_, "timestamp": "2024-11-08T10:30:00Z", "source": source, "data": data}
    return Example(key, body, rooms)


DOCUMENTED = [
    _example(
        f"project.{PROJECT}.updated",
        "project.updated",
        "project_service",
        f"project:{PROJECT}",
        f"user:{USER}",
        project_id=PROJECT,
        project_name="AI Agent Framework",
        repository_url="https://github.com/user/ai-agent-framework",
        status="active",
        updated_by=USER,
        changes={"status": "updated", "fields": ["status", "description"]},
    ),
    _example(
        f"project.{PROJECT}.deleted",
        "project.deleted",
        "project_service",
        f"project:{PROJECT}",
        f"user:{USER}",
        project_id=PROJECT,
        deleted_by=USER,
    ),
    _example(
        f"agent.{AGENT}.status_changed",
        "agent.status_changed",
        "agent_service",
        f"agent:{AGENT}",
        "global",
        agent_id=AGENT,
        agent_name="GPT-4 Code Analyst",
        status="online",
        availability=85,
        metadata={
            "version": "1.0",
            "last_update": "2024-11-08T10:25:00Z",
            "cpu_usage": 45.2,
            "memory_usage": 62.1,
        },
    ),
    _example(
        f"workflow.{WORKFLOW}.progress",
        "workflow.progress",
        "workflow_service",
        "global",
        workflow_id=WORKFLOW,
        status="running",
        progress=45,
        current_step="Analyzing code structure",
        total_steps=10,
        estimated_time_remaining=120,
        logs=["Starting workflow execution", "Cloning repository", "Analyzing code structure"],
        errors=[],
    ),
    _example(
        f"pr.{PR}.created",
        "pr.created",
        "github_service",
        f"project:{PROJECT}",
        pr_id=PR,
        project_id=PROJECT,
        title="Fix: Improve error handling in API routes",
        description="This PR improves error handling across API routes...",
        author="john-doe",
        branch="feature/improve-error-handling",
        github_url="https://github.com/user/project/pull/42",
        status="open",
        created_at="2024-11-08T10:30:00Z",
    ),
    _example(
        f"pr.{PR}.updated",
        "pr.updated",
        "github_service",
        f"project:{PROJECT}",
        pr_id=PR,
        project_id=PROJECT,
        title="Fix: Improve error handling in API routes",
        status="merged",
    ),
    _example(
        f"issue.{ISSUE}.updated",
        "issue.updated",
        "github_service",
        f"project:{PROJECT}",
        f"user:{USER}",
        issue_id=ISSUE,
        project_id=PROJECT,
        title="Support for async/await syntax",
        description="Add support for async/await syntax in code analysis",
        status="in_progress",
        priority="high",
        assigned_to=USER,
        updated_at="2024-11-08T10:30:00Z",
    ),
    _example(
        "ai.suggestion",
        "ai.suggestion",
        "ai_dock_service",
        "global",
        suggestion_id=SUGGESTION,
        target_type="pr",
        target_id=PR,
        category="optimization",
        title="Reduce complexity in error handling",
        description="This function has a cyclomatic complexity of 12. "
        "Consider breaking it into smaller functions.",
        severity="warning",
        confidence=0.92,
        suggested_action="Refactor function into smaller utilities",
        metadata={
            "function_name": "handle_request",
            "line_number": 125,
            "complexity_score": 12,
            "recommended_complexity": 8,
        },
    ),
]
"""The document's own examples, word for word."""

_BY_EVENT = {example.event: example for example in DOCUMENTED}


def _sibling(event: str, of: str) -> Example:
    """An event that the document names without an example: it may carry all that its sibling carries."""
    example = _BY_EVENT[of]
    family, *id_, _ = example.key.split(".")
    key = ".".join([family, *id_, event.partition(".")[2]])
    return Example(key, {**example.body, "type": event}, example.rooms)


SIBLINGS = [
    _sibling("agent.connected", "agent.status_changed"),
    _sibling("agent.disconnected", "agent.status_changed"),
    _sibling("workflow.started", "workflow.progress"),
    _sibling("workflow.completed", "workflow.progress"),
    _sibling("workflow.failed", "workflow.progress"),
    _sibling("pr.closed", "pr.created"),
    _sibling("issue.created", "issue.updated"),
    _sibling("issue.closed", "issue.updated"),
    _sibling("ai.analysis_complete", "ai.suggestion"),
]
"""The others, with all fields of their family."""

IDS = {
    "agent": ("agent_id",),
    "workflow": ("workflow_id",),
    "pr": ("pr_id", "project_id"),
    "issue": ("issue_id", "project_id"),
    "ai": ("suggestion_id",),
}
"""What a sibling must carry at least."""


def bare(example: Example) -> Body:
    """A sibling's envelope with nothing but the ids of its family."""
    kept = IDS[example.event.partition(".")[0]]
    return example.without(*(name for name in example.data if name not in kept))


ALL = [*DOCUMENTED, *SIBLINGS]


def of_project(body: Body, project: str, user: str) -> Body:
    """The body with a test's own project and user instead of the document's."""
    own = {PROJECT: project, USER: user}
    data = body["data"]
    assert isinstance(data, dict)
    replaced = {
        name: own.get(value, value) if isinstance(value, str) else value for name, value in data.items()
    }
    return {**body, "data": replaced}
