"""The measurements: each starts a server anew on a fresh virtual host, loads it, checks what arrived."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from benchmarks.load import BenchError, Load
from benchmarks.publisher import Publisher, count_messages, declare_exchanges
from benchmarks.results import Row
from benchmarks.scale import Scale
from benchmarks.servers import Server, make_token

_COMMANDS: Final = "bench.commands"
_WINDOW: Final = 1000
"""Events under way under backlog: more than the bridge takes at once, less than may wait for a client."""
_UNBATCHED: Final = 100
"""The same for the others, who take events one by one and would take minutes to empty more."""
_STALLED: Final = 30.0
_SMALL_BUFFER: Final = 65_536


class Bench(Struct, frozen=True, kw_only=True):
    """What every measurement needs."""

    scale: Scale
    folder: Path
    load_program: Path
    next_url: Callable[[], str]
    """The AMQP URL of a virtual host that nobody has used."""


class _Run(Struct, kw_only=True):
    """One server with its clients, before anything is sent."""

    server: Server
    load: Load
    publisher: Publisher
    url: str


@contextmanager
def _running(
    bench: Bench, system: str, clients: int, *, each_its_room: bool, buffer: int = 0
) -> Iterator[_Run]:
    url = bench.next_url()
    declare_exchanges(url, _COMMANDS)
    with Server(system, url, bench.folder) as server, Load(bench.load_program) as load:
        load.connect(clients, server.port, make_token(), each_its_room=each_its_room, buffer=buffer)
        publisher = Publisher(url, clients if each_its_room else 1)
        try:
            yield _Run(server=server, load=load, publisher=publisher, url=url)
        finally:
            publisher.close()


def _measure(run: _Run, scenario: str, size: int, load: str, each: int, send: Callable[[], int]) -> Row:
    """Send events, wait until each has been delivered `each` times, and say what it cost."""
    run.load.command("reset")
    cpu, begin = run.server.cpu_seconds(), time.monotonic()
    wanted = send() * each
    run.load.wait(lambda now: now.delivered >= wanted, _STALLED, f"{wanted} deliveries")
    seconds, cpu = time.monotonic() - begin, run.server.cpu_seconds() - cpu
    run.load.check()
    if run.load.progress.delivered != wanted:
        raise BenchError(f"{run.load.progress.delivered} deliveries instead of {wanted}")
    timings = run.load.report()
    return Row(
        scenario=scenario,
        size=size,
        load=load,
        system=run.server.system,
        cpu=cpu / wanted * 1e6,
        rate=wanted / seconds,
        p50=timings.p50,
        p99=timings.p99,
    )


def _paced(run: _Run, scenario: str, size: int, load: str, each: int, rate: int, seconds: float) -> Row:
    """Send events at their times, after a few that warm the server up."""
    count = max(1, round(rate * seconds))

    def send(events: int) -> int:
        run.publisher.send_paced(events, rate)
        return events

    _measure(run, scenario, size, load, each, lambda: send(max(1, count // 4)))
    row = _measure(run, scenario, size, load, each, lambda: send(count))
    offered = rate * each
    kept_up = row.rate is not None and row.rate >= 0.9 * offered
    return row if kept_up or seconds < 1 else _with_note(row, "did not keep up")


def _with_note(row: Row, note: str) -> Row:
    return Row(**{name: getattr(row, name) for name in Row.__struct_fields__ if name != "note"}, note=note)


def _backlog(run: _Run, scenario: str, size: int, load: str, each: int, window: int, seconds: float) -> Row:
    """Always have events waiting; how long each waited says nothing then."""

    def send(seconds: float) -> int:
        taken = run.load.progress.delivered

        def done() -> int:
            return (run.load.progress.delivered - taken) // each

        return run.publisher.send_ahead(seconds, window, done)

    _measure(run, scenario, size, load, each, lambda: send(seconds / 4))
    row = _measure(run, scenario, size, load, each, lambda: send(seconds))
    fields = {name: getattr(row, name) for name in Row.__struct_fields__}
    return Row(**{**fields, "p50": None, "p99": None})


def _window(system: str) -> int:
    return _WINDOW if system.startswith("bridge") else _UNBATCHED


def fanout(bench: Bench, system: str) -> Iterator[Row]:
    """One room with everybody in it."""
    for clients, rate in bench.scale.clients:
        with _running(bench, system, clients, each_its_room=False) as run:
            load = f"{clients:,} clients, {rate:,} events/s"
            yield _paced(run, "fan-out", clients, load, clients, rate, bench.scale.seconds)
            load = f"{clients:,} clients, backlog"
            yield _backlog(run, "fan-out", clients, load, clients, _window(system), bench.scale.seconds)


def unicast(bench: Bench, system: str) -> Iterator[Row]:
    """A room for each client."""
    rooms, rate = bench.scale.rooms, bench.scale.unicast_rate
    with _running(bench, system, rooms, each_its_room=True) as run:
        load = f"{rooms:,} rooms, {rate:,} events/s"
        yield _paced(run, "unicast", rooms, load, 1, rate, bench.scale.seconds)
        load = f"{rooms:,} rooms, backlog"
        yield _backlog(run, "unicast", rooms, load, 1, 2 * _WINDOW, bench.scale.seconds)


def scale(bench: Bench, system: str) -> Iterator[Row]:
    """Cost against the number of clients in one room, and of rooms with one client each."""
    for clients in bench.scale.scale_clients:
        with _running(bench, system, clients, each_its_room=False) as run:
            load = f"{clients:,} clients"
            yield _backlog(
                run, "scale: clients", clients, load, clients, _window(system), bench.scale.seconds
            )
    for rooms in bench.scale.scale_rooms:
        with _running(bench, system, rooms, each_its_room=True) as run:
            load = f"{rooms:,} rooms"
            yield _backlog(run, "scale: rooms", rooms, load, 1, 2 * _WINDOW, bench.scale.seconds)


def idle(bench: Bench, system: str) -> Iterator[Row]:
    """Memory of connections that do nothing, each signed in and in a room of its own."""
    with _running(bench, system, 1, each_its_room=True) as run, Load(_second(bench.load_program)) as load:
        before = run.server.resident_bytes()
        load.connect(bench.scale.idle, run.server.port, make_token(), each_its_room=True)
        time.sleep(min(2.0, bench.scale.seconds))  # for what is left over from the handshakes to go
        grown = run.server.resident_bytes() - before
        load.check()
    yield Row(
        scenario="idle memory",
        size=bench.scale.idle,
        load=f"{bench.scale.idle:,} connections",
        system=system,
        memory=grown / 1000 / bench.scale.idle,
    )


def _second(program: Path) -> Path:
    """The program under another name, since each process keeps its counts in a file beside it."""
    second = program.with_name(f"{program.name}-2")
    second.write_bytes(program.read_bytes())
    second.chmod(0o700)
    return second


def commands(bench: Bench, system: str) -> Iterator[Row]:
    """Clients that send the next command when the last is acknowledged, which is when the broker has it."""
    clients = bench.scale.commanders
    with _running(bench, system, clients, each_its_room=False) as run:
        run.load.command("reset")
        cpu, begin = run.server.cpu_seconds(), time.monotonic()
        run.load.command("loop")
        time.sleep(bench.scale.seconds)
        run.load.command("rest")
        run.load.wait(lambda now: now.acked + now.refused == now.asked, _STALLED, "the last acks")
        seconds, cpu = time.monotonic() - begin, run.server.cpu_seconds() - cpu
        run.load.check()
        now, timings = run.load.progress, run.load.report()
        kept = count_messages(run.url, _COMMANDS)
        if now.refused or kept != now.acked:
            raise BenchError(
                f"{now.acked} commands acknowledged, {now.refused} refused, {kept} at the broker"
            )
    yield Row(
        scenario="commands",
        size=clients,
        load=f"{clients} clients, closed loop",
        system=system,
        cpu=cpu / now.acked * 1e6,
        rate=now.acked / seconds,
        p50=timings.p50,
        p99=timings.p99,
    )


def slow(bench: Bench, system: str) -> Iterator[Row]:
    """One client stops reading: what the others feel, what the server keeps, when it gives the client up."""
    clients, rate = bench.scale.slow_clients, bench.scale.slow_rate
    with _running(bench, system, clients, each_its_room=False, buffer=_SMALL_BUFFER) as run:
        port = int(run.load.command("stall 0"))
        run.load.command("reset")
        cpu, before, begin = run.server.cpu_seconds(), run.server.resident_bytes(), time.monotonic()
        grown, cut_after, sent = 0, None, 0
        while time.monotonic() - begin < bench.scale.slow_seconds:
            run.publisher.send_paced(rate // 4, rate)
            sent += rate // 4
            grown = max(grown, run.server.resident_bytes() - before)
            if not run.server.serves(port):
                cut_after = time.monotonic() - begin
                break
        wanted = sent * (clients - 1)
        run.load.wait(lambda now: now.delivered >= wanted, _STALLED, f"{wanted} deliveries")
        cpu = run.server.cpu_seconds() - cpu
        run.load.check()
        timings = run.load.report()
    given_up = "not cut" if cut_after is None else f"cut after {cut_after:.0f} s"
    yield Row(
        scenario="slow client",
        size=clients,
        load=f"1 of {clients} stops reading",
        system=system,
        cpu=cpu / wanted * 1e6,
        p50=timings.p50,
        p99=timings.p99,
        memory=grown / 1000,
        note=given_up,
    )


def warmup(bench: Bench, system: str) -> Iterator[Row]:
    """The bridge reads its log before it says that it is ready; the others have none."""
    if system != "bridge":
        return
    url, count = bench.next_url(), bench.scale.logged
    declare_exchanges(url, _COMMANDS)
    server = Server(system, url, bench.folder)
    server.start()
    server.stop()
    begin = time.monotonic()
    with server:
        empty, cpu = time.monotonic() - begin, server.cpu_seconds()
    publisher = Publisher(url, bench.scale.rooms)
    publisher.send_all(count)
    publisher.settle()
    publisher.close()
    begin = time.monotonic()
    with server:
        seconds, cpu = time.monotonic() - begin - empty, server.cpu_seconds() - cpu
    yield Row(
        scenario="warm-up",
        size=count,
        load=f"{count:,} events in the log",
        system=system,
        cpu=cpu / count * 1e6,
        rate=count / max(seconds, 0.001),
    )


SCENARIOS: Final = {
    "fanout": fanout,
    "unicast": unicast,
    "commands": commands,
    "idle": idle,
    "slow": slow,
    "warmup": warmup,
    "scale": scale,
}
