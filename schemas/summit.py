"""Owns the bodies of Summit's events and commands: agent runs, and investigations that people share."""

from typing import Literal

from msgspec import UNSET

from .common import Command, Event, Id, KeyWord, Maybe, Number, OpenCommand, OpenEvent, Timestamp

RunStatus = Literal["RUNNING", "COMPLETED", "FAILED"]
"""Where an agent's run stands."""

# --- Maestro: agent runs -----------------------------------------------------------------------


class RunSubscription(Command):
    """`maestro:subscribe_run` and `maestro:subscribe_logs`, and their `unsubscribe` twins."""

    runId: KeyWord


class RunUpdate(Event):
    """`maestro:run_update`: how far a run has come."""

    runId: Id
    status: RunStatus
    progress: Number
    """From 0 to 1."""
    timestamp: Number


class LogEntry(Event):
    """One line of a run's log."""

    level: str
    message: str
    timestamp: Timestamp


class RunLog(Event):
    """`maestro:log`: a line that a run has logged."""

    runId: Id
    entry: LogEntry
    timestamp: Number


class StatusUpdate(Event):
    """`maestro:status_update`: a run went to another status, for dashboards of all runs."""

    runId: Id
    status: RunStatus
    timestamp: Number


# --- Investigations: who is there, and what they write -----------------------------------------


class Investigation(Command):
    """`investigation:join` and `investigation:leave`."""

    investigationId: KeyWord


class SendPresence(OpenCommand):
    """`presence:update`: where a user is and what it points at; its fields are the clients' own."""

    investigationId: KeyWord


class SendAnnotation(OpenCommand):
    """`annotation:add`, `annotation:update` and `annotation:delete`; the fields are the service's own."""

    investigationId: KeyWord


class SendComment(OpenCommand):
    """`comment:add`, `comment:update` and `comment:delete`; the fields are the service's own."""

    investigationId: KeyWord


class Shared(OpenEvent):
    """What all events of an investigation may carry; the bridge stamps the last two onto commands."""

    investigationId: Maybe[Id] = UNSET
    user_id: Maybe[str] = UNSET
    timestamp: Maybe[str | Number] = UNSET


class Presence(Shared):
    """`presence:update`: where another user is and what it points at."""


class Annotation(Shared):
    """`annotation:add`, `annotation:update` and `annotation:delete`: somebody annotated the graph."""


class Comment(Shared):
    """`comment:add`, `comment:update` and `comment:delete`: somebody commented."""


# --- Investigations: the graph, a Y.js document ------------------------------------------------


class GraphUpdate(Command):
    """`graph:update` (investigation id, bytes): a change, as `Y.encodeStateAsUpdate` makes it."""

    investigationId: KeyWord
    update: bytes


class GraphAwareness(Command):
    """`graph:awareness` (investigation id, bytes): cursors and selections, which nobody keeps."""

    investigationId: KeyWord
    update: bytes


class GraphSync(Command):
    """`graph:sync` (investigation id, bytes): what a client has, as `Y.encodeStateVector` makes it."""

    investigationId: KeyWord
    stateVector: bytes
