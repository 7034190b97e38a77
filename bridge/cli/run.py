"""`bridged run`: the daemon."""

import errno
import os
import sys
from typing import Annotated, Final

import structlog
from cyclopts import Parameter
from cyclopts.validators import Number

from bridge.auth.settings import is_weak
from bridge.cli.exits import CliError, Exit
from bridge.cli.loading import DEFAULT_CONFIG, ConfigPath, SchemasPath, load_project
from bridge.config.model import Http
from bridge.intake import VersionError, check_versions
from bridge.lifecycle import Ending
from bridge.lifecycle import run as run_instance
from bridge.telemetry.logs import configure_logs
from bridge.web.worker import MAX_WORKERS
from bridge.workers.supervisor import run_workers

log = structlog.get_logger()

_ENDINGS: Final = {Ending.STOPPED: Exit.OK, Ending.FORCED: Exit.FORCED, Ending.FAILED: Exit.INTERNAL}


Workers = Annotated[
    int,
    Parameter(
        name="--workers", validator=Number(gte=1, lte=MAX_WORKERS), help="Processes that share the port."
    ),
]


def run(*, config: ConfigPath = DEFAULT_CONFIG, schemas: SchemasPath = None, workers: Workers = 1) -> int:
    """Run the daemon until SIGTERM or Ctrl-C; a second one ends it at once.

    It starts without a broker too, and connects as soon as there is one: `/readyz` says so.
    With several workers, one for each core, a worker that ends is started again.
    """
    _check_libraries()
    project = load_project(config, schemas, os.environ)
    settings = project.loaded.config
    configure_logs(sys.stderr, style=settings.log.format, level=settings.log.level)
    if is_weak(settings.auth.jwt):
        log.warning("auth.weak_secret", remedy="set JWT_SECRET to at least 32 bytes: openssl rand -hex 32")
    if workers > 1:
        _check_workers(settings.http)
    try:
        return _ENDINGS[run_instance(project.rules) if workers == 1 else run_workers(project.rules, workers)]
    except OSError as error:
        raise explain_address(settings.http, error) from error


def _check_libraries() -> None:
    """Refuse versions of which nobody knows whether they do what the bridge expects of them."""
    try:
        check_versions()
    except VersionError as error:
        hint = "install what bridged is locked to: `make setup`, or `pip install -r requirements.txt`"
        raise CliError(Exit.FAULTS, str(error), hint) from error


def _check_workers(http: Http) -> None:
    """Refuse what several processes on one port cannot do."""
    if http.tls is not None:
        message = "--workers and http.tls do not go together: encrypted connections cannot be handed over"
        raise CliError(
            Exit.USAGE, message, "let a proxy in front speak TLS (docs/scaling.md), or leave one out"
        )
    if sys.platform != "linux":
        raise CliError(Exit.USAGE, "--workers needs Linux", "start one daemon for each port instead")


def explain_address(http: Http, error: OSError) -> CliError:
    """Why the daemon cannot listen, and what to do; any other error of the system as it is."""
    address = f"{http.host}:{http.port}"
    match error.errno:
        case errno.EADDRINUSE:
            message = f"cannot listen on {address}: the port is in use"
            hint = f"stop what listens there, or choose another port: PORT={http.port + 1}"
        case errno.EACCES:
            message = f"cannot listen on {address}: that is not allowed"
            hint = "ports below 1024 need privileges; choose another one: PORT=8000"
        case errno.EADDRNOTAVAIL:
            message, hint = f"cannot listen on {address}: it is no address of this machine", "see http.host"
        case _:
            message, hint = f"cannot listen on {address}: {error.strerror or error}", "see http.host"
    return CliError(Exit.ADDRESS, message, hint)
