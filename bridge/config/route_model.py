"""Every key of a route file, with its default and meaning; docs/configuration.md is made from it.

A route file is a `RouteFile`, a *system*: one source of events and the namespaces that show them.
"""

from typing import Annotated, Literal

from msgspec import Meta, field

from bridge.config.model import Allow, Count, Section
from bridge.config.units import Duration, Rate

Emit = Annotated[dict[str, object], Meta(min_length=1, max_length=1)]
"""`event: payload template`, exactly one; the payload may be any YAML value with `{words}` in it."""


class Late(Section, frozen=True, kw_only=True):
    """Sign-in after the connection: the client sends the event `authenticate {token, user_id?}`."""

    within: Duration = Duration("10s")
    """A client that has not signed in by then is disconnected."""
    hold: Annotated[int, Meta(ge=0)] = 16
    """Commands sent before it that are kept and run afterwards; a further one is NOT_AUTHENTICATED."""


class NamespaceAuth(Section, frozen=True, kw_only=True):
    """How clients of a namespace show who they are."""

    required: bool = True
    """`false` is an open namespace: no token is looked at, and no `allow` is asked there."""
    query_token: bool = False
    """Also accept the token as `?token=` of the handshake's query, behind `auth` and the header."""
    late: Late | None = None
    """Also accept sign-in after the connection."""
    refuse_with: Emit | None = None
    """An event for a client that is refused: it is connected, receives this alone, and is disconnected.
    Where it is left out, the client's `connect_error` says why."""
    authenticated: Emit = field(default_factory=lambda: {"authenticated": {"user_id": "{user.sub}"}})
    """The answer to `authenticate`."""
    failed: Emit = field(
        default_factory=lambda: {
            "authentication_failed": {"message": "{error.message}", "code": "{error.code}"}
        }
    )
    """The answer to an `authenticate` that fails."""
    expired: Emit = field(default_factory=lambda: {"token_expired": {"message": "{error.message}"}})
    """What a client receives before its session ends with its token."""
    revoked: Emit = field(default_factory=lambda: {"token_revoked": {"message": "{error.message}"}})
    """What a client receives before its session ends since an operator revoked its token."""


class Ban(Section, frozen=True, kw_only=True):
    """Shuts out a user whose commands were too fast too often."""

    after: Count = 10
    """Refusals for rate ..."""
    within: Duration = Duration("60s")
    """... within this time ..."""
    duration: Duration = Duration("300s")
    """... shut the user out for this long."""


class NamespaceLimits(Section, frozen=True, kw_only=True):
    """Bounds for the clients of a system, counted over all of its namespaces that state none of their own."""

    rate: list[Rate] = field(default_factory=list)
    """Commands per connection, such as `[10/s, 100/min]`; all must hold, exactly, in every such window."""
    connections_per_user: Count | None = None
    """Connections of one user, counted when they authenticate."""
    ban: Ban | None = None
    """Shuts out a user whose commands were too fast too often."""


class Errors(Section, frozen=True, kw_only=True):
    """How refusals look to a client, for a file, a namespace or a command.

    What a command says wins over its namespace, and that over the file; `events`, `names`
    and `messages` are merged code by code, and a code of its own wins over `"*"`.
    """

    always: bool | None = None
    """`true` sends the event also to a client that asked for an ack, whom else the ack alone tells."""
    events: dict[str, Emit] = field(default_factory=dict)
    """The event for each code of docs/protocol.md; `"*"` is the one for all others."""
    names: dict[str, str] = field(default_factory=dict)
    """Code -> what clients see as `{error.code}` instead; `"*"` is for all others."""
    messages: dict[str, str] = field(default_factory=dict)
    """Code -> what clients read as `{error.message}` instead; `"*"` is for all others."""
    ack: object = None
    """The ack of a refusal; else `{status: error, code, message, retry_after?}`."""


class Presence(Section, frozen=True, kw_only=True):
    """Tells the others of a room who comes and goes: once per user, however many connections."""

    joined: Emit | None = None
    """What the others receive when a user's first client joins."""
    left: Emit | None = None
    """What the others receive when a user's last client is gone."""
    grace: Duration = Duration("5s")
    """How long a client whose connection broke still counts as there."""


class Room(Section, frozen=True, kw_only=True):
    """A room that clients may join: who, and what the others learn of it."""

    allow: Allow = field(default_factory=dict)
    """Who may join."""
    presence: Presence | None = None
    """Tell the others who comes and goes."""
    occupancy: bool = False
    """Tell services, on the exchange `bridge.presence`, when the first user comes and when the last one has
    gone, over all instances and all namespaces of the file: nobody needs events for an empty room."""


class OnConnect(Section, frozen=True, kw_only=True):
    """What happens to a client once it is authenticated."""

    join: list[str] = field(default_factory=list)
    """Rooms that it joins."""
    emit: Emit | None = None
    """An event that it receives."""


class Event(Section, frozen=True, kw_only=True):
    """A route from a routing key of the exchange to clients of the namespace."""

    schema: str | None = None
    """The Struct of the body, by name; left out for a binary body, which is passed on as it is."""
    event: str | None = field(default=None, name="as")
    """The client event's name; the last word of the key where it is left out."""
    rooms: list[str] | None = None
    """Rooms whose members receive it; everyone in the namespace where it is left out."""
    otherwise: list[str] = field(default_factory=list)
    """Rooms that receive it when no room of `rooms` could be named, since a value was missing."""
    args: list[str] | None = None
    """Several arguments instead of the body alone, such as `["{id}", "{body}"]`."""
    skip: Literal["sender"] | None = field(default=None, name="except")
    """`sender`: not back to the client whose command the event is."""
    remember: str | None = None
    """The room whose `{room.last.<event>...}` and `{room.last_activity}` the event becomes."""
    retain: bool = False
    """Keep the last value of each room: whoever joins it receives that at once, after restarts too."""
    max_age: Duration | None = None
    """An event older than this is dropped."""
    live: bool = False
    """Round the log, with the least delay, to whoever is connected at this moment: nothing is kept of it, and
    a client that comes back is not told. For typing, cursors and the like: the next one comes soon."""


class Command(Section, frozen=True, kw_only=True):
    """What a client may send, and what becomes of it."""

    schema: str | None = None
    """The Struct of the payload, by name; left out for a command without payload."""
    allow: Allow = field(default_factory=dict)
    """Who may send it."""
    limit: list[Rate] = field(default_factory=list)
    """Bounds for this command alone, on top of the system's."""
    set: dict[str, object] = field(default_factory=dict)
    """Fields that the bridge stamps onto the body; they win over the client's."""
    args: list[str] | None = None
    """Several arguments instead of one object: each is the field of the schema of that name, in this order.
    A field of type `bytes` takes a binary attachment."""
    inside: str | None = None
    """The room that the sender must be in, else FORBIDDEN."""
    publish: str | None = None
    """Routing key under which the body is published, with the broker's confirm."""
    request: str | None = None
    """Routing key of a request, instead of `publish`: a service answers it, and its reply is the ack."""
    timeout: Duration | None = None
    """How long the reply to a request may take, then TIMEOUT; `5s` where it is left out."""
    to: Literal["commands", "events"] = "commands"
    """The exchange of `publish` or `request`; `events` is a relay to the other clients."""
    headers: dict[str, str] = field(default_factory=dict)
    """AMQP headers of what is published, templates of claims and words; `x-...` are the bridge's own."""
    body: object = None
    """What is published instead of the whole body; bytes go out as `application/octet-stream`."""
    join: list[str] = field(default_factory=list)
    """Rooms that the client joins; each must be among the namespace's `rooms`. A template that is one
    placeholder of the body, `"{body.room}"`, is the whole name of a room."""
    leave: list[str] = field(default_factory=list)
    """Rooms that the client leaves; whole names as in `join`."""
    emit: Emit | None = None
    """An event in answer, to this client alone."""
    ack: object = None
    """The ack's argument; else the reply to a request, or `{status: ok}`, with `message_id` if something
    was published."""
    errors: Errors = Errors()
    """How refusals of this command look, over what its namespace and file say."""


class Namespace(Section, frozen=True, kw_only=True):
    """What clients of one Socket.IO namespace may see and do."""

    auth: NamespaceAuth | None = None
    """How clients show who they are; the file's where it is left out."""
    limits: NamespaceLimits | None = None
    """Bounds, counted for this namespace alone; the file's where it is left out."""
    errors: Errors | None = None
    """How refusals look, over what the file says."""
    allow: Allow = field(default_factory=dict)
    """Who may connect."""
    on_connect: OnConnect = OnConnect()
    """What happens to a client once it is authenticated."""
    rooms: dict[str, Room] = field(default_factory=dict)
    """Rooms that commands may join; any other cannot be joined."""
    events: dict[str, Event] = field(default_factory=dict)
    """Routing key pattern -> route. `{name}` is one word, captured; `{name:a|b}` one of these."""
    commands: dict[str, Command] = field(default_factory=dict)
    """Client event -> what becomes of it; any other is UNKNOWN_COMMAND."""


class RouteFile(Section, frozen=True, kw_only=True):
    """A file of `routes/`: one system."""

    exchange: str
    """The topic exchange that services publish events to."""
    commands_exchange: str | None = None
    """The topic exchange that commands are published to."""
    schemas: str | None = None
    """The module of the schemas folder that `schema:` names stand in."""
    auth: NamespaceAuth = NamespaceAuth()
    """How clients of all its namespaces show who they are."""
    limits: NamespaceLimits = NamespaceLimits()
    """Bounds for the clients of all its namespaces."""
    errors: Errors = Errors()
    """How refusals look in all its namespaces."""
    namespaces: dict[str, Namespace]
    """Namespace -> what its clients may see and do; `{name}` in it is one path segment, captured."""
