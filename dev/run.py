"""`make run`: a broker, the daemons and the example services, started in order and stopped together."""

import contextlib
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from dev.broker import BrokerError
from dev.find_broker import Found, NoBrokerError, broker

_ROOT: Final = Path(__file__).resolve().parent.parent
_STATE: Final = _ROOT / ".run"
_BIN: Final = Path(sys.executable).parent
_CONFIG: Final = "config/bridge.yaml"
_OPEN_CONFIG: Final = "config/swallowtail.yaml"
_SERVICES: Final = {
    "portal": "portal_service.py",
    "summit": "summit_service.py",
    "agents": "agents_service.py",
    "SWE Agent": "swe_agent_broadcaster.py",
    "swallowtail": "swallowtail_service.py",
}
"""The example services and their files."""
_PROJECT: Final = "apollo"
_READY_WITHIN: Final = 60.0
_STOP_WITHIN: Final = 35.0  # the daemon drains for up to 30 s


class CannotRunError(Exception):
    """Something stands in the way; the message says what, and what to do."""


def main() -> int:
    """Run until Ctrl-C (exit code 0) or until one of the processes ends by itself (1)."""
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # that no broker answers is no news while we look
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        _run(os.environ)
    except KeyboardInterrupt:
        _say("stopped")
        return 0
    except (CannotRunError, NoBrokerError, BrokerError) as fault:
        print(fault, file=sys.stderr)
        return 1
    return 0


def _run(environ: Mapping[str, str]) -> None:
    port = _free_port(environ.get("PORT", "8000"))
    open_port = _find_port(port + 1)
    secret = environ.get("JWT_SECRET") or make_secret(_STATE)
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(broker(_STATE / "rabbitmq", environ, _say))
        pages = [f"http://{host}:{each}" for host in ("localhost", "127.0.0.1") for each in (port, open_port)]
        settings = {
            "CORS_ORIGINS": ", ".join([*pages, "null"]),  # `null` is the client page opened from disk
            "CLIENT_PAGE": "true",
            **environ,
            "AMQP_URL": found.url,
            "JWT_SECRET": secret,
        }
        processes = {}

        def start(name: str, *command: str | Path, **more: str) -> subprocess.Popen[bytes]:
            processes[name] = stack.enter_context(_process(name, command, {**settings, **more}))
            return processes[name]

        daemon = start("daemon", _BIN / "bridged", "run", "-c", _CONFIG, PORT=str(port))
        beside = start(
            "daemon of Swallowtail", _BIN / "bridged", "run", "-c", _OPEN_CONFIG, PORT=str(open_port)
        )
        _await_ready(port, daemon)
        _await_ready(open_port, beside)
        for name, file in _SERVICES.items():
            start(f"example {name}", sys.executable, f"examples/{file}")
        _greet(port, open_port, settings)
        _supervise(processes, found)


def _free_port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise CannotRunError(f'PORT is "{text}": set it to a number from 1 to 65535')
    port = int(text)
    try:
        _try_port(port)
    except OSError as error:
        raise CannotRunError(
            f"Port {port} cannot be used ({error.strerror}). Stop what listens there, "
            f"or choose another one: PORT={port + 1} make run"
        ) from None
    return port


def _find_port(wanted: int) -> int:
    """The wanted port where it can be had, else one that the system chooses."""
    try:
        return _try_port(wanted)
    except (OSError, OverflowError):
        return _try_port(0)


def _try_port(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("0.0.0.0", port))  # noqa: S104  the daemon's own address; nothing listens here
        bound: int = probe.getsockname()[1]
        return bound


def make_secret(folder: Path) -> str:
    """The development secret that is kept in `folder`, made at the first call, for this user alone."""
    folder.mkdir(mode=0o700, exist_ok=True)
    file = folder / "jwt_secret"
    if not file.exists():
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as new:
            new.write(secrets.token_urlsafe(48))
    return file.read_text(encoding="ascii")


@contextlib.contextmanager
def _process(
    name: str, command: Sequence[str | Path], environ: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block; its session is its own, so that Ctrl-C reaches only us."""
    process = subprocess.Popen(command, cwd=_ROOT, env=dict(environ), start_new_session=True)  # noqa: S603
    try:
        yield process
    finally:
        if process.poll() is None:
            _say(f"stopping the {name}")
            process.terminate()
        try:
            process.wait(_STOP_WITHIN)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):  # a second Ctrl-C: at once
            process.kill()
            process.wait()


def _await_ready(port: int, daemon: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    answer = "no answer"
    while time.monotonic() < deadline:
        if daemon.poll() is not None:
            raise CannotRunError(
                f"The daemon ended (exit code {daemon.returncode}); its reason stands above."
            )
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
                return
        except urllib.error.HTTPError as error:
            answer = error.read(1000).decode(errors="replace")
        except OSError:
            answer = "no answer"
        time.sleep(0.1)
    raise CannotRunError(f"The daemon was not ready within {_READY_WITHIN:g} s: {answer}")


def _greet(port: int, open_port: int, environ: Mapping[str, str]) -> None:
    command: list[str | Path] = [_BIN / "bridged", "token", "-c", _CONFIG, "--expires", "12h"]
    claims = ["--user", "demo", "--projects", _PROJECT, "--roles", "admin"]
    claims += ["--permissions", "approvals:write,monitoring:read"]
    made = subprocess.run([*command, *claims], cwd=_ROOT, env=environ, stdout=subprocess.PIPE, check=True)  # noqa: S603
    token = made.stdout.decode().strip()
    address = f"http://localhost:{port}"
    print(
        f"\nbridged listens on {address}\n"
        f"and on http://localhost:{open_port}, for Swallowtail alone, which asks for no token\n\n"
        f"A token of the user demo, for the project {_PROJECT}, good for 12 hours:\n  {token}\n\n"
        f"Watch events arrive, in a browser:\n"
        f"  {address}/client#preset=portal&swallowtail={open_port}&token={token}\n\n"
        f"or in another terminal in this folder:\n"
        f"  .venv/bin/bridged listen {address}/project/{_PROJECT} --token {token}\n\n"
        "Ctrl-C stops all of it.\n",
        flush=True,
    )


def _supervise(processes: Mapping[str, subprocess.Popen[bytes]], found: Found) -> None:
    """Whatever of the project ends, ends all; a broker may go, and all of it waits until it is back."""
    while True:
        found.keep_up(_say)
        for name, process in processes.items():
            if process.poll() is not None:
                raise CannotRunError(f"The {name} ended by itself (exit code {process.returncode}).")
        time.sleep(0.2)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(f"make run: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
