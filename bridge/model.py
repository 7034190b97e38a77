"""The values that travel through the bridge: deliveries, emissions, commands and planned actions."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final

from msgspec import Raw, Struct

from bridge.errors import Code

EVERYONE = ""
"""The room of all authenticated clients of a namespace; no template can render this name."""

LOG_EXCHANGE: Final = "bridge.log"
"""What instances tell one another in the log, such as that they live and who is present."""
CONTROL_EXCHANGE: Final = "bridge.control"
"""What operators tell all instances: end this user's sessions."""
PRESENCE_EXCHANGE: Final = "bridge.presence"
"""What instances tell services: that a room is occupied or vacated."""
PRESENCE_QUERY_KEY: Final = "query"
"""There, by which services ask for the rooms that are occupied."""
INSTANCES_EXCHANGE: Final = "bridge.instances"
"""What instances ask one another, outside of the log."""

OFFSET_HEADER: Final = "x-stream-offset"
"""RabbitMQ's name for a place in a stream: a header of deliveries, an argument of consumers."""
LATEST_TIME: Final = 253_402_300_799.0
"""Epoch seconds of the end of the year 9999: no date is later, and timers overflow far beyond it."""

RESERVED_EVENTS: Final = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)
"""Names that the official clients raise themselves: one that receives them from a server breaks."""

Argument = Raw | bytes
"""One argument of a Socket.IO event: JSON text (`Raw`) or a binary attachment (`bytes`)."""


def size_of(args: Sequence[Argument]) -> int:
    """Bytes of an event's or a command's arguments."""
    return sum([len(arg) for arg in args])


class Delivery(Struct, frozen=True, kw_only=True, gc=False):
    """One message from RabbitMQ, as far as the bridge reads it."""

    exchange: str
    routing_key: str
    body: bytes
    content_type: str | None = None
    headers: Mapping[str, object] = {}
    message_id: str | None = None
    timestamp: float | None = None
    """Epoch seconds: the header `timestamp_in_ms`, else the property `timestamp`."""
    offset: int | None = None
    """Place in the log; None of what does not come through it."""
    checksum: int = 0
    """Of all that tells one event from another, to know again the event at an offset."""


class Place(Struct, frozen=True, gc=False):
    """Where a delivery stands in the log, and how to know it again; offsets have holes and may begin anew."""

    offset: int
    checksum: int

    @property
    def cursor(self) -> str:
        """What a client that has everything up to here holds; opaque to it."""
        return f"{self.offset}-{self.checksum:08x}"


class Emission(Struct, frozen=True, kw_only=True, gc=False):
    """One event for the members of some rooms of one namespace.

    The history keeps very many of them; they hold nothing that could refer back, so that the garbage
    collector need not look at them.
    """

    route: str
    """Name of the route that made it; the label of its metrics."""
    namespace: str
    event: str
    args: tuple[Argument, ...]
    rooms: tuple[str, ...]
    """A client that is in several of them receives the event once."""
    skip_sid: str | None = None
    """The client whose own command this event is (`except: sender`)."""
    place: Place | None = None
    """Of the delivery that led to it; None of what does not come through the log."""
    until: float | None = None
    """Epoch seconds up to which whoever missed it is given it; None while it is there."""


class RoomRef(Struct, frozen=True, kw_only=True, gc=False):
    """A room for presence and last values: its name within one system, over all of its namespaces."""

    system: str
    room: str


class Remember(Struct, frozen=True, kw_only=True, gc=False):
    """The last event of some rooms, kept so that templates can read `{room.last.<event>.<field>}`."""

    rooms: tuple[RoomRef, ...]
    event: str
    body: object
    """The value; or its text, which the emission has as well, where `decode` makes the value of it."""
    time: float | None
    """Epoch seconds of the event; None when nobody knows any more."""
    decode: Callable[[Raw], object] | None = None

    @property
    def value(self) -> object:
        """What templates read of the body."""
        body = self.body
        return body if self.decode is None or not isinstance(body, Raw) else self.decode(body)


class Invalid(Struct, frozen=True, kw_only=True, gc=False):
    """Why one route could not use a delivery; becomes headers of the message on `bridge.invalid`."""

    route: str
    reason: str
    """A stable word: `not_json`, `schema`, `content_type`, or `internal`, a fault of the bridge itself."""
    error: str
    path: str = ""
    """JSON path of the fault in the body, such as `$.progress`."""


def to_identity(user: str, tenant: object) -> str:
    """The user within its tenant: two tenants may each have an `ada`."""
    return user if tenant is None else f"{tenant}\0{user}"


class Principal(Struct, frozen=True, kw_only=True):
    """Who a client is, as its verified token says."""

    user: str
    claims: Mapping[str, object]
    expires_at: float | None = None
    """Epoch seconds; None never expires (a namespace without authentication)."""

    @property
    def identity(self) -> str:
        """The user within its tenant, empty without a token."""
        return to_identity(self.user, self.claims.get("tenant"))


class Command(Struct, frozen=True, kw_only=True, gc=False):
    """One event that a client sent."""

    event: str
    args: tuple[Argument, ...]


class PublishMessage(Struct, frozen=True, kw_only=True, gc=False):
    """A message for the broker: persistent, mandatory, confirmed."""

    exchange: str
    routing_key: str
    body: bytes
    message_id: str
    type: str
    """The client event's name."""
    timestamp: float
    """Epoch seconds."""
    headers: Mapping[str, str] = {}
    content_type: str = "application/json"


class Request(Struct, frozen=True, kw_only=True, gc=False):
    """A message that a service answers: mandatory, and gone when nobody took it in time."""

    message: PublishMessage
    timeout: float
    """Seconds that the reply may take."""


class Reply(Struct, frozen=True, kw_only=True):
    """What a service answered to a request."""

    body: bytes
    content_type: str | None = None
    error: str | None = None
    """The service's own words for why it did not do it (AMQP header `error`)."""


class Join(Struct, frozen=True, kw_only=True, gc=False):
    """The client enters these rooms."""

    rooms: tuple[str, ...]


class Leave(Struct, frozen=True, kw_only=True, gc=False):
    """The client leaves these rooms; a room that it is not in is no error."""

    rooms: tuple[str, ...]


Action = PublishMessage | Request | Join | Leave


class Refuse(Struct, frozen=True, kw_only=True, gc=False):
    """The command is not carried out; code and message reach the client."""

    code: Code
    message: str
    details: tuple[Mapping[str, object], ...] | None = None
    """Faults of the client's own input: `{"message": ..., "path": [...]}`."""
    retry_after: float | None = None
    """Seconds, in whole milliseconds; whoever waits so long is let through."""


class PublishOutcome(StrEnum):
    """What became of a published message, or of a request that got no reply."""

    CONFIRMED = "confirmed"
    UNROUTABLE = "unroutable"
    REJECTED = "rejected"
    BROKER_UNAVAILABLE = "broker_unavailable"
    """It was not sent."""
    UNKNOWN_OUTCOME = "unknown_outcome"
    """It was sent, and no confirm came in time, or the connection broke before the reply."""
    TIMEOUT = "timeout"
    """A request was sent, and no reply came in time."""


UNSETTLED: Final = (PublishOutcome.BROKER_UNAVAILABLE, PublishOutcome.UNKNOWN_OUTCOME)
"""After these a message may be published again, under the same id: nobody has refused it."""
