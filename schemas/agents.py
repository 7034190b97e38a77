"""Owns the bodies of the Agents' events and commands: agents, their tasks, conversations, alerts."""

from typing import Annotated

from msgspec import UNSET, Meta

from .common import Command, Event, Id, Maybe, Number, Open

Moment = Annotated[str, Meta(max_length=64)] | Number
"""A point in time as its sender writes it: the document fixes no form."""

# --- Commands ----------------------------------------------------------------------------------


class Subscription(Command):
    """`subscribe` and `unsubscribe`: a room by its whole name, such as `agent:123`."""

    room: Annotated[str, Meta(min_length=1, max_length=256)]


class Heartbeat(Command):
    """`heartbeat`: a client shows that it is there; `heartbeat_ack` brings its timestamp back."""

    timestamp: Maybe[Moment] = UNSET


# --- Agents ------------------------------------------------------------------------------------


class AgentStatusChanged(Event):
    """`agent:status_changed`: an agent went from one status to another."""

    agent_id: Id
    old_status: str
    new_status: str
    timestamp: Moment


class AgentHeartbeat(Event):
    """`agent:heartbeat`: an agent is alive."""

    agent_id: Id
    timestamp: Moment
    metadata: Open


# --- Tasks -------------------------------------------------------------------------------------


class TaskCreated(Event):
    """`task:created`: there is a new task."""

    task_id: Id
    task: Open
    timestamp: Moment


class TaskAssigned(Event):
    """`task:assigned`: an agent got a task."""

    task_id: Id
    agent_id: Id
    task: Open
    timestamp: Moment


class TaskUpdated(Event):
    """`task:updated`: how far a task has come."""

    task_id: Id
    update: Open
    timestamp: Moment


class TaskCompleted(Event):
    """`task:completed`: a task is done; its result is whatever the task makes."""

    task_id: Id
    result: object
    timestamp: Moment


# --- Conversations and alerts ------------------------------------------------------------------


class ConversationMessage(Event):
    """`conversation:message`: somebody said something."""

    conversation_id: Id
    message: Open
    timestamp: Moment


class SystemAlert(Event):
    """`system:alert`: something that everybody at a dashboard should know."""

    message: str
    severity: str
    timestamp: Moment
