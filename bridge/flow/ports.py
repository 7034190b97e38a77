"""What the flow asks of the edges, and what the edges ask of the flow: the only contract between them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from bridge.errors import Code
from bridge.model import Argument, Delivery, Emission, Invalid, PublishMessage, PublishOutcome, Reply, Request

HandleBatch = Callable[[Sequence[Delivery]], None]
"""Takes deliveries in order; when it returns, the whole batch may be acknowledged."""


TakeOwn = Callable[[Delivery, float], Sequence[Emission]]
"""Takes one message of the bridge's own from the log, at `now` (epoch seconds); returns what it leads to."""


KeepLast = Callable[[Delivery, Sequence[Emission], float], None]
"""Takes a delivery that `bridge.state` holds too, with what is retained of it, at `now` (epoch seconds)."""


class StateSink(Protocol):
    """Takes what has outlived the log, before the first event of the log."""

    def begin(self) -> None:
        """The state is about to be read from its beginning; once more when that was broken off."""

    def take(self, copies: Sequence[Delivery]) -> None:
        """Take the next deliveries of the state, in order."""

    def end(self) -> None:
        """The state has been read whole."""


class EventReader(Protocol):
    """Reads the events of the log (or of a queue) and hands them over in batches, in order, for ever."""

    async def run(self, handle: HandleBatch) -> None:
        """Read until cancelled; reconnects by itself and resumes where it was."""


class Publisher(Protocol):
    """Publishes messages with publisher confirms."""

    async def publish(self, message: PublishMessage) -> PublishOutcome:
        """Publish one message; never raises for an expected outcome, answers within its time limit."""


class EagerPublisher(Publisher, Protocol):
    """One that can also publish without being awaited."""

    def post(self, message: PublishMessage, done: Callable[[PublishOutcome], None]) -> bool:
        """Publish one message now, if that needs no waiting, and call `done` with what became of it, later.

        False when it is not sent, for whatever reason: `publish` waits, or says why. `done` must not raise.
        """


class Requester(Protocol):
    """Sends requests that a service answers."""

    async def request(self, request: Request) -> Reply | PublishOutcome:
        """Send one request and wait for its reply; never raises for an expected outcome, answers in time.

        An outcome says why there is no reply: UNROUTABLE when nobody listens, TIMEOUT when nobody answers.
        """


class InvalidSink(Protocol):
    """Keeps events that no schema fits for whoever repairs their service."""

    def put(self, delivery: Delivery, invalid: Invalid, now: float) -> None:
        """Queue one at `now` (epoch seconds); never blocks, drops and counts beyond its bound."""


class Fanout(Protocol):
    """Sends events to the clients that are in their rooms."""

    def send(self, emissions: Sequence[Emission]) -> None:
        """Write each emission once to each member of its rooms; never blocks.

        A client that recovers gets each with a cursor: its place, or what the client held before it.
        """


Head = Callable[[], str]
"""The cursor of a client that has been given all that was sent: the place of the last delivery whose
emissions went to the fan-out, and of which no earlier one's still will. Never empty."""


class Client(Protocol):
    """One connection in one namespace, what Socket.IO calls a socket; equal to itself alone.

    A page that uses three namespaces is one connection and three clients. What the flow knows of a client,
    such as who it is, is its session.
    """

    def __hash__(self) -> int:
        """By identity, since rooms are sets of clients."""

    @property
    def sid(self) -> str:
        """The Socket.IO id, unique over all instances."""

    @property
    def namespace(self) -> str:
        """The concrete namespace, such as `/project/apollo`."""

    @property
    def connection_id(self) -> str:
        """The Engine.IO connection, which several namespaces share; never shown to anyone else."""

    @property
    def recovers(self) -> bool:
        """Whether every event that it gets, acks excepted, has a cursor as its last argument."""

    def emit(self, event: str, args: Sequence[Argument]) -> None:
        """Queue an event for this client alone."""

    def replay(self, emissions: Sequence[tuple[Emission, str]]) -> None:
        """Queue what it missed, in one write; the text is the cursor that the client holds after each.

        Of several emissions of one delivery only the last may carry that delivery's cursor: a client that
        is cut between them would miss the others. Rooms and `skip_sid` are the caller's business.
        """

    def begin_catch_up(self, cursor: str) -> None:
        """From here on the fan-out passes it over, and what is emitted to it carries this cursor.

        Called again, it changes the cursor.
        """

    def end_catch_up(self) -> None:
        """From here on the fan-out gives it events again."""

    async def drained(self) -> None:
        """Return when nearly all that was given to it has left the process, or when it is gone."""

    def ack(self, ack_id: int, args: Sequence[Argument]) -> None:
        """Answer the client's event of that ack id."""

    def disconnect(self) -> None:
        """End this namespace for the client (Socket.IO DISCONNECT); idempotent."""

    def evict(self) -> None:
        """End its whole connection, since its session goes on on another one; idempotent.

        The gateway learns it, as a lost transport, before this returns.
        """


class ConnectRequest(Struct, frozen=True, kw_only=True):
    """What a client shows when it connects to a namespace."""

    auth: object
    """The decoded JSON of the CONNECT packet's payload; None when there was none."""
    headers: Mapping[str, str]
    """Of the Engine.IO handshake, names in lower case; only those that say who the client is."""
    query: Mapping[str, str]
    """Of the Engine.IO handshake, without its own parameters."""
    remote: str
    """The client's address."""

    @property
    def recovers(self) -> bool:
        """Whether the client asks for cursors: by `recover: true`, or by the pid of an earlier session."""
        auth = self.auth
        return isinstance(auth, dict) and (auth.get("recover") is True or auth.get("pid") is not None)


class Admitted(Struct, frozen=True, kw_only=True):
    """The client is let into the namespace; all of it stands in the CONNECT packet's payload."""

    sid: str | None = None
    """Of the session that goes on; None keeps the client's own."""
    pid: str | None = None
    """With which the client may come back; it makes the client one that recovers."""
    extra: Mapping[str, object] = {}
    """Further fields of the payload, such as `recovered` and `offset`."""


class ConnectRefused(Struct, frozen=True, kw_only=True):
    """The namespace is refused: `err.message` and `err.data.code` in the official client."""

    code: Code | None
    """None says nothing but the message."""
    message: str
    retry_after: float | None = None


class Gateway(Protocol):
    """What the Socket.IO edge tells the flow. No method raises."""

    async def connect(self, client: Client, request: ConnectRequest) -> Admitted | ConnectRefused:
        """Admit a client to its namespace or refuse it; the edge bounds the time that this takes.

        The edge sends CONNECT or CONNECT_ERROR afterwards, then calls `connected`.
        """

    def connected(self, client: Client) -> None:
        """The CONNECT packet is on its way: what the flow emits from here on comes after it."""

    def received(self, client: Client, event: str, args: Sequence[Argument], ack_id: int | None) -> None:
        """The client sent an event."""

    def disconnected(self, client: Client, *, reason: str, transport_lost: bool) -> None:
        """The client is gone; `transport_lost` when it may come back, false when it left on purpose.

        Called exactly once for every client for which `connect` was called and not refused.
        """
