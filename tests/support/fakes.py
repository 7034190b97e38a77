"""Small stand-ins for the ports of the flow: they record what it asks for, and do what a test tells them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import Raw

from bridge.flow.ports import Admitted, Client, Gateway, Head
from bridge.model import (
    Argument,
    Delivery,
    Emission,
    Invalid,
    Place,
    PublishMessage,
    PublishOutcome,
    Reply,
    Request,
)
from bridge.state.memberships import Memberships


class Clock:
    """Time that only tests move: the wall clock, the monotonic one, and the event loop's."""

    def __init__(self) -> None:
        self.wall = 1_700_000_000.0
        self.steady = 5_000.0

    def drive_loop(self) -> None:
        """Make the timers of the running loop wait for this clock."""
        asyncio.get_running_loop().time = lambda: self.steady  # type: ignore[method-assign]

    async def advance(self, seconds: float) -> None:
        """Let time pass, and everything happen that is due by then."""
        self.wall += seconds
        self.steady += seconds
        await settle()

    def set_wall(self, seconds: float) -> None:
        """Set the wall clock alone, as an administrator or NTP does."""
        self.wall += seconds


async def settle() -> None:
    """Let all tasks run until each of them waits for something from outside."""
    for _ in range(20):
        await asyncio.sleep(0)


def first_head() -> str:
    """What a client holds before anything was read from the log."""
    return Place(0, 0).cursor


class RecordingClient:
    """A `Client` that notes what it is sent; like a real one it is silent once it is gone."""

    def __init__(
        self,
        gateway: Gateway,
        namespace: str,
        connection_id: str,
        sid: str,
        head: Head = lambda: "0-00000000",
    ) -> None:
        self.namespace = namespace
        self.connection_id = connection_id
        self.sid = sid
        self.log: list[tuple[str | int, list[object]]] = []
        """Events by name and acks by number, in order, with their arguments."""
        self.is_gone = False
        self.recovers = False
        self.payload: Mapping[str, object] = {}
        """Of the CONNECT packet, besides the sid."""
        self.catching_up: str | None = None
        """The cursor of what is emitted meanwhile."""
        self.gate = asyncio.Event()
        """What `drained` waits for; a test may clear it."""
        self.gate.set()
        self.is_slow = False
        """Whether each replay closes the gate."""
        self._gateway = gateway
        self._head = head

    def admit(self, admitted: Admitted, *, recovers: bool) -> None:
        """Take note of the CONNECT packet."""
        self.sid = admitted.sid or self.sid
        self.recovers = recovers or admitted.pid is not None
        self.payload = {**admitted.extra, **({} if admitted.pid is None else {"pid": admitted.pid})}

    def emit(self, event: str, args: Sequence[Argument]) -> None:
        """Note an event."""
        self.take(event, args, self._head() if self.catching_up is None else self.catching_up)

    def take(self, event: str, args: Sequence[Argument], cursor: str) -> None:
        """Note an event that has a cursor for those who want one."""
        if not self.is_gone:
            self.log.append((event, [*map(to_plain, args), *([cursor] if self.recovers else [])]))

    def replay(self, emissions: Sequence[tuple[Emission, str]]) -> None:
        """Note events that it had missed."""
        if self.is_slow:
            self.gate.clear()
        for emission, cursor in emissions:
            self.take(emission.event, emission.args, cursor)

    def begin_catch_up(self, cursor: str) -> None:
        """Be passed over by the fan-out."""
        self.catching_up = cursor

    def end_catch_up(self) -> None:
        """Get events again."""
        self.catching_up = None

    async def drained(self) -> None:
        """Return when the gate is open."""
        await self.gate.wait()

    def ack(self, ack_id: int, args: Sequence[Argument]) -> None:
        """Note an ack."""
        if not self.is_gone:
            self.log.append((ack_id, [to_plain(arg) for arg in args]))

    def disconnect(self) -> None:
        """End as the edge does: the gateway learns it before this returns."""
        self._end("server_disconnect", transport_lost=False)

    def evict(self) -> None:
        """End with the whole connection, as the edge does."""
        self._end("evicted", transport_lost=True)

    def leave(self) -> None:
        """The user ends the namespace."""
        self._end("client_disconnect", transport_lost=False)

    def drop(self) -> None:
        """The connection breaks."""
        self._end("transport_close", transport_lost=True)

    def send(self, event: str, *args: object, ack: int | None = None) -> None:
        """Send an event; values become JSON, bytes an attachment, `Raw` stays as it is."""
        raw = [arg if isinstance(arg, bytes | Raw) else Raw(msgspec.json.encode(arg)) for arg in args]
        self._gateway.received(self, event, raw, ack)

    def received(self, name: str | int) -> list[object]:
        """The first argument of each event of this name, or of the acks of this number."""
        return [args[0] for found, args in self.log if found == name]

    @property
    def names(self) -> list[str | int]:
        """What it received, in order, without arguments."""
        return [name for name, _ in self.log]

    def _end(self, reason: str, *, transport_lost: bool) -> None:
        if not self.is_gone:
            self.is_gone = True
            self.gate.set()
            self._gateway.disconnected(self, reason=reason, transport_lost=transport_lost)


class RecordingFanout:
    """A `Fanout` that hands events over at once, to the members of the real memberships."""

    def __init__(self, memberships: Memberships[Client]) -> None:
        self._memberships = memberships
        self.sent: list[Emission] = []
        self.head: Head = first_head

    def send(self, emissions: Sequence[Emission]) -> None:
        """Give each emission once to each member of its rooms."""
        cursor = self.head()
        for emission in emissions:
            self.sent.append(emission)
            cursor = cursor if emission.place is None else emission.place.cursor
            members = dict.fromkeys(
                member
                for room in emission.rooms
                for member in self._memberships.members(emission.namespace, room)
            )
            for member in members:
                assert isinstance(member, RecordingClient)
                if member.sid != emission.skip_sid and member.catching_up is None:
                    member.take(emission.event, emission.args, cursor)


class ScriptedPublisher:
    """A `Publisher` whose outcomes and delays a test sets; it confirms at once unless told otherwise."""

    def __init__(self) -> None:
        self.outcomes: deque[PublishOutcome | Exception] = deque()
        """Of the next messages."""
        self.sent: list[PublishMessage] = []
        self.holding = False
        """Let every message wait until `release`."""
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def publish(self, message: PublishMessage) -> PublishOutcome:
        """Note the message, wait if told so, answer as told."""
        self.sent.append(message)
        outcome = self.outcomes.popleft() if self.outcomes else PublishOutcome.CONFIRMED
        if self.holding:
            gate = asyncio.get_running_loop().create_future()
            self._waiting.append(gate)
            await gate
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def post(self, message: PublishMessage, done: Callable[[PublishOutcome], None]) -> bool:
        """Likewise, without being awaited; what is to raise is left to `publish`."""
        if self.outcomes and isinstance(self.outcomes[0], Exception):
            return False
        self.sent.append(message)
        outcome = self.outcomes.popleft() if self.outcomes else PublishOutcome.CONFIRMED
        assert isinstance(outcome, PublishOutcome)
        loop = asyncio.get_running_loop()
        if self.holding:
            gate = loop.create_future()
            gate.add_done_callback(lambda _: done(outcome))
            self._waiting.append(gate)
        else:
            loop.call_soon(done, outcome)
        return True

    async def release(self, count: int = 1) -> None:
        """Answer the oldest messages that wait, and let everything happen that follows."""
        for _ in range(count):
            self._waiting.popleft().set_result(None)
        await settle()

    @property
    def waiting(self) -> int:
        """Messages without an answer."""
        return len(self._waiting)

    @property
    def keys(self) -> list[str]:
        """Routing keys of all messages, in order."""
        return [message.routing_key for message in self.sent]


class ScriptedRequester:
    """A `Requester` that answers as a test says; nobody listens unless told otherwise."""

    def __init__(self) -> None:
        self.replies: deque[Reply | PublishOutcome] = deque()
        """To the next requests."""
        self.sent: list[Request] = []

    async def request(self, request: Request) -> Reply | PublishOutcome:
        """Note the request, answer as told."""
        self.sent.append(request)
        return self.replies.popleft() if self.replies else PublishOutcome.UNROUTABLE


class RecordingInvalidSink:
    """An `InvalidSink` that keeps all in a list."""

    def __init__(self) -> None:
        self.kept: list[tuple[Delivery, Invalid]] = []

    def put(self, delivery: Delivery, invalid: Invalid, now: float) -> None:
        """Keep one."""
        self.kept.append((delivery, invalid))


def to_plain(arg: Argument) -> object:
    """What a browser makes of an argument."""
    value: object = arg if isinstance(arg, bytes) else msgspec.json.decode(arg)
    return value
