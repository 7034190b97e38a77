"""Hundreds of official JavaScript clients in one Node process, which follow one project's `task_update`."""

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from tests.support.oracle import Run, Story, Verdict, Word, judge_all

_SCRIPT = Path(__file__).parent / "swarm.mjs"
_LINE_LIMIT = 64 * 1024 * 1024
_LOOK_EVERY = 0.1


class Progress(msgspec.Struct):
    """Where all clients are."""

    joined: int
    """Clients that have the room, on the connection that they have now."""
    last: int
    """The lowest of their last numbers."""
    connects: int


class Record(msgspec.Struct):
    """What one client has to tell."""

    story: list[Word | Run]
    connects: int
    disconnects: dict[str, int]
    errors: dict[str, int]
    first: float | None
    """Milliseconds from the mark to its first event after it."""


class Report:
    """What all clients have to tell."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = records

    @property
    def stories(self) -> list[Story]:
        """For the oracle."""
        return [record.story for record in self.records]

    def judge(self, confirmed: int) -> Verdict:
        """The oracle's sum over all clients."""
        return judge_all(self.stories, confirmed)

    @property
    def disconnects(self) -> Counter[str]:
        """All of them, by reason."""
        return sum((Counter(record.disconnects) for record in self.records), Counter())

    @property
    def errors(self) -> Counter[str]:
        """Refusals and failures, by code."""
        return sum((Counter(record.errors) for record in self.records), Counter())

    def first_after_mark(self, share: float = 0.99) -> float:
        """Seconds from the mark until so many of the clients had an event; infinite if they have none."""
        times = sorted(float("inf") if one.first is None else one.first / 1000 for one in self.records)
        return times[min(len(times) - 1, int(len(times) * share))]


Condition = Callable[[Progress], bool]


class Swarm:
    """`async with Swarm() as swarm: await swarm.open(...)`."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._calls = 0
        self.size = 0

    async def __aenter__(self) -> Self:
        node = shutil.which("node")
        assert node is not None, "node is not installed"
        self._process = await asyncio.create_subprocess_exec(
            node,
            str(_SCRIPT),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def open(
        self,
        url: str,
        tokens: Sequence[str],
        project: str,
        *,
        within: float = 60,
        wait: bool = True,
        options: Mapping[str, object] | None = None,
    ) -> None:
        """Connect one client for each token; returns when all follow the project."""
        await self._command(
            "open",
            url=url,
            namespace="/portal",
            tokens=list(tokens),
            command="subscribe_to_events",
            payload={"events": ["task_update"], "project_name": project},
            options={
                "transports": ["websocket"],
                "reconnectionDelay": 100,
                "reconnectionDelayMax": 1000,
                **(options or {}),
            },
        )
        self.size += len(tokens)
        if wait:
            await self.wait_joined(within)

    async def wait_joined(self, within: float = 60) -> None:
        """Wait until all clients are connected and have the room."""
        await self._until(
            lambda progress: progress.joined == self.size, within, f"{self.size} to have joined"
        )

    async def wait_for(self, number: int, within: float = 60) -> None:
        """Wait until all clients are there and have got an event, or a later one."""

        def arrived(progress: Progress) -> bool:
            return progress.joined == self.size and progress.last >= number

        await self._until(arrived, within, f"all to have joined and got event {number}")

    async def wait_connects(self, connects: int, within: float = 60) -> None:
        """Wait until there were so many connections over all, and all clients have joined."""

        def connected(progress: Progress) -> bool:
            return progress.joined == self.size and progress.connects >= connects

        await self._until(connected, within, f"{connects} connections")

    async def progress(self) -> Progress:
        """Where they are."""
        return msgspec.convert(await self._command("progress"), Progress)

    async def cut(self, seconds: Sequence[float | None]) -> None:
        """Cut clients off for so long each, by their number; None leaves one alone."""
        await self._command("cut", times=[None if one is None else one * 1000 for one in seconds])

    async def mark(self) -> None:
        """From here on count the time to each client's first event."""
        await self._command("mark")

    async def report(self) -> Report:
        """What they have to tell so far."""
        return Report(msgspec.convert(await self._command("report"), list[Record], strict=False))

    async def close(self) -> None:
        """Let all of them leave for good."""
        await self._command("close")
        self.size = 0

    async def _until(self, condition: Condition, within: float, wanted: str) -> None:
        progress = await self.progress()
        try:
            async with asyncio.timeout(within):
                while not condition(progress):
                    await asyncio.sleep(_LOOK_EVERY)
                    progress = await self.progress()
        except TimeoutError:
            report = await self.report()
            told = f"{progress}; {report.disconnects}; {report.errors}"
            raise AssertionError(f"waited {within:g} s in vain for {wanted}: {told}") from None

    async def _command(self, do: str, **fields: object) -> object:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._turn:
            self._calls += 1
            self._process.stdin.write(json.dumps({"call": self._calls, "do": do, **fields}).encode() + b"\n")
            answer: dict[str, object] = {}
            while answer.get("call") != self._calls:  # else it is of a call that was cancelled
                line = await self._process.stdout.readline()
                assert line, "Node has ended"
                answer = msgspec.json.decode(line)
        assert "error" not in answer, answer["error"]
        return answer["ok"]
