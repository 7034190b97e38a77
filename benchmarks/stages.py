"""`python -m benchmarks.stages`: what an event for one of 1,000 clients costs, stage by stage.

The bridge's own parts, put together as the daemon does, take what RabbitMQ would send them; no broker,
client or network takes part. Run in two checkouts in turn, it tells them apart. For docs/profile.md.

Variables: BATCH=20, events that come at once; BATCHES=1500.
"""

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, cast

import msgspec
from msgspec import Struct
from pamqp import commands, frame, header

from benchmarks.publisher import REST_OF_BODY, begin_body
from benchmarks.report import describe_machine
from benchmarks.servers import HERE
from bridge.amqp.deliveries import to_stream_delivery
from bridge.amqp.events import Content, Deliveries
from bridge.amqp.parser import Parser
from bridge.cli.loading import load_project
from bridge.flow.ports import Client
from bridge.rules.compile import Rules
from bridge.rules.event_plan import plan_event
from bridge.telemetry.metrics import Metrics
from bridge.wiring import Broker, People, Reading, Shared

_ROOMS: Final = 1000
_RUNS: Final = 5


class _Direct:
    """A transport that takes all bytes and costs nothing."""

    def is_closing(self) -> bool:
        return False

    def write(self, frames: bytes) -> None:
        """Take them."""

    def get_write_buffer_size(self) -> int:
        return 0


class _Connection:
    def __init__(self) -> None:
        self.direct = _Direct()

    def write_directly(self, direct: _Direct, frames: bytes) -> None:
        direct.write(frames)
        direct.get_write_buffer_size()


class _Client:
    """What the fan-out looks at of a client."""

    hears_plain = True
    hears_cursors = False

    def __init__(self, number: int) -> None:
        self.sid = str(number)
        self.connection = _Connection()


class _Costs(Struct):
    """Seconds of the processor's time, of all events of one run."""

    parse: float = 0.0
    convert: float = 0.0
    plan: float = 0.0
    send: float = 0.0
    handle: float = 0.0
    """`plan` and `send` included."""
    code: float = 0.0
    """Of `plan`: to decode and encode the body."""


class _Clock:
    """Adds up what each step takes."""

    def __init__(self) -> None:
        self._since = time.process_time_ns()

    def lap(self) -> float:
        """Seconds since the last lap."""
        since, self._since = self._since, time.process_time_ns()
        return (self._since - since) / 1e9


def main(environ: Mapping[str, str]) -> None:
    """Measure and print a table in Markdown."""
    batch, batches = int(environ.get("BATCH") or 20), int(environ.get("BATCHES") or 1500)
    stands_in = {"AMQP_URL": "amqp://nobody/", "JWT_SECRET": "x" * 40, "PORT": "8000"}
    rules = load_project(HERE / "config" / "bridge.yaml", None, stands_in).rules
    runs = [_run(rules, list(_receive(run, batch, batches))) for run in range(_RUNS)]
    events = batch * batches / 1e6

    def median(figure: Callable[[_Costs], float]) -> float:
        return statistics.median(map(figure, runs)) / events

    rows = [
        ("frames into messages", median(lambda costs: costs.parse)),
        ("properties, offset and checksum", median(lambda costs: costs.convert)),
        ("body decoded, checked, encoded (msgspec)", median(lambda costs: costs.code)),
        ("the rest of the plan: route, rooms, age", median(lambda costs: costs.plan - costs.code)),
        ("fan-out: members, frames, connections", median(lambda costs: costs.send)),
        (
            "ids, last values, history, metrics",
            median(lambda costs: costs.handle - costs.plan - costs.send),
        ),
        ("**all of it**", median(lambda costs: costs.parse + costs.convert + costs.handle)),
    ]
    print(f"{describe_machine()}\n\n{batch} events at once.\n\n| stage | us per event |\n|---|---:|")
    for name, microseconds in rows:
        print(f"| {name} | {microseconds:.2f} |")


def _receive(run: int, batch: int, batches: int) -> Iterator[bytes]:
    """The bytes of all batches, as the broker sends a stream."""
    first = run * batch * batches
    for begin in range(first, first + batch * batches, batch):
        yield b"".join([_encode(number) for number in range(begin, begin + batch)])


def _encode(number: int) -> bytes:
    body = begin_body(number // _ROOMS, number) + REST_OF_BODY
    deliver = commands.Basic.Deliver(
        consumer_tag="ctag1.abcdef0123456789",
        delivery_tag=number + 1,
        redelivered=False,
        exchange="bench.events",
        routing_key=f"bench.r{number % _ROOMS}.tick",
    )
    properties = commands.Basic.Properties(
        content_type="application/json",
        headers={"x-stream-offset": 2**33 + number},
        delivery_mode=2,
        message_id=f"{number:016d}",
        timestamp=datetime.now(UTC),
        app_id="benchmark",
    )
    return (
        frame.marshal(deliver, 1)
        + frame.marshal(header.ContentHeader(0, len(body), properties), 1)
        + b"\x03\x00\x01%s%s\xce" % (len(body).to_bytes(4, "big"), body)
    )


def _run(rules: Rules, chunks: Sequence[bytes]) -> _Costs:
    """One run of everything, with nothing left of the one before."""
    metrics = Metrics()
    broker = Broker(rules, metrics)
    shared = Shared(broker)
    people = People(broker, shared)
    for number in range(_ROOMS):
        people.memberships.join("/bench", f"r{number}", cast(Client, _Client(number)))
    reading = Reading(broker, shared, people, on_caught_up=_nothing, on_new_epoch=_nothing)
    reading.downlink.caught_up()
    [way] = rules.ways.find("bench.events", "bench.r0.tick")
    schema, encode = way.route.body, msgspec.json.Encoder().encode
    assert schema is not None  # noqa: S101  the benchmark's route has one
    parser, costs = Parser(131_072), _Costs()
    gc.collect()
    gc.freeze()
    for chunk in chunks:
        clock = _Clock()
        contents = _contents(parser, chunk)
        costs.parse += clock.lap()
        deliveries = [to_stream_delivery(content) for content in contents]
        costs.convert += clock.lap()
        for delivery in deliveries:
            encode(schema.decode(delivery.body))
        costs.code += clock.lap()
        plans = [plan_event(rules, delivery, time.time()) for delivery in deliveries]
        costs.plan += clock.lap()
        emissions = [emission for plan in plans for emission in plan.emissions]
        clock.lap()
        people.fanout.send(emissions)
        costs.send += clock.lap()
        reading.downlink.handle(deliveries)
        costs.handle += clock.lap()
    return costs


def _contents(parser: Parser, chunk: bytes) -> list[Content]:
    [item] = parser.receive(chunk)
    assert isinstance(item, Deliveries)  # noqa: S101  nothing else was encoded
    return item.contents


def _nothing() -> None:
    """Nobody waits for the log to be read."""


if __name__ == "__main__":
    main(os.environ)
