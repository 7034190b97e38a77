"""What the fault tests work with: daemons, a swarm of clients, a load, and the figures that come out."""

import asyncio
import glob
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from dev.broker import PrivateBroker
from tests.support.daemon import Daemon, edit_config, make_token, unique
from tests.support.load import Load
from tests.support.oracle import Verdict
from tests.support.swarm import Report, Swarm

SOAK: Final = bool(os.environ.get("BRIDGED_SOAK"))
"""Whether the long forms run (`make soak`)."""
_HEADER: Final = (
    "",
    "clients",
    "events",
    "lost",
    "doubled",
    "inversions",
    "recovered",
    "not recovered",
    "since",
    "gaps told",
    "",
)

_T = TypeVar("_T")


def pick(short: _T, long: _T) -> _T:
    """The one for the form of the tests that runs."""
    return long if SOAK else short


@dataclass(frozen=True)
class Row:
    """What one test has measured."""

    name: str
    clients: int
    events: int
    verdict: Verdict
    note: str

    @property
    def cells(self) -> tuple[str, ...]:
        """As text, under the header."""
        one = self.verdict
        numbers = (one.lost, one.doubled, one.inversions, one.recovered, one.fresh, one.since, one.gaps)
        return (self.name, f"{self.clients:,}", f"{self.events:,}", *(f"{n:,}" for n in numbers), self.note)


class Figures:
    """The rows of all tests of a run."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def lines(self) -> list[str]:
        """A table in Markdown, whose columns stand below one another."""
        table = [_HEADER, *(row.cells for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            " | ".join(cell.rjust(width) for cell, width in zip(line[1:-1], widths[1:-1], strict=True))
            for line in table
        ]
        rows = [
            f"| {line[0]:{widths[0]}} | {middle} | {line[-1]} |"
            for line, middle in zip(table, lines, strict=True)
        ]
        return [rows[0], "|---|" + "---:|" * (len(_HEADER) - 2) + "---|", *rows[1:]]


class Stage:
    """One virtual host of a broker, the daemons on it and the swarm before them; all end with the test."""

    def __init__(self, broker: PrivateBroker, amqp_url: str, folder: Path, figures: Figures) -> None:
        self.broker = broker
        self.amqp_url = amqp_url
        self.folder = folder
        self.figures = figures
        self.project = unique("apollo")
        self.swarm = Swarm()
        self._daemons: list[Daemon] = []

    async def __aenter__(self) -> Self:
        await self.swarm.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.swarm.__aexit__(kind, error, trace)
        for daemon in self._daemons:
            print(daemon.config.parent.parent.name, daemon.log[-3000:], sep="\n")  # shown when the test fails
        await asyncio.gather(*(asyncio.to_thread(daemon.stop) for daemon in self._daemons))

    @property
    def vhost(self) -> str:
        """The virtual host's name."""
        return self.amqp_url.rpartition("/")[2]

    async def start_daemon(
        self,
        name: str = "one",
        *,
        amqp_url: str | None = None,
        environ: Mapping[str, str] | None = None,
        start: bool = True,
        **bridge: object,
    ) -> Daemon:
        """A daemon with `bridge.yaml` changed (`amqp__heartbeat="2s"` is `amqp.heartbeat`)."""
        edits = {key.replace("__", "."): value for key, value in bridge.items()}
        unhurried = {"limits.rate": ["10000/s"], "limits.connections_per_user": 100}
        config = edit_config(
            self.folder / name, bridge={"log.format": "json", "instance": name, **edits}, portal=unhurried
        )
        daemon = Daemon(self.folder / name, amqp_url or self.amqp_url, config, environ)
        self._daemons.append(daemon)
        if start:
            await asyncio.to_thread(daemon.start)
        return daemon

    def tokens(self, count: int) -> list[str]:
        """Of so many users, who may see the project."""
        return [make_token(f"user-{number}", 7200, projects=[self.project]) for number in range(count)]

    async def follow(self, url: str, count: int, *, within: float = 60, **options: object) -> None:
        """Have so many clients follow the project's events."""
        await self.swarm.open(url, self.tokens(count), self.project, within=within, options=options)

    @asynccontextmanager
    async def load(self, rate: int) -> AsyncIterator[Load]:
        """Numbered events of the project, until the end of the block: then all are confirmed."""
        load = Load(self.amqp_url, self.project, rate)
        publishing = asyncio.create_task(load.run())
        try:
            yield load
        finally:
            load.stop()
            async with asyncio.timeout(60):
                await publishing

    async def conclude(self, name: str, load: Load, *, within: float = 60, note: str = "") -> Report:
        """Wait until all clients have the last confirmed event; nothing may be lost, doubled or inverted."""
        try:
            await self.swarm.wait_for(load.confirmed - 1, within)
        finally:
            report = await self.swarm.report()
            verdict = report.judge(load.confirmed)
            self.figures.rows.append(Row(name, self.swarm.size, load.confirmed, verdict, note))
            print(verdict, load.confirmed, report.disconnects, report.errors, note)
        assert verdict.faultless, (verdict, worst_stories(report, load.confirmed))
        return report


def worst_stories(report: Report, confirmed: int) -> list[object]:
    """The stories of a few clients at which something is amiss."""
    amiss = [one for one in report.records if not Report([one]).judge(confirmed).faultless]
    return [one.story[-12:] for one in amiss[:3]]


def up(daemon: Daemon) -> set[float | None]:
    """What the daemon says of its connections to the broker: 1 where it works."""
    metrics = daemon.metrics()
    names = ("read", "publish", "live")
    return {metrics.get(f'bridged_broker_up{{connection="{name}"}}') for name in names}


async def until_up(daemon: Daemon, within: float = 30) -> None:
    """Wait until the daemon has all connections to the broker, and is ready."""
    await daemon.until(
        lambda: up(daemon) == {1.0} and daemon.get("/readyz")[0] == 200, within, "the broker to be up"
    )


def memory(pid: int) -> float:
    """Resident megabytes of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def open_files(pid: int) -> int:
    """File descriptors of a process."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def find_faketime() -> str:
    """libfaketime, which gives a process a wall clock of our own; fails, with what to install, without it."""
    found = glob.glob("/usr/lib/*/faketime/libfaketime.so.1") + glob.glob(
        "/usr/lib/faketime/libfaketime.so.1"
    )
    assert found, "libfaketime is not installed (Debian: apt-get install libfaketime)"
    return found[0]
