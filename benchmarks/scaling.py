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
from benchmarks.servers import Server, make_token, raise_file_limit
from dev.broker import BrokerError, PrivateBroker

_ROOMS: Final = 1000
_STALLED: Final = 30.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")


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
        total = 0
        for pid in self.pids:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        return total / _TICKS

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
    """Seconds of all workers."""
    p50: float | None = None
    p99: float | None = None

    def to_row(self) -> str:
        """As a row of the table."""
        per_event = self.cpu / self.events * 1e6
        per_delivery = f"{self.cpu / self.deliveries * 1e6:,.2f}" if self.deliveries > self.events else ""
        times = f"{self.p50:.2f} | {self.p99:.2f}" if self.p50 is not None else " | "
        return f"| {self.load} | {self.workers} | {per_event:,.0f} | {per_delivery} | {times} |"


class Setting(Struct, frozen=True, kw_only=True):
    """What every measurement needs."""

    folder: Path
    program: Path
    url: str
    workers: int
    seconds: float
    clients: int


@contextmanager
def _running(setting: Setting, clients: int, rooms: int) -> Iterator[tuple[Workers, Load, Publisher]]:
    """A daemon with clients in one room, or each in its own of several; not all rooms need have one."""
    declare_exchanges(setting.url, "bench.commands")
    server = Workers(setting.workers, setting.url, setting.folder)
    with server, Load(setting.program) as load:
        load.connect(clients, server.port, make_token(), each_its_room=rooms > 1)
        publisher = Publisher(setting.url, rooms)
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
        cpu = server.cpu_seconds()
        publisher.send_paced(events, rate)
        load.wait(_has(wanted), _STALLED, f"{wanted} deliveries")
        cpu = server.cpu_seconds() - cpu
        load.check()
    timings = load.report()
    return Figure(
        load=name,
        workers=setting.workers,
        events=events,
        deliveries=wanted,
        cpu=cpu,
        p50=timings.p50 if each else None,
        p99=timings.p99 if each else None,
    )


def _flood(setting: Setting, server: Workers, load: Load, publisher: Publisher, name: str) -> Figure:
    """Publish as fast as the broker takes it; at rest, all workers have read all."""
    for events in (10_000, 40_000):
        load.command("reset")
        cpu = server.cpu_seconds()
        publisher.send_all(events)
        load.wait(_has(events // _ROOMS), _STALLED, "the last event")
        used = _settle(server) - cpu
    return Figure(load=name, workers=setting.workers, events=events, deliveries=0, cpu=used)


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


def measure_memory(setting: Setting) -> tuple[float, float]:
    """MB of all processes with one connection, and kB for each further one."""
    with _running(setting, 1, _ROOMS) as (server, _, _publisher):
        time.sleep(1.0)
        empty = server.resident_bytes()
        second = setting.program.with_name("load-2")
        second.write_bytes(setting.program.read_bytes())
        second.chmod(0o700)
        with Load(second) as load:
            load.connect(setting.clients, server.port, make_token(), each_its_room=True)
            time.sleep(2.0)
            full = server.resident_bytes()
            load.check()
    return empty / 1e6, (full - empty) / 1000 / setting.clients


def main(environ: Mapping[str, str]) -> None:
    """Measure, and print one table."""
    seconds, clients = float(environ.get("SECONDS") or 6), int(environ.get("CLIENTS") or 1000)
    raise_file_limit(clients + 2000)
    print(f"{describe_machine()}\n")
    print("| load | workers | CPU us/event | CPU us/delivery | p50 ms | p99 ms |\n|---|--:|--:|--:|--:|--:|")
    memory: list[str] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        broker = PrivateBroker(folder / "broker")
        broker.start()
        try:
            program, numbers = compile_load(folder), count()
            for workers in map(int, (environ.get("WORKERS") or "1,2,4").split(",")):
                vhosts = [f"scaling-{next(numbers)}" for _ in range(2)]
                broker.add_vhost(*vhosts)
                first, second = (
                    Setting(
                        folder=folder,
                        program=program,
                        url=f"{broker.url}/{vhost}",
                        workers=workers,
                        seconds=seconds,
                        clients=clients,
                    )
                    for vhost in vhosts
                )
                for figure in measure_all(first):
                    print(figure.to_row(), flush=True)
                empty, each = measure_memory(second)
                memory.append(f"| {workers} | {empty:.0f} | {each:.1f} |")
        finally:
            broker.stop()
    print("\n| workers | MB of all | kB/connection |\n|--:|--:|--:|")
    print("\n".join(memory))


if __name__ == "__main__":
    try:
        main(os.environ)
    except (BenchError, BrokerError) as error:
        sys.exit(f"benchmarks.scaling: {error}")
