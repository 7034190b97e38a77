"""`python -m benchmarks.floor`: what kernel and broker take for themselves, whoever writes the bridge.

Each figure is of a program that does nothing else: a write to one of 1,000 sockets; a read and a write, which
a command cannot do without; the way from a publisher's write through the broker to a consumer's read. For
docs/profile.md.
"""

import multiprocessing
import selectors
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final, cast

from benchmarks.publisher import BODY_BYTES, Publisher, consume, declare_exchanges, take_times
from benchmarks.report import describe_machine
from dev.broker import BrokerError, PrivateBroker

_SOCKETS: Final = 1000
_FRAME: Final = bytes(BODY_BYTES + 30)
"""As long as what a client is sent for one event."""
_BATCH: Final = 20
_BATCHES: Final = 1500
_PAUSE: Final = 0.001
"""Seconds between two batches, in which the other side comes to rest."""
_RUNS: Final = 5
_EVENTS: Final = 5000
_RATE: Final = 1000
"""Events a second."""
_PATIENCE: Final = 30.0


def main() -> None:
    """Measure, and print a table in Markdown."""
    rows = [
        ("one write to one of 1,000 sockets, CPU us", statistics.median(measure_writes(answered=False))),
        ("one read and one write, CPU us", statistics.median(measure_writes(answered=True))),
        *_measure_broker(),
    ]
    print(f"{describe_machine()}\n\n| what | |\n|---|---:|")
    for name, figure in rows:
        print(f"| {name} | {figure:.2f} |")


def measure_writes(*, answered: bool, batch: int = _BATCH, batches: int = _BATCHES) -> Iterator[float]:
    """CPU microseconds of this process for each write, run by run, while another process reads.

    `answered`: the other side sends one frame first, which is read.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=_SOCKETS) as server:
        port: int = server.getsockname()[1]
        other = _begin(_take, port, answered)
        sockets = [server.accept()[0] for _ in range(_SOCKETS)]
    for connection in sockets:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(_RUNS):
        spent = 0
        for begin in range(0, batch * batches, batch):
            some = [sockets[number % _SOCKETS] for number in range(begin, begin + batch)]
            since = time.process_time_ns()
            for connection in some:
                if answered:
                    connection.recv(65_536)
                connection.send(_FRAME)
            spent += time.process_time_ns() - since
            time.sleep(_PAUSE)
        yield spent / (batch * batches) / 1e3
    for connection in sockets:
        connection.close()
    other.join()


def _take(port: int, answers: bool) -> None:
    """Read all connections until they end; with `answers`, send a frame at first and for each that came."""
    selector = selectors.DefaultSelector()
    for _ in range(_SOCKETS):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ)
        if answers:
            connection.send(_FRAME)
    while selector.get_map():
        for key, _ in selector.select():
            connection = cast(socket.socket, key.fileobj)
            try:
                came = connection.recv(65_536)
                if came and answers:
                    connection.send(_FRAME)
            except ConnectionError:
                came = b""
            if not came:
                selector.unregister(connection)
                connection.close()


def _measure_broker() -> Iterator[tuple[str, float]]:
    """Medians of the way through the broker, at 1,000 events/s."""
    with tempfile.TemporaryDirectory(prefix="floor-") as folder:
        broker = PrivateBroker(Path(folder) / "broker")
        broker.start()
        try:
            for kind in ("stream", "classic"):
                yield f"publisher to consumer, {kind} queue, p50 ms", measure_way(broker.url, kind)
        finally:
            broker.stop()


def measure_way(url: str, kind: str, events: int = _EVENTS) -> float:
    """Milliseconds from a publisher's write to a consumer's read, the median; they are two processes."""
    declare_exchanges(url, f"commands-{kind}")
    publisher = Publisher(url, 1)
    ours, theirs = multiprocessing.Pipe(duplex=False)
    consumer = _begin(_note_waits, url, kind, events, theirs)
    ours.recv()
    publisher.send_paced(events, _RATE)
    if not ours.poll(_PATIENCE):
        consumer.kill()
        raise BrokerError(f"not all of {events} events came")
    waits: list[int] = ours.recv()
    publisher.close()
    consumer.join()
    return statistics.median(waits) / 1e3


def _note_waits(url: str, kind: str, events: int, answer: Connection) -> None:
    """Tell when it consumes, and then the microseconds of each event, once all have come."""
    waits: list[int] = []
    rest = b""
    with consume(url, f"floor-{kind}", kind) as consumer:
        answer.send(None)
        while len(waits) < events:
            received = consumer.recv(65_536)
            now = time.monotonic_ns() // 1000
            times, rest = take_times(rest + received)
            waits += [now - sent for sent in times]
    answer.send(waits)


def _begin(work: Callable[..., None], *args: object) -> BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=work, args=args, daemon=True)
    process.start()
    return process


if __name__ == "__main__":
    main()
