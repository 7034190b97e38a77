"""`python -m benchmarks.scaling`: what the same load costs on 1, 2 and 4 workers, for docs/scaling.md.

Variables: WORKERS=1,2,4, SECONDS=6, CLIENTS=1000. The figure to trust is CPU time, of all workers together:
broker, publisher and clients take their part of the same cores, so rates say little.
"""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Final

from msgspec import Struct

from benchmarks.load import BenchError, Load, Progress, compile_load
from benchmarks.publisher import Publisher, declare_exchanges
from benchmarks.report import describe_machine
from benchmarks.servers import Server, make_token, raise_file_limit, read_cpu_seconds
from dev.broker import BrokerError, PrivateBroker

_ROOMS: Final = 1000
_STALLED: Final = 30.0


class Workers(Server):
    """The bridge as `bridged run --workers N`, measured as a whole."""

    def __init__(self, workers: int, amqp_url: str, folder: Path) -> None:
        super().__init__("bridge", amqp_url, folder)
        self._workers = workers

    @property
    def pids(self) -> list[int]:
        """All processes that serve: with one worker there is no parent."""
        if self._workers == 1:
            return [self.pid]
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text(encoding="ascii")
        return [self.pid, *map(int, children.split())]

    def stop(self) -> None:
        """End all at once; the parent first, or it would start the others again."""
        workers = self.pids[1:] if self._process is not None else []
        super().stop()
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def cpu_seconds(self) -> float:
        """User and system time of all processes so far."""
        return sum(map(read_cpu_seconds, self.pids))

    def resident_bytes(self) -> int:
        """Memory of all processes; what they share counts once."""
        total = 0
        for pid in self.pids:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return total * 1024

    def _command(self) -> list[str]:
        return [*super()._command(), "--workers", str(self._workers)]


class Figure(Struct, frozen=True, kw_only=True):
    """One measurement."""

    load: str
    workers: int
    events: int
    deliveries: int
    cpu: float
    """Seconds of all workers ..."""
    broker: float
    """... and of the broker."""
    p50: float | None = None
    p99: float | None = None

    def to_row(self) -> str:
        """As a row of the table."""
        per_event, broker = (seconds / self.events * 1e6 for seconds in (self.cpu, self.broker))
        per_delivery = f"{self.cpu / self.deliveries * 1e6:,.2f}" if self.deliveries > self.events else ""
        times = f"{self.p50:.2f} | {self.p99:.2f}" if self.p50 is not None else " | "
        return (
            f"| {self.load} | {self.workers} | {per_event:,.0f} | {per_delivery} | {broker:,.0f} | {times} |"
        )


class Setting(Struct, frozen=True, kw_only=True):
    """What every measurement needs."""

    folder: Path
    program: Path
    broker: int
    """Its process."""
    next_url: Callable[[], str]
    """Of a virtual host that nobody has used: publishers begin with the same message ids."""
    workers: int
    seconds: float
    clients: int


@contextmanager
def _running(setting: Setting, clients: int, rooms: int) -> Iterator[tuple[Workers, Load, Publisher]]:
    """A daemon with clients in one room, or each in its own of several; not all rooms need have one."""
    url = setting.next_url()
    declare_exchanges(url, "bench.commands")
    server = Workers(setting.workers, url, setting.folder)
    with server, Load(setting.program) as load:
        load.connect(clients, server.port, make_token(), each_its_room=rooms > 1)
        publisher = Publisher(url, rooms)
        try:
            yield server, load, publisher
        finally:
            publisher.close()


def measure_all(setting: Setting) -> Iterator[Figure]:
    """All loads on so many workers."""
    with _running(setting, 1, _ROOMS) as (server, load, publisher):
        for rate in (1000, 4000):
            yield _pace(setting, server, load, publisher, f"{rate:,} events/s, nobody in the room", rate, 0)
        yield _flood(setting, server, load, publisher, "backlog, nobody in the room")
    with _running(setting, _ROOMS, _ROOMS) as (server, load, publisher):
        yield _pace(setting, server, load, publisher, "1,000 events/s, one client in each room", 1000, 1)
    with _running(setting, setting.clients, 1) as (server, load, publisher):
        name = f"100 events/s, {setting.clients:,} clients in the room"
        yield _pace(setting, server, load, publisher, name, 100, setting.clients)


def _pace(
    setting: Setting, server: Workers, load: Load, publisher: Publisher, name: str, rate: int, each: int
) -> Figure:
    """Publish at a rate; `each` is how many clients an event goes to, 0 for one of a thousand."""
    for seconds in (setting.seconds / 4, setting.seconds):
        events = max(_ROOMS, round(rate * seconds) // _ROOMS * _ROOMS) if each <= 1 else round(rate * seconds)
        wanted = events * each if each else events // _ROOMS
        load.command("reset")
        cpu, broker = server.cpu_seconds(), read_cpu_seconds(setting.broker)
        publisher.send_paced(events, rate)
        load.wait(_has(wanted), _STALLED, f"{wanted} deliveries")
        cpu, broker = server.cpu_seconds() - cpu, read_cpu_seconds(setting.broker) - broker
        load.check()
    timings = load.report()
    return Figure(
        load=name,
        workers=setting.workers,
        events=events,
        deliveries=wanted,
        cpu=cpu,
        broker=broker,
        p50=timings.p50 if each else None,
        p99=timings.p99 if each else None,
    )


def _flood(setting: Setting, server: Workers, load: Load, publisher: Publisher, name: str) -> Figure:
    """Publish as fast as the broker takes it; at rest, all workers have read all."""
    much = max(_ROOMS, round(setting.seconds * 8000) // _ROOMS * _ROOMS)
    for events in (_ROOMS, much):
        load.command("reset")
        cpu, broker = server.cpu_seconds(), read_cpu_seconds(setting.broker)
        publisher.send_all(events)
        load.wait(_has(events // _ROOMS), _STALLED, "the last event")
        cpu, broker = _settle(server) - cpu, read_cpu_seconds(setting.broker) - broker
    return Figure(load=name, workers=setting.workers, events=events, deliveries=0, cpu=cpu, broker=broker)


def _settle(server: Workers) -> float:
    """The CPU time once it does not grow any more: the other workers have caught up as well."""
    before = server.cpu_seconds()
    while True:
        time.sleep(0.5)
        now = server.cpu_seconds()
        if now - before < 0.03:
            return now
        before = now


def _has(wanted: int) -> Callable[[Progress], bool]:
    return lambda now: now.delivered >= wanted


def measure_connections(setting: Setting) -> str:
    """What connections cost, as a row: memory of all processes, of each connection; connecting; a ping."""
    url = setting.next_url()
    declare_exchanges(url, "bench.commands")
    server = Workers(setting.workers, url, setting.folder)
    with server, Load(setting.program) as load:
        time.sleep(1.0)
        empty, cpu = server.resident_bytes(), server.cpu_seconds()
        load.connect(setting.clients, server.port, make_token(), each_its_room=True)
        connecting = server.cpu_seconds() - cpu
        time.sleep(2.0)
        each, cpu = (server.resident_bytes() - empty) / 1000 / setting.clients, server.cpu_seconds()
        time.sleep(2 * setting.seconds)  # one ping a second for each
        pings = server.cpu_seconds() - cpu
        load.check()
    figures = (
        f"{empty / 1e6:.0f}",
        f"{each:.1f}",
        f"{connecting / setting.clients * 1e6:,.0f}",
        f"{pings / setting.clients / setting.seconds / 2 * 1e6:.0f}",
    )
    return f"| {setting.workers} | {' | '.join(figures)} |"


def _make_vhosts(broker: PrivateBroker) -> Iterator[str]:
    """The URLs of fresh virtual hosts; made in batches, since each `rabbitmqctl` takes a second."""
    numbers = count()
    while True:
        names = [f"scaling-{next(numbers)}" for _ in range(4)]
        broker.add_vhost(*names)
        for name in names:
            yield f"{broker.url}/{name}"


def main(environ: Mapping[str, str]) -> None:
    """Measure, and print one table."""
    seconds, clients = float(environ.get("SECONDS") or 6), int(environ.get("CLIENTS") or 1000)
    raise_file_limit(clients + 2000)
    print(f"{describe_machine()}\n")
    print("| load | workers | CPU us/event | us/delivery | broker us/event | p50 ms | p99 ms |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    rows: list[str] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        broker = PrivateBroker(folder / "broker")
        broker.start()
        try:
            program, urls = compile_load(folder), _make_vhosts(broker)
            for workers in map(int, (environ.get("WORKERS") or "1,2,4").split(",")):
                setting = Setting(
                    folder=folder,
                    program=program,
                    broker=broker.pid,
                    next_url=lambda: next(urls),
                    workers=workers,
                    seconds=seconds,
                    clients=clients,
                )
                for figure in measure_all(setting):
                    print(figure.to_row(), flush=True)
                os.environ["PING_INTERVAL"] = "1s"
                rows.append(measure_connections(setting))
                del os.environ["PING_INTERVAL"]
        finally:
            broker.stop()
    print("\n| workers | MB of all | kB/connection | CPU us/connecting | us/ping |\n|--:|--:|--:|--:|--:|")
    print("\n".join(rows))


if __name__ == "__main__":
    try:
        main(os.environ)
    except (BenchError, BrokerError) as error:
        sys.exit(f"benchmarks.scaling: {error}")
