"""Every key of `bridge.yaml`, with its default and meaning; docs/configuration.md is made from it.

The keys of the route files that it includes are in route_model.py.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from bridge.config.units import Duration, Size

Count = Annotated[int, Meta(ge=1)]
"""A number of things, at least one."""


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping in the YAML; a key that is not named here is a fault."""


class Stream(Section, frozen=True, kw_only=True):
    """The RabbitMQ stream that is the log of all events."""

    name: str = "bridge.events"
    """Its name; every instance that shares it sees the same events in the same order."""
    max_age: Duration = Duration("10m")
    """How long events are kept."""
    max_bytes: Size = Size("512MB")
    """How much is kept; segments are a sixteenth of it."""


class State(Section, frozen=True, kw_only=True):
    """The second, small stream, of what must outlive the log: retained values, revocations, bans."""

    name: str = "bridge.state"
    """Its name, and that of the exchange by which the instances write into it again what it would drop."""
    max_age: Duration = Duration("30d")
    """How long it keeps what is not written again; an instance that runs does that at half this age."""
    max_bytes: Size = Size("64MB")
    """How much is kept; of retained values a quarter of it, the longest untouched go first."""


class Queue(Section, frozen=True, kw_only=True):
    """The queue of one instance, for brokers without streams (`source: queue`)."""

    prefix: str = "bridge.events."
    """Its name is this prefix and the instance's id."""
    expires: Duration = Duration("10m")
    """How long the queue of an instance that is away is kept."""
    max_length: Count = 100_000
    """Messages that are kept for an instance that is away or slow; the oldest are dropped first."""


class InvalidQueue(Section, frozen=True, kw_only=True):
    """Where events that fit no schema go, with the reason in their headers."""

    name: str = "bridge.invalid"
    """Of the exchange and of the queue that is bound to it."""
    max_length: Count = 10_000
    """Messages that are kept; the oldest are dropped first."""
    max_bytes: Size = Size("64MB")
    """Bytes that are kept; the oldest messages are dropped first."""


class Amqp(Section, frozen=True, kw_only=True):
    """The connection to RabbitMQ."""

    url: str = "amqp://guest:guest@localhost:5672/"
    """`amqp://` or `amqps://`, with user, password and virtual host. Options: `?auth=external` (log in by
    certificate); with `amqps://` `cafile`, `capath`, `certfile`, `keyfile`, and `no_verify_ssl=1`, which
    trusts everyone. Any other is refused."""
    source: Literal["stream", "queue"] = "stream"
    """Read events from one stream (recommended) or from a queue per instance."""
    stream: Stream = Stream()
    """The stream of `source: stream`."""
    state: State = State()
    """The stream of what must outlive the log; there is none with `source: queue`."""
    queue: Queue = Queue()
    """The queue of `source: queue`."""
    invalid: InvalidQueue = InvalidQueue()
    """Where events that fit no schema go."""
    heartbeat: Duration = Duration("10s")
    """AMQP heartbeat: a dead connection is noticed within two of them."""
    prefetch: Annotated[int, Meta(ge=1, le=65535)] = 1000
    """Deliveries that the broker sends ahead."""
    confirm_timeout: Duration = Duration("5s")
    """How long a published message may wait for the broker's confirm: then UNKNOWN_OUTCOME."""
    connect_timeout: Duration = Duration("10s")
    """How long one attempt to connect may take."""


Claims = dict[str, str | int | bool | list[str]]
"""`claim: value`, all of which must hold; values may hold `{words}`.

A claim that is a list is asked for membership, and a `"*"` in it matches all. A list of values here
is any of them.
"""

Allow = Claims | list[Claims]
"""Who may: claims that must all hold, or a list of such, of which one must hold. `{}` is everyone."""


class Tls(Section, frozen=True, kw_only=True):
    """TLS on the port: clients then connect with `https:` and `wss:` alone."""

    certificate: str
    """PEM file of the certificate and of those between it and its authority; relative to this file."""
    key: str
    """PEM file of its private key, without a passphrase; relative to this file."""


def _of_admins() -> Allow:
    return {"roles": "admin"}


class Stats(Section, frozen=True, kw_only=True):
    """A page for operators: how many clients a namespace has on this instance, and in which rooms."""

    path: str = "/api/v1/websocket/stats"
    """Where it is served, to whoever shows a token as `Authorization: Bearer ...`."""
    namespace: str
    """The namespace, by its concrete name."""
    allow: Allow = field(default_factory=_of_admins)
    """Who may see it."""


class Http(Section, frozen=True, kw_only=True):
    """The port that clients connect to."""

    host: str = "0.0.0.0"  # noqa: S104  a daemon for the network listens on all addresses unless told
    """Address to listen on."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    """Port to listen on."""
    paths: list[str] = field(default_factory=lambda: ["/socket.io"])
    """Paths that speak Socket.IO."""
    origins: str = ""
    """Origins of pages that may connect, separated by commas; `*` is any, `null` a page from disk.
    A page of the daemon's own, by IP address or a name without dots, may connect in any case; a client
    without an Origin header is no browser and is let in."""
    trusted_proxies: str = ""
    """Addresses or networks of the proxies in front, separated by commas: of them alone `X-Forwarded-For`
    is believed, so that the log names the client's address and not the proxy's."""
    ping_interval: Duration = Duration("25s")
    """How often the server pings a client."""
    ping_timeout: Duration = Duration("60s")
    """How long a client may take to answer before it counts as gone."""
    connect_timeout: Duration = Duration("10s")
    """How long a connection may stay without a namespace."""
    metrics: bool = True
    """Serve `/metrics` on this port."""
    client_page: bool = False
    """Serve docs/websocket_client_example.html at `/client`: a page to try the namespaces by hand."""
    tls: Tls | None = None
    """Speak TLS; without it, let a proxy in front do so."""
    stats: Stats | None = None
    """Serve the rooms of a namespace and their members' number."""


class Jwt(Section, frozen=True, kw_only=True):
    """How tokens are verified."""

    algorithms: list[str] = field(default_factory=lambda: ["HS256"])
    """Algorithms that are accepted, all of one family (HS, RS, PS, ES or EdDSA)."""
    secret: str = ""
    """The shared secret of the HS family; one of fewer than 32 bytes can be guessed, and is warned of."""
    public_key: str = ""
    """PEM text of the public key of the other families."""
    user: str = "sub"
    """The claim that names the user."""
    audience: str | None = None
    """Required `aud`, when set."""
    issuer: str | None = None
    """Required `iss`, when set."""
    leeway: Duration = Duration("0s")
    """Clock difference that is tolerated in `exp` and `nbf`."""
    aliases: dict[str, str] = field(default_factory=dict)
    """`claim: other claim`: read the other claim where the first is absent."""
    defaults: dict[str, object] = field(default_factory=dict)
    """`claim: value` where a token has none."""


class Auth(Section, frozen=True, kw_only=True):
    """Who clients are."""

    jwt: Jwt = Jwt()
    """JSON Web Tokens."""


class Limits(Section, frozen=True, kw_only=True):
    """Bounds for the whole instance; what exceeds one is refused or cut, as each line says."""

    connections: Count = 10_000
    """Open connections; a further one takes the place of one that is in no namespace, or is answered 503."""
    payload: Size = Size("1MB")
    """Bytes of one message from a client; a larger one closes the connection. One that is in no namespace
    yet may send far less: 64 KB, or 9 KB for each of `namespaces` where that is more."""
    namespaces: Count = 16
    """Namespaces of one connection; a further one is refused."""
    outbox_bytes: Size = Size("1MB")
    """Bytes that wait for one client; then its connection is cut."""
    outbox_age: Duration = Duration("10s")
    """How long a client may take nothing while something waits for it; then its connection is cut."""
    inbox: Count = 1000
    """Commands of one client that wait for their turn, of two `payload`s together at most; a further one is
    answered RATE_LIMITED. Shared documents send a command for each change, hundreds when text is pasted."""
    rooms: Count = 128
    """Rooms of one client in one namespace; a further join is answered FORBIDDEN."""
    attachments: Annotated[int, Meta(ge=0)] = 10
    """Binary attachments of one packet; a packet with more closes the connection."""
    duplicates: Annotated[int, Meta(ge=0)] = 50_000
    """Message ids that are remembered, so that an event that a service publishes again is shown once; in
    any case those of all events in the history."""
    remembered_rooms: Count = 10_000
    """Rooms whose last events are remembered; the longest untouched is forgotten first."""


class History(Section, frozen=True, kw_only=True):
    """What an instance keeps of the log in memory, so that clients may have what they missed."""

    max_bytes: Size = Size("64MB")
    """Memory that it takes, about; the oldest events go first."""
    max_age: Duration = Duration("10m")
    """How long events are kept; longer than `amqp.stream.max_age` is of no use after a start."""


class Instances(Section, frozen=True, kw_only=True):
    """How the instances that share a log know of one another."""

    heartbeat: Duration = Duration("10s")
    """How often an instance says that it lives. One of which four are missing, while another one gives its
    own, is dead: its users leave."""


class Recovery(Section, frozen=True, kw_only=True):
    """How clients come back to their sessions (`auth: {recover: true}`) after their connection broke."""

    window: Duration = Duration("120s")
    """How long a session is kept for its client; what it missed comes out of `history`."""
    sessions: Count = 20_000
    """Sessions that are kept on an instance; the one that was lost first goes first."""


class Log(Section, frozen=True, kw_only=True):
    """The daemon's own log on standard error."""

    format: Literal["console", "json"] = "console"
    """One line a record: for people, or JSON for a collector."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest level that is written."""


class Config(Section, frozen=True, kw_only=True):
    """`bridge.yaml`: the daemon itself."""

    instance: str = ""
    """Name of this instance, unique among those that share a broker; else host name and port."""
    amqp: Amqp = Amqp()
    """The connection to RabbitMQ."""
    http: Http = Http()
    """The port that clients connect to."""
    auth: Auth = Auth()
    """Who clients are."""
    limits: Limits = Limits()
    """Bounds for the whole instance."""
    history: History = History()
    """What an instance keeps of the log in memory, so that clients may have what they missed."""
    instances: Instances = Instances()
    """How the instances that share a log know of one another."""
    recovery: Recovery = Recovery()
    """How clients come back to their sessions."""
    log: Log = Log()
    """The daemon's own log."""
    shutdown_timeout: Duration = Duration("30s")
    """How long SIGTERM may take to drain; then the rest is cut."""
    include: list[str] = field(default_factory=lambda: ["routes/*.yaml"])
    """Route files, as globs relative to this file."""
