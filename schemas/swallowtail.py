"""Owns the bodies of Swallowtail's events and commands: the tasks of an instance, and their steps."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta

from .common import Command, Event, Id, KeyWord, Maybe, Open, Timestamp

Percent = Annotated[int, Meta(ge=0, le=100)] | Annotated[float, Meta(ge=0, le=100)]
"""How much of a whole, from 0 to 100."""


class InstanceSubscription(Command):
    """`subscribe_instance` and `unsubscribe_instance`: the instance whose tasks to follow."""

    instance_id: KeyWord


class TaskData(Event):
    """How far a task has come."""

    progress: Percent
    message: str
    timestamp: Timestamp
    status: Maybe[str] = UNSET
    """Where the task stands, such as SUBMITTED, QUEUED, IN_PROGRESS or COMPLETED."""


class TaskUpdate(Event):
    """`task_update`: a task of the instance went on."""

    instance_id: Id
    task_id: Id
    type: Literal["task_update"]
    data: TaskData


class StepData(Event):
    """A step that an agent has completed, and what came out of it."""

    step_id: Id
    agent: str
    action: str
    status: str
    output: Open
    started_at: Timestamp
    completed_at: Timestamp


class ExecutionStep(Event):
    """`execution_step`: a task got a new step."""

    instance_id: Id
    task_id: Id
    type: Literal["execution_step"]
    data: StepData
