"""What templates may read: the values at hand (`Scope`), and which names a place knows (`Known`)."""

from collections.abc import Mapping
from typing import Final

from msgspec import UNSET, Struct, UnsetType

MISSING: Final = UNSET
"""What a template renders to when a value that it names is not there (the same object as msgspec's UNSET)."""

Missing = UnsetType

ROOTS: Final = frozenset(
    {"body", "header", "message", "user", "sid", "now", "uuid", "room", "error", "reply"}
)
"""The first names of placeholders that are no words of a key or namespace."""


class RoomView(Struct, frozen=True, kw_only=True):
    """What is known of one room at the moment; the `{room...}` of a template."""

    users: int = 0
    """Distinct users in it: `{room.users}`."""
    last: Mapping[str, object] = {}
    """Client event -> body of the last one: `{room.last.<event>.<field>}`."""
    last_activity: float | None = None
    """Epoch seconds of its last event of any kind: `{room.last_activity}` in ISO form; None before one."""


class Scope(Struct, frozen=True, kw_only=True):
    """The values that a template is rendered with; what a place does not know stays at its default.

    Building one costs about what building a tuple costs: leave out what `template.roots` does not ask for.
    """

    words: Mapping[str, str] = {}
    """Captures of the routing key, namespace or room."""
    body: object = MISSING
    """The decoded Struct, or any JSON value."""
    header: Mapping[str, object] = {}
    """AMQP headers of the delivery."""
    message: Mapping[str, object] = {}
    """`{message.id}`: of the delivery, or of the message that a command published."""
    user: Mapping[str, object] = {}
    """The claims of the client's token."""
    sid: str | None = None
    """The client's Socket.IO id."""
    now: float = 0.0
    """Epoch seconds: `{now}` is ISO 8601 in UTC with milliseconds, `{now.ms}` a whole number."""
    uuid_of: str | None = None
    """What `{uuid}` is made of: fresh for each command, and so the same wherever its templates say it."""
    room: RoomView | None = None
    """The room that the place is about."""
    error: Mapping[str, object] = {}
    """Of a refusal: type, code, message, details, retry_after."""
    reply: object = MISSING
    """What a service answered to a request: any JSON value, or bytes."""


class Known(Struct, frozen=True, kw_only=True):
    """Which names templates may use at a place of the configuration; anything else is a fault there."""

    words: frozenset[str] = frozenset()
    """Words of the routing key or namespace."""
    roots: frozenset[str] = frozenset()
    """Those of `ROOTS` that the place fills."""
    body: object = None
    """Type of the body (a msgspec Struct as a rule) that `{body...}` is checked against; None: any JSON."""
    client: bool = False
    """The body comes from a client: what of it names a room or key must be a key word."""


class BadValue(Struct, frozen=True, kw_only=True):
    """A value that cannot stand in a room's name or a routing key."""

    message: str
    """Fit for a client: says what is wrong without quoting the value."""
    path: tuple[str | int, ...]
    """Where it stands: below the body for a body's value, else the placeholder's names."""
    client: bool
    """It came from a client's body, so the client is told where."""


class Problem(Struct, frozen=True, kw_only=True):
    """One mistake in a template, and where in the YAML value it stands (`data.id`, `[2]`, or empty)."""

    path: str
    message: str


class TemplateError(ValueError):
    """A YAML value is no template for its place; carries every problem in it."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(f"{p.path}: {p.message}" if p.path else p.message for p in problems))
        self.problems = problems
