"""Small stand-ins for the ports of the flow: they record what it asks for, and do what a test tells them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import msgspec
from msgspec import Raw

from bridge.flow.ports import Client, Gateway
from bridge.model import Argument, Delivery, Emission, Invalid, PublishMessage, PublishOutcome, Reply, Request
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


class RecordingClient:
    """A `Client` that notes what it is sent; like a real one it is silent once it is gone."""

    def __init__(self, gateway: Gateway, namespace: str, connection_id: str, sid: str) -> None:
        self.namespace = namespace
        self.connection_id = connection_id
        self.sid = sid
        self.log: list[tuple[str | int, list[object]]] = []
        """Events by name and acks by number, in order, with their arguments."""
        self.is_gone = False
        self._gateway = gateway

    def emit(self, event: str, args: Sequence[Argument]) -> None:
        """Note an event."""
        if not self.is_gone:
            self.log.append((event, [to_plain(arg) for arg in args]))

    def ack(self, ack_id: int, args: Sequence[Argument]) -> None:
        """Note an ack."""
        if not self.is_gone:
            self.log.append((ack_id, [to_plain(arg) for arg in args]))

    def disconnect(self) -> None:
        """End as the edge does: the gateway learns it before this returns."""
        self._end("server_disconnect", transport_lost=False)

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
            self._gateway.disconnected(self, reason=reason, transport_lost=transport_lost)


class RecordingFanout:
    """A `Fanout` that hands events over at once, to the members of the real memberships."""

    def __init__(self, memberships: Memberships[Client]) -> None:
        self._memberships = memberships
        self.sent: list[Emission] = []

    def send(self, emissions: Sequence[Emission]) -> None:
        """Give each emission once to each member of its rooms."""
        for emission in emissions:
            self.sent.append(emission)
            members = dict.fromkeys(
                member
                for room in emission.rooms
                for member in self._memberships.members(emission.namespace, room)
            )
            for member in members:
                if member.sid != emission.skip_sid:
                    member.emit(emission.event, emission.args)


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
