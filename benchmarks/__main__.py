"""`make bench`: runs the bridge and its rivals side by side, checks all that arrives, prints one table.

Variables: BENCH=fanout,unicast,commands,idle,slow,warmup,scale (all), SYSTEMS=bridge,bridge-queue,stock,node
(all), QUICK=1 for about two minutes instead of forty, REPEAT=n for medians of n.
"""

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.load import BenchError, compile_load
from benchmarks.report import describe_machine, write_report
from benchmarks.results import Row, median, to_table
from benchmarks.scale import SCALES
from benchmarks.scenarios import SCENARIOS, Bench
from benchmarks.servers import SYSTEMS, raise_file_limit
from dev.broker import BrokerError, PrivateBroker

_RIVALLED: Final = {"bridge-queue": ("unicast",), "stock": tuple(set(SCENARIOS) - {"warmup", "scale"})}
"""Who takes part in some scenarios only: the queue is slower to read, the stock bridge would take hours."""
_VHOSTS: Final = 16


def main(environ: Mapping[str, str]) -> int:
    """Measure what the variables ask for; 1 when a measurement was not valid."""
    size = environ.get("SCALE") or ("quick" if environ.get("QUICK") else "full")
    scale = SCALES[size]
    scenarios = _chosen(environ.get("BENCH"), SCENARIOS, "BENCH")
    systems = _chosen(environ.get("SYSTEMS"), SYSTEMS, "SYSTEMS")
    repeat = int(environ.get("REPEAT") or scale.repeat)
    if (short := raise_file_limit(scale.idle + 2000)) is not None:
        print(f"Warning: {short}; runs with many clients may fail", file=sys.stderr)
    rows: list[Row] = []
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        broker = PrivateBroker(folder / "broker")
        broker.start()
        try:
            urls = _vhosts(broker)
            bench = Bench(
                scale=scale, folder=folder, load_program=compile_load(folder), next_url=lambda: next(urls)
            )
            for scenario in scenarios:
                for system in systems:
                    if scenario in _RIVALLED.get(system, SCENARIOS):
                        rows += _run(bench, scenario, system, repeat, failures)
        finally:
            broker.stop()
    rows = _by_load(rows)
    print(f"\n{describe_machine()}\n\n{to_table(rows)}")
    if size == "full" and len(scenarios) == len(SCENARIOS) and len(systems) == len(SYSTEMS) and not failures:
        for path in write_report(rows, scale, repeat):
            print(f"wrote {path}")
    if output := environ.get("OUTPUT"):
        Path(output).write_bytes(msgspec.json.encode(rows))
    for failure in failures:
        print(f"NOT VALID: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _run(bench: Bench, scenario: str, system: str, repeat: int, failures: list[str]) -> list[Row]:
    """The medians of one scenario with one system."""
    runs: list[list[Row]] = []
    for _ in range(repeat):
        try:
            runs.append(list(SCENARIOS[scenario](bench, system)))
        except (BenchError, OSError) as error:
            failures.append(f"{scenario}, {system}: {error}")
            print(f"{scenario:8} {system:12} not valid", flush=True)
            continue
        for row in runs[-1]:
            figures = [
                f"{name}={value:,.2f}"
                for name in ("cpu", "rate", "p50", "p99", "memory")
                if (value := getattr(row, name)) is not None
            ]
            print(f"{scenario:8} {system:12} {row.load:32} {' '.join(figures)} {row.note}", flush=True)
    return [median(rows) for rows in zip(*runs, strict=True)]


def _by_load(rows: Iterable[Row]) -> list[Row]:
    """What is to be compared stands together."""
    order: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        order.setdefault((row.scenario, row.load), []).append(row)
    return [row for together in order.values() for row in together]


def _chosen(text: str | None, known: Iterable[str], variable: str) -> list[str]:
    wanted = [word for word in (text or "").split(",") if word] or list(known)
    for word in wanted:
        if word not in known:
            raise SystemExit(f'{variable}: unknown "{word}" (known: {", ".join(known)})')
    return wanted


def _vhosts(broker: PrivateBroker) -> Iterator[str]:
    """Fresh virtual hosts; made in batches, since each `rabbitmqctl` takes a second."""
    numbers = count()
    while True:
        names = [f"bench-{next(numbers)}" for _ in range(_VHOSTS)]
        broker.add_vhost(*names)
        for name in names:
            yield f"{broker.url}/{name}"


if __name__ == "__main__":
    try:
        sys.exit(main(os.environ))
    except (BenchError, BrokerError) as error:
        sys.exit(f"make bench: {error}")
