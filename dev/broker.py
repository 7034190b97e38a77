"""A private RabbitMQ node of the installed rabbitmq-server, for the tests and for `make run`.

Everything that the node touches is its own: data folder, ports on loopback, epmd, cookie and HOME. It
therefore runs beside a system-wide broker, as root or as any user, and leaves nothing behind. Only the
standard library is used, since `make run` needs this before anything is installed.
"""

import atexit
import contextlib
import glob
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

# The wrappers in /usr/sbin insist on the user `rabbitmq`; the scripts behind them do not.
_SCRIPT_FOLDERS: Final = ("/usr/lib/rabbitmq/bin", "/usr/local/sbin", "/opt/rabbitmq/sbin")
_EPMD: Final = ("/usr/lib/erlang/erts-*/bin/epmd", "/usr/local/lib/erlang/erts-*/bin/epmd")
_GREETING: Final = b"AMQP\x00\x00\x09\x01"
_CONFIG: Final = """\
listeners.tcp.1 = 127.0.0.1:{port}
vm_memory_high_watermark.absolute = 1GB
disk_free_limit.absolute = 50MB
log.file.level = info
log.console = false
"""
# One scheduler of each kind and no spinning: the node shares a small machine with what it serves.
_ERLANG_ARGS: Final = (
    "+S 1:1 +SDcpu 1:1 +SDio 4 +A 2 -start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"
)
# Waits for the end of its input, which is the end of us, and kills what we started.
_WATCHDOG: Final = 'read -r _; for group; do kill -9 "-$group"; done'


class BrokerError(Exception):
    """The private broker cannot be had; the message says what to do."""


def find_scripts() -> Path | None:
    """The folder of `rabbitmq-server` and `rabbitmqctl`, or None where RabbitMQ is not installed."""
    candidates = [*_SCRIPT_FOLDERS]
    if on_path := shutil.which("rabbitmq-server"):
        candidates.append(str(Path(on_path).resolve().parent))
    for folder in map(Path, candidates):
        if (folder / "rabbitmq-server").exists() and (folder / "rabbitmqctl").exists():
            return folder
    return None


class PrivateBroker:
    """One RabbitMQ node with its data under `folder`; restarting it keeps data and ports.

    It dies with the process that started it, even when that one is killed.
    """

    def __init__(
        self,
        folder: str | Path,
        port: int | None = None,
        *,
        settings: str = "",
        plugins: Sequence[str] = (),
        name: str = "bridge",
        beside: "PrivateBroker | None" = None,
    ) -> None:
        """`settings` are further lines of its rabbitmq.conf.

        `beside` is a node of another name that runs, and goes on running: this one may join its cluster.
        """
        self._settings = settings
        self._plugins = plugins
        self.node = f"{name}@localhost"
        self.folder = Path(folder).absolute()
        self.port = port or _free_port()
        self._dist_port = _free_port()
        self._beside = beside
        self._epmd_port: int = _free_port() if beside is None else beside._epmd_port
        self._cookie: str = secrets.token_hex(20) if beside is None else beside._cookie
        self._server: subprocess.Popen[bytes] | None = None
        self._epmd: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """AMQP URL of the virtual host `/`, without a trailing slash; `/<vhost>` may be appended."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the node's process lives; it may still be starting, or be paused."""
        return self._server is not None and self._server.poll() is None

    @property
    def pid(self) -> int:
        """The node's process, while it runs."""
        assert self._server is not None  # noqa: S101  started
        return self._server.pid

    @property
    def log(self) -> Path:
        """The node's own log file."""
        return self.folder / "log" / "rabbit.log"

    def start(self, within: float = 60.0) -> None:
        """Start the node and wait until it greets AMQP clients; BrokerError where it does not."""
        scripts = self._scripts()
        if self.running:
            return
        self._prepare()
        if self._beside is None:
            self._epmd = self._start_epmd()
        with (self.folder / "log" / "console.log").open("ab") as console:
            server = self._server = subprocess.Popen(  # noqa: S603  an absolute path, no shell
                [scripts / "rabbitmq-server"],
                env=self._environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        started = [server] if self._epmd is None else [server, self._epmd]
        self._watchdog = _start_watchdog(*(process.pid for process in started))
        atexit.register(self.kill)
        self._await_greeting(within)

    def stop(self, within: float = 20.0) -> None:
        """Stop the node in good order (SIGTERM), by force when it takes longer; idempotent."""
        if self._server is not None:
            self.resume()
            with contextlib.suppress(ProcessLookupError):
                self._server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._server.wait(within)
        self.kill()

    def kill(self) -> None:
        """Kill the node at once, as a power cut does (SIGKILL); idempotent."""
        atexit.unregister(self.kill)
        for process in (self._watchdog, self._server, self._epmd):
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if self._watchdog is not None and self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
        self._server = self._epmd = self._watchdog = None

    def restart(self, within: float = 60.0) -> None:
        """Start again on the same data and ports, after stopping whatever still runs."""
        self.stop()
        self.start(within)

    def pause(self) -> None:
        """Freeze the node (SIGSTOP): its connections stay open and say nothing."""
        if self._server is not None:
            os.killpg(self._server.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen node go on (SIGCONT)."""
        if self._server is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._server.pid, signal.SIGCONT)

    def rabbitmqctl(self, *args: str, within: float = 60.0) -> str:
        """Run `rabbitmqctl ARGS` against this node and return what it prints; BrokerError on failure.

        One call takes about a second.
        """
        done = subprocess.run(  # noqa: S603  an absolute path, no shell
            [self._scripts() / "rabbitmqctl", "--node", self.node, "--quiet", *args],
            env=self._environment(),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )
        if done.returncode != 0:
            raise BrokerError(f"rabbitmqctl {' '.join(args)} failed: {done.stdout}{done.stderr}".strip())
        return done.stdout

    def add_vhost(self, *names: str) -> None:
        """Make virtual hosts that `guest` may use, all in one call."""
        for_each = "".join(
            f'ok = rabbit_vhost:add(<<"{name}">>, <<"private">>),'
            f'ok = rabbit_auth_backend_internal:set_permissions(<<"guest">>, <<"{name}">>, '
            f'<<".*">>, <<".*">>, <<".*">>, <<"private">>),'
            for name in names
        )
        self.rabbitmqctl("eval", f"{for_each} ok.")

    def _scripts(self) -> Path:
        scripts = find_scripts()
        if scripts is None:
            raise BrokerError(
                "RabbitMQ is not installed: no rabbitmq-server was found in "
                f"{', '.join(_SCRIPT_FOLDERS)} or on PATH (Debian: apt-get install rabbitmq-server)"
            )
        return scripts

    def _prepare(self) -> None:
        for name in ("data", "log", "home"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        cookie = self.folder / "home" / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text(self._cookie, encoding="ascii")
            cookie.chmod(0o400)
        settings = f"{_CONFIG.format(port=self.port)}{self._settings}"
        (self.folder / "rabbitmq.conf").write_text(settings, encoding="ascii")
        (self.folder / "enabled_plugins").write_text(f"[{','.join(self._plugins)}].\n", encoding="ascii")
        (self.folder / "rabbitmq-env.conf").write_text("", encoding="ascii")

    def _environment(self) -> Mapping[str, str]:
        foreign = ("RABBITMQ_", "ERL_")
        return {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | {
            "HOME": str(self.folder / "home"),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_CTL_DIST_PORT_MIN": "0",
            "RABBITMQ_CTL_DIST_PORT_MAX": "0",
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_LOGS": str(self.log),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG_ARGS,
            "detached": "1",  # the script then becomes the Erlang VM instead of waiting for it
        }

    def _start_epmd(self) -> subprocess.Popen[bytes]:
        # An epmd that the Erlang VM starts by itself becomes a daemon that outlives it.
        found = shutil.which("epmd") or next((path for name in _EPMD for path in glob.glob(name)), None)
        if found is None:
            raise BrokerError("epmd of Erlang was not found on PATH or in /usr/lib/erlang")
        return subprocess.Popen(  # noqa: S603  no shell
            [found, "-port", str(self._epmd_port), "-address", "127.0.0.1"],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _await_greeting(self, within: float) -> None:
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if not self.running:
                break
            if _greets(self.port):
                return
            time.sleep(0.05)
        self.kill()
        tail = "\n".join(_tail(self.folder / "log" / "console.log") + _tail(self.log))
        raise BrokerError(f"the private RabbitMQ did not start within {within:g} s; its logs end:\n{tail}")


def _start_watchdog(*groups: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  a fixed command
        ["/bin/sh", "-c", _WATCHDOG, "sh", *map(str, groups)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _greets(port: int) -> bool:
    """Whether a broker answers an AMQP greeting with Connection.Start: a bare open port is too early."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(_GREETING)
            return connection.recv(1) == b"\x01"
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _tail(file: Path, lines: int = 20) -> list[str]:
    if not file.exists():
        return []
    return file.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
