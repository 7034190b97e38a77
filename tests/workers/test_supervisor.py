"""The parent of several workers, as processes: signals, ends, and workers that die or hang."""

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.cli.exits import Exit
from tests.support.certificates import make_certificate
from tests.support.command import run_bridged
from tests.support.daemon import Daemon, edit_config

NO_BROKER = "amqp://127.0.0.1:1/"
CONFIG = Path(__file__).parent.parent.parent / "config" / "swallowtail.yaml"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """Three workers; what they need no broker for works without one."""
    daemon = Daemon(tmp_path, NO_BROKER, CONFIG, workers=3)
    daemon.start(ready=False)
    daemon.wait_until(lambda: len(find_workers(daemon)) == 3, 10, "three workers")
    yield daemon
    if daemon.started:
        daemon.stop()


def find_workers(daemon: Daemon) -> dict[int, int]:
    """The processes of the workers that have started, by number, as the log tells."""
    started = re.findall(r"bridge\.started .* instance=\S+-(\d) .* worker=\1", daemon.log)
    pids = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text(encoding="ascii").split()
    return dict(zip(sorted({int(number) for number in started}), map(int, pids), strict=False))


def runs(pid: int) -> bool:
    """Whether that process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_every_worker_is_an_instance_of_its_own(daemon: Daemon) -> None:
    """With a name, and its number in each line of the log; the metrics of all are on one page."""
    names = set(re.findall(r"bridge\.started .* instance=(\S+) ", daemon.log))
    assert {name.rpartition("-")[2] for name in names} == {"1", "2", "3"}
    metrics = daemon.metrics()
    for number in "123":
        assert metrics[f'bridged_worker_up{{worker="{number}"}}'] == 1
        assert metrics[f'bridged_worker_starts{{worker="{number}"}}'] == 1
        assert metrics[f'bridged_connections{{worker="{number}"}}'] == 0


def test_sigterm_goes_to_all(daemon: Daemon) -> None:
    """Each drains once, none is left, and the exit code is that of a good end."""
    workers = find_workers(daemon)
    assert daemon.stop() == Exit.OK
    assert not any(map(runs, workers.values()))
    assert daemon.log.count("bridge.draining") == daemon.log.count("bridge.stopped") == 3
    assert "Traceback" not in daemon.log


def test_ctrl_c_reaches_each_worker_once(tmp_path: Path) -> None:
    """A terminal sends it to the whole foreground group: to workers too, it would be the second signal."""
    daemon = Daemon(tmp_path, NO_BROKER, CONFIG, workers=2)
    daemon.start(ready=False)
    daemon.wait_until(lambda: len(find_workers(daemon)) == 2, 10, "two workers")
    assert {os.getpgid(pid) for pid in find_workers(daemon).values()}.isdisjoint({os.getpgid(daemon.pid)})
    os.kill(daemon.pid, signal.SIGINT)
    assert daemon.wait() == Exit.OK
    assert "bridge.forced" not in daemon.log


def test_a_worker_that_is_killed_is_started_again(daemon: Daemon) -> None:
    """The others go on; `/readyz` and `/metrics` tell which one is away."""
    os.kill(find_workers(daemon)[2], signal.SIGKILL)
    daemon.wait_until(lambda: "worker.ended" in daemon.log, 10, "the end to be noticed")
    daemon.wait_until(
        lambda: sum(daemon.metrics().get(f'bridged_worker_starts{{worker="{n}"}}', 0) for n in "123") == 4,
        10,
        "the worker to be started again",
    )
    assert "restart_in=0.5" in daemon.log
    assert "code=-9" in daemon.log


def test_one_that_is_away_is_named(daemon: Daemon) -> None:
    """While it hangs, the others answer for it: that it does not."""
    pid = find_workers(daemon)[2]
    os.kill(pid, signal.SIGSTOP)
    try:
        daemon.wait_until(lambda: "worker_away" in daemon.get("/readyz")[1], 30, "the worker to be missed")
        daemon.wait_until(
            lambda: (
                [v for k, v in daemon.metrics().items() if k.startswith("bridged_worker_up")].count(0) == 1
            ),
            30,
            "the worker to be missed by the metrics",
        )
    finally:
        os.kill(pid, signal.SIGCONT)


def test_one_that_hangs_is_killed_and_started_again(tmp_path: Path) -> None:
    """Its event loop has not turned for too long (30 s; here 2)."""
    quick = "import bridge.workers.supervisor as s; s.HUNG = 2.0; from bridge.cli import main; main()"
    daemon = Daemon(tmp_path, NO_BROKER, CONFIG, workers=2)
    daemon.program = (sys.executable, "-c", quick)
    daemon.start(ready=False)
    daemon.wait_until(lambda: len(find_workers(daemon)) == 2, 10, "two workers")
    os.kill(find_workers(daemon)[1], signal.SIGSTOP)
    daemon.wait_until(lambda: "worker.hung" in daemon.log, 20, "the hanging worker to be killed")
    daemon.wait_until(lambda: daemon.log.count("bridge.started") == 3, 10, "it to be started again")
    assert daemon.stop() == Exit.OK


HANGS_AT_ITS_START = """
import signal
import bridge.workers.supervisor as supervisor
from bridge.cli import main

supervisor.HUNG, run = 2.0, supervisor.lifecycle.run

def hang(rules, worker, tether):
    if (worker.number, worker.starts) == (1, 1):
        signal.pause()
    return run(rules, worker, tether)

supervisor.lifecycle.run = hang
main()
"""


def test_one_that_hangs_before_it_serves_is_killed_too(tmp_path: Path) -> None:
    """The others serve meanwhile, and go on."""
    daemon = Daemon(tmp_path, NO_BROKER, CONFIG, workers=2)
    daemon.program = (sys.executable, "-c", HANGS_AT_ITS_START)
    daemon.start(ready=False)
    daemon.wait_until(lambda: "worker.hung" in daemon.log, 20, "the hanging worker to be killed")
    assert re.search(r"worker\.hung .* silent=[23]\b", daemon.log)
    daemon.wait_until(lambda: daemon.log.count("bridge.started") == 2, 10, "it to be started again")
    assert daemon.stop() == Exit.OK


def test_workers_drain_when_their_parent_is_killed(daemon: Daemon) -> None:
    """Nobody would restart them, and nobody would stop them."""
    workers = find_workers(daemon)
    os.kill(daemon.pid, signal.SIGKILL)
    assert daemon.wait() == -signal.SIGKILL
    while any(map(runs, workers.values())):
        os.sched_yield()
    assert daemon.log.count("bridge.stopped") == 3


def test_a_worker_that_does_not_end_is_killed_in_time(tmp_path: Path) -> None:
    """Beyond `shutdown_timeout`, and the exit code says so."""
    config = edit_config(tmp_path / "short", bridge={"shutdown_timeout": "1s"})
    daemon = Daemon(tmp_path, NO_BROKER, config, workers=2)
    daemon.start(ready=False)
    daemon.wait_until(lambda: len(find_workers(daemon)) == 2, 10, "two workers")
    os.kill(find_workers(daemon)[1], signal.SIGSTOP)
    daemon.terminate()
    assert daemon.wait(30) == Exit.FORCED
    assert "worker.hung" in daemon.log


def test_faults_are_reported_once_and_before_any_start(tmp_path: Path) -> None:
    """Of the configuration, of the address, of what workers cannot do."""
    broken = edit_config(tmp_path / "broken", bridge={"http.port": "many"})
    done = run_bridged("run", "-c", str(broken), "--workers", "4")
    assert (done.returncode, done.stderr.count("http.port")) == (Exit.FAULTS, 1)
    tls = {"http.tls": {"certificate": "tls/certificate.pem", "key": "tls/key.pem"}}
    encrypted = edit_config(tmp_path / "encrypted", bridge=tls)
    make_certificate(encrypted.parent / "tls")
    done = run_bridged("run", "-c", str(encrypted), "--workers", "2")
    assert (done.returncode, "let a proxy in front speak TLS" in done.stderr) == (Exit.USAGE, True)
    assert run_bridged("run", "--workers", "0").returncode == Exit.USAGE
    assert run_bridged("run", "--workers", "257").returncode == Exit.USAGE


def test_a_port_in_use_is_told_of_once(daemon: Daemon) -> None:
    """Also when workers of another daemon share it."""
    environ = {"PORT": str(daemon.port), "HOST": "127.0.0.1", "AMQP_URL": NO_BROKER}
    done = run_bridged("run", "-c", str(CONFIG), "--workers", "2", environ=environ)
    assert done.returncode == Exit.ADDRESS
    assert done.stderr.count("the port is in use") == 1
