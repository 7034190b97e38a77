"""The parent of several workers on one port: starts them, passes signals on, starts anew what has ended."""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NoReturn

import structlog
from msgspec.structs import replace

from bridge import lifecycle
from bridge.lifecycle import Ending
from bridge.rules.compile import Rules
from bridge.telemetry.logs import mark_logs
from bridge.web.worker import Worker
from bridge.wiring import name_instance
from bridge.workers.address import hold_address
from bridge.workers.children import Child
from bridge.workers.tether import Tether

log = structlog.get_logger()

HUNG: Final = 30.0
"""Seconds without a turn of its event loop after which a worker is killed, and started anew."""
_STOPPING: Final = frozenset({signal.SIGTERM, signal.SIGINT})
_SIGNALS: Final = _STOPPING | {signal.SIGCHLD}
_TICK: Final = 1.0
_HELD_UP: Final = 5.0
"""When the parent did not look for so long either, the machine stood still: silence means nothing then."""
_LATE: Final = 5.0
"""Seconds beyond `shutdown_timeout` that a worker has; it should have forced its own end by then."""
_BY_SEVERITY: Final = (Ending.STOPPED, Ending.FORCED, Ending.FAILED)
"""Also the exit codes of workers."""


def run_workers(rules: Rules, count: int) -> Ending:
    """Run so many instances on one port until SIGTERM or SIGINT; OSError when the address cannot be had."""
    http = rules.config.http
    with hold_address(http.host, http.port) as port, make_folder() as folder:
        config = replace(rules.config, http=replace(http, port=port))
        return Supervisor(replace(rules, config=config), count, folder).run()


class Supervisor:
    """A parent without an event loop: it waits for signals, of which the end of a worker is one.

    Workers are forked, so that all share the rules that were compiled once, and a restart takes no file that
    has changed meanwhile. A worker that ends is started again however often, with growing delays, while the
    others serve; only if one ends before any has ever served, the daemon does.
    """

    def __init__(self, rules: Rules, count: int, folder: Path) -> None:
        self._rules = rules
        self._name = name_instance(rules.config)
        self._folder = folder
        self._tether = Tether(count)
        self._children = [Child(number) for number in range(1, count + 1)]
        self._served = False
        self._deadline: float | None = None
        """When workers that still drain are killed; None before the end has begun."""
        self._worst = Ending.STOPPED

    def run(self) -> Ending:
        """Run until all have ended after a signal; returns the worst of their ends."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            looked = time.monotonic()
            while self._deadline is None or any(child.pid is not None for child in self._children):
                self._start_due()
                told = signal.sigtimedwait(_SIGNALS, _TICK)
                if told is not None and told.si_signo in _STOPPING:
                    self._stop()
                self._reap()
                now = time.monotonic()
                if now - looked < _HELD_UP:
                    self._end_silent(now)
                looked = now
            return self._worst
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if self._deadline is None and child.due is not None and child.due <= now:
                self._start(child, now)

    def _start(self, child: Child, now: float) -> None:
        self._tether.clear(child.number)
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._be(child)
        child.started(pid, now)

    def _be(self, child: Child) -> NoReturn:
        """What the new process does."""
        ending = Ending.FAILED
        try:
            os.setpgid(0, 0)  # Ctrl-C is the parent's: it would reach the workers twice
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
            self._tether.enter()
            mark_logs(worker=child.number)
            count, starts = len(self._children), child.starts + 1
            worker = Worker(number=child.number, count=count, folder=self._folder, starts=starts)
            config = replace(self._rules.config, instance=f"{self._name}-{child.number}")
            ending = lifecycle.run(replace(self._rules, config=config), worker, self._tether)
        except BaseException:
            log.exception("worker.failed")
        finally:
            with suppress(OSError, ValueError):
                sys.stderr.flush()
            os._exit(_BY_SEVERITY.index(ending))

    def _reap(self) -> None:
        """Take note of every process that has ended; as the first one of a container also of others."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self._children:
                if child.pid == pid:
                    self._take_end(child, os.waitstatus_to_exitcode(status))

    def _take_end(self, child: Child, code: int) -> None:
        self._served = self._served or any(self._tether.last_beat(other.number) for other in self._children)
        delay = child.ended(time.monotonic())
        if self._deadline is not None:
            ending = _BY_SEVERITY[code] if 0 <= code < len(_BY_SEVERITY) else Ending.FORCED
            self._note(ending)
        elif self._served:
            log.error("worker.ended", worker=child.number, code=code, restart_in=delay)
        else:
            log.error("worker.ended", worker=child.number, code=code, remedy="see the log of its start above")
            self._note(Ending.FAILED)
            self._stop()

    def _note(self, ending: Ending) -> None:
        self._worst = max(self._worst, ending, key=_BY_SEVERITY.index)

    def _stop(self) -> None:
        """Pass the signal on: the first lets workers drain, a second one ends them at once."""
        if self._deadline is None:
            self._deadline = time.monotonic() + self._rules.config.shutdown_timeout + _LATE
        self._signal(signal.SIGTERM, self._children)

    def _end_silent(self, now: float) -> None:
        """Kill what hangs."""
        late = self._deadline is not None and now > self._deadline
        for child in self._children:
            beat = self._tether.last_beat(child.number) or child.began  # it may hang before it serves
            if child.pid is not None and (late or beat < now - HUNG):
                log.error("worker.hung", worker=child.number, silent=round(now - beat))
                self._signal(signal.SIGKILL, [child])

    def _signal(self, number: signal.Signals, children: list[Child]) -> None:
        for child in children:
            if child.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(child.pid, number)


@contextmanager
def make_folder() -> Iterator[Path]:
    """A private folder for the workers' sockets; where nothing else may be written, in shared memory."""
    try:
        folder = tempfile.mkdtemp(prefix="bridged-")
    except OSError:
        folder = tempfile.mkdtemp(prefix="bridged-", dir="/dev/shm")
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
