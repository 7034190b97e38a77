"""Writes docs/performance.md: the last whole run, its conditions, what the figures mean, and the plot."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec

from benchmarks.goals import compare_with_goals
from benchmarks.plot import Line, draw_plot
from benchmarks.publisher import BODY_BYTES
from benchmarks.results import Row, to_table
from benchmarks.scale import Scale
from benchmarks.servers import HERE, SYSTEMS
from dev.broker import find_scripts

_DOCS: Final = HERE.parent / "docs"
_PAGE: Final = _DOCS / "performance.md"
_PLOT: Final = _DOCS / "performance.svg"
_SCALE: Final = "scale: "

_TEXT: Final = """\
# Performance

What `make bench` measured last, on one machine and in one go. This page is written by it: do not edit it.

{systems}

Every event is a JSON body of {body} bytes with typed fields. The bridge decodes it into its Struct, encodes
it again, remembers it as its room's last, counts it, and looks at its age; its clients have signed in with a
token, and what they may join and how fast they may send is checked. The other two check nothing. All clients
are on websockets without compression, and are played by a C program that counts and checks: each client's
events must be complete and in order, and each acknowledged command must lie at the broker, else the
measurement is not valid.

{machine}

{when}

{table}

- **CPU-s/M** is user and system time of the server process for a million deliveries (of commands, or of
  events in the log). It is the figure to trust, since it hardly depends on who shares the machine. **x Node**
  compares it, or the memory, with Node's.
- **per second** is what arrived. Under *backlog* events always wait at the broker, so it is the highest rate;
  the server shares the machine with the broker, the publisher and the clients.
- **p50** and **p99** run from the publisher's write to the client's read, broker included. Where one *did
  not keep up* with the rate they only tell how long the measurement was.
- **kB** is the memory of each idle connection; for a slow client, the growth of the whole process. A client
  that does not read is cut by the bridge when more than `limits.outbox_bytes` wait for it, or for longer than
  `limits.outbox_age`; all were watched for {slow:g} s.
- **warm-up** is how fast a starting instance reads the log before it is ready.

## Goals

{goals}

[profile.md](profile.md) says where the time goes, and what stands between these figures and goals that are
not reached.

## Cost and size

![CPU seconds for a million deliveries, against the number of clients in one room and of rooms]({plot})

Both axes are logarithmic: clients in one room on the left, rooms with one client each on the right, always
under backlog.
"""


def describe_machine() -> str:
    """Hardware and versions, in one paragraph."""
    return (
        f"Machine: {_cpu_model()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}. "
        f"Python {platform.python_version()}, uvloop {version('uvloop')}, aiohttp {version('aiohttp')}, "
        f"python-socketio {version('python-socketio')}, aio-pika {version('aio-pika')}; "
        f"Node {_node_version()}, {', '.join(_find_rivals())}; "
        f"RabbitMQ {_rabbitmq_version()} with one scheduler."
    )


def write_report(rows: Sequence[Row], scale: Scale, repeat: int) -> list[Path]:
    """Write the page and its plot; returns both files."""
    table = [row for row in rows if not row.scenario.startswith(_SCALE)]
    plotted = [row for row in rows if row.scenario.startswith(_SCALE)]
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    page = _TEXT.format(
        systems="\n".join(f"- `{name}`: {meaning}" for name, meaning in SYSTEMS.items()),
        body=BODY_BYTES,
        machine=describe_machine(),
        when=f"{datetime.now(UTC):%Y-%m-%d}; each figure is the median of {repeat} runs of "
        f"{scale.seconds:g} s; load averages at the end: {load}.",
        table=to_table(table),
        goals=compare_with_goals(rows),
        slow=scale.slow_seconds,
        plot=_PLOT.name,
    )
    _PAGE.write_text(page, encoding="utf-8")
    _PLOT.write_text(draw_plot(_lines(plotted, "clients"), _lines(plotted, "rooms")), encoding="utf-8")
    return [_PAGE, _PLOT]


def _lines(rows: Sequence[Row], what: str) -> list[Line]:
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row.scenario == f"{_SCALE}{what}" and row.cpu:
            lines.setdefault(row.system, []).append((row.size, row.cpu))
    return [Line(label=system, points=tuple(points)) for system, points in lines.items()]


def _find_rivals() -> list[str]:
    """Names and versions of what Node's bridge is made of."""
    lock = msgspec.json.decode((HERE / "rivals" / "package-lock.json").read_bytes())
    packages = lock["packages"]
    return [f"{name} {packages[f'node_modules/{name}']['version']}" for name in ("socket.io", "amqplib")]


def _cpu_model() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M)
    return found[1] if found else platform.machine()


def _node_version() -> str:
    node = shutil.which("node")
    if node is None:
        return "is missing"
    return subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603


def _rabbitmq_version() -> str:
    """From the name of a folder: asking the node takes a second."""
    scripts = find_scripts()
    found = list(scripts.parent.glob("lib/rabbitmq_server-*")) if scripts else []
    return found[0].name.rpartition("-")[2] if found else ""
