"""What the benchmark sends: an event of 299 bytes with typed fields, and two commands."""

from typing import Annotated, Literal

from msgspec import Meta, Struct


class Tick(Struct, frozen=True, kw_only=True):
    """One event; `seq` and `at` come first, since the load client looks for them where they stood before."""

    seq: Annotated[int, Meta(ge=0)]
    """Counts the events of one room."""
    at: int
    """Microseconds of the monotonic clock."""
    project_name: Annotated[str, Meta(min_length=1, max_length=128)]
    task_id: Annotated[str, Meta(min_length=1, max_length=128)]
    status: Literal["pending", "running", "completed", "failed"]
    progress: Annotated[float, Meta(ge=0, le=100)]
    agents: list[str]
    message: str
    retries: int = 0


class Join(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The client enters a room."""

    room: Annotated[str, Meta(min_length=1, max_length=128)]


class Send(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The client sends a message to a service."""

    text: Annotated[str, Meta(min_length=1, max_length=1000)]
    number: Annotated[int, Meta(ge=0)]
    sent_by: str = ""
    sent_at: str = ""
