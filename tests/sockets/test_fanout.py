"""The fan-out: who gets what, in which order, in how many writes."""

import itertools
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.flow.ports import Client
from bridge.model import EVERYONE, Emission, Place
from bridge.sockets.connection import Connection
from bridge.sockets.fanout import Fanout
from bridge.state.memberships import Memberships
from bridge.telemetry.metrics import Metrics
from tests.support.echo_gateway import Running, emission, raw
from tests.support.js_client import JsClients


class Wire:
    """The transport of a connection; keeps the frames of each write."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    @property
    def events(self) -> list[int]:
        """The numbers of all events, in order."""
        frames = b"".join(self.writes)
        return [int(part.split(b",")[-1]) for part in frames.split(b"]")[:-1]]


class Wired:
    """As much of a connection as the fan-out sees."""

    def __init__(self) -> None:
        self.direct = Wire()

    def write_directly(self, direct: Wire, frames: bytes) -> None:
        direct.write(frames)


class Seated:
    """As much of a client as the fan-out sees."""

    def __init__(self, sid: str, connection: Wired, *, recovers: bool = False, is_open: bool = True) -> None:
        self.sid = sid
        self.connection = connection
        self.hears_plain = is_open and not recovers
        self.hears_cursors = is_open and recovers


def head() -> str:
    return "1-00000001"


ROOMS = ("a", "b", "c")
some_rooms = st.lists(st.sampled_from(ROOMS), max_size=3, unique=True).map(tuple)


@settings(max_examples=300, deadline=None)
@given(
    members=st.lists(some_rooms, min_size=1, max_size=5),
    targets=st.lists(st.tuples(some_rooms, st.one_of(st.none(), st.integers(0, 4))), max_size=12),
)
def test_each_client_gets_each_event_of_its_rooms_once_and_in_order(
    members: list[tuple[str, ...]], targets: list[tuple[tuple[str, ...], int | None]]
) -> None:
    """Held against the plain rule, for any rooms, any mixture of targets and any skipped client."""
    memberships = Memberships[Client]()
    wires = []
    for number, rooms in enumerate(members):
        wires.append(Wired())
        for room in rooms:
            memberships.join("/", room, Seated(str(number), wires[-1]))  # type: ignore[arg-type]
    emissions = [
        Emission(
            route="r",
            namespace="/",
            event="e",
            args=(raw(number),),
            rooms=rooms,
            skip_sid=None if skip is None else str(skip),
        )
        for number, (rooms, skip) in enumerate(targets)
    ]
    metrics = Metrics()
    Fanout(memberships, metrics, head).send(emissions)
    for number, (wire, rooms) in enumerate(zip(wires, members, strict=True)):
        expected = [
            index
            for index, (wanted, skip) in enumerate(targets)
            if set(wanted) & set(rooms) and skip != number
        ]
        assert wire.direct.events == expected
        assert len(wire.direct.writes) <= 1
    total = sum(len(wire.direct.events) for wire in wires)
    assert (metrics.registry.get_sample_value("bridged_deliveries_total") or 0) == total


@settings(max_examples=300, deadline=None)
@given(
    seats=st.lists(
        st.tuples(some_rooms, st.booleans(), st.booleans(), st.integers(0, 2)), min_size=1, max_size=6
    ),
    targets=st.lists(some_rooms, max_size=8),
)
def test_nothing_goes_to_a_client_that_is_not_let_in(
    seats: list[tuple[tuple[str, ...], bool, bool, int]], targets: list[tuple[str, ...]]
) -> None:
    """Whatever rooms it is in, and whoever else shares its connection: those get all of theirs, once."""
    memberships, wires = Memberships[Client](), [Wired() for _ in range(3)]
    due: list[set[int]] = [set() for _ in wires]
    for number, (rooms, is_open, recovers, wire) in enumerate(seats):
        client = Seated(str(number), wires[wire], recovers=recovers, is_open=is_open)
        for room in rooms:
            memberships.join("/", room, client)  # type: ignore[arg-type]
        if is_open:
            due[wire] |= {index for index, wanted in enumerate(targets) if set(wanted) & set(rooms)}
    emissions = [
        Emission(route="r", namespace="/", event="e", args=(raw(number),), rooms=rooms)
        for number, rooms in enumerate(targets)
    ]
    Fanout(memberships, Metrics(), head).send(emissions)
    for wire, wanted in zip(wires, due, strict=True):
        numbers = [int(found) for found in re.findall(rb'"e",(\d+)', b"".join(wire.direct.writes))]
        assert set(numbers) == wanted


@settings(max_examples=300, deadline=None)
@given(
    seat=st.tuples(some_rooms, some_rooms),
    deliveries=st.lists(
        st.lists(st.tuples(st.sampled_from(["/", "/b"]), some_rooms), max_size=3), min_size=1, max_size=6
    ),
)
def test_a_cursor_never_hides_an_event(
    seat: tuple[tuple[str, ...], tuple[str, ...]],
    deliveries: list[list[tuple[str, tuple[str, ...]]]],
) -> None:
    """Cut after any event, a client that asks for all behind its cursor misses none; it may get again
    only what comes from the delivery that was cut. Held for both namespaces of one connection.
    """
    memberships = Memberships[Client]()
    wire = Wired()
    for namespace, rooms in zip(("/", "/b"), seat, strict=True):
        client = Seated(namespace, wire, recovers=True)
        for room in rooms:
            memberships.join(namespace, room, client)  # type: ignore[arg-type]
    emissions = [
        Emission(
            route="r",
            namespace=namespace,
            event="e",
            args=(raw(offset * 10 + part),),
            rooms=rooms,
            place=Place(offset, offset),
        )
        for offset, parts in enumerate(deliveries, 1)
        for part, (namespace, rooms) in enumerate(parts)
    ]
    Fanout(memberships, Metrics(), lambda: Place(0, 0).cursor).send(emissions)
    found = re.findall(rb'42(/b,)?\["e",(\d+),"(\d+)-', b"".join(wire.direct.writes))
    for namespace, rooms in zip(("/", "/b"), seat, strict=True):
        wanted = [
            int(bytes(emission.args[0]))
            for emission in emissions
            if emission.namespace == namespace and set(emission.rooms) & set(rooms)
        ]
        got = [
            (int(number), int(offset))
            for prefix, number, offset in found
            if bool(prefix) == (namespace == "/b")
        ]
        assert [number for number, _ in got] == wanted
        for cut, (number, cursor) in enumerate(got, 1):
            replayed = [number for number in wanted if number // 10 > cursor]
            again = [number for number in replayed if number in wanted[:cut]]
            assert [*wanted[:cut], *replayed[len(again) :]] == wanted
            assert all(each // 10 == number // 10 for each in again)
            assert not again or wanted[cut] // 10 == number // 10


def test_clients_with_the_same_events_share_the_bytes() -> None:
    """The frames of a batch are built and joined once, however many clients get them."""
    memberships = Memberships[Client]()
    wires = [Wired() for _ in range(3)]
    for number, wire in enumerate(wires):
        memberships.join("/", EVERYONE, Seated(str(number), wire))  # type: ignore[arg-type]
    Fanout(memberships, Metrics(), head).send([emission("e", number) for number in range(5)])
    first, second, third = (wire.direct.writes[0] for wire in wires)
    assert first is second is third


async def test_a_client_in_two_rooms_whose_events_alternate(running: Running, js: JsClients) -> None:
    """The real client sees them in the order in which they were sent, once each."""
    both = await js.connect(running.url, transports=["websocket"])
    one = await js.connect(running.url, transports=["polling"])
    for client, room in itertools.chain([(both, "a"), (both, "b"), (one, "a")]):
        await client.call("join", room)
    running.fanout.send([emission("e", number, room="a" if number % 2 else "b") for number in range(10)])
    assert [args[0] for args in await both.wait_for("e", 10)] == list(range(10))
    assert [args[0] for args in await one.wait_for("e", 5)] == [1, 3, 5, 7, 9]


async def test_a_skipped_client_gets_nothing(running: Running, js: JsClients) -> None:
    """`except: sender` is one client, not its user or connection."""
    sender = await js.connect(running.url)
    other = await js.connect(running.url)
    running.fanout.send([emission("e", 1, skip_sid=sender.sid), emission("e", 2)])
    assert await other.wait_for("e", 2) == [[1], [2]]
    assert await sender.wait_for("e", 1) == [[2]]


async def test_a_websocket_is_written_to_before_send_returns(running: Running, js: JsClients) -> None:
    """An event leaves in the same turn of the loop."""
    await js.connect(running.url, transports=["websocket"])
    (client,) = running.gateway.clients.values()
    connection = client.connection  # type: ignore[attr-defined]
    assert isinstance(connection, Connection)
    assert connection.direct is not None
    running.send("e", 1)
    assert connection.waiting == 0
