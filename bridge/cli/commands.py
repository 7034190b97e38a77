"""Finds the command, runs it, and turns every way to fail into a message and an exit code."""

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

from cyclopts import App, CycloptsError

from bridge import __version__
from bridge.cli.exits import CliError, Exit
from bridge.cli.faults import print_faults
from bridge.cli.terminal import Terminal, escape
from bridge.errors import ConfigError

_HELP: Final = """Events from RabbitMQ to browsers, and their commands back; configured in YAML.

Exit codes: 0 done, 1 faults found, 2 wrong usage, 3 broker or server not reached, 4 refused by it,
5 cannot listen on the address, 6 stopped before all was drained, 70 a fault of the bridge, 130 Ctrl-C."""

_COMMANDS: Final = {
    "run": "Run the daemon.",
    "check": "Say whether a configuration is fine: all of its faults, or a table of what it does.",
    "explain": "Show what becomes of one event, or exactly why nothing; without any broker.",
    "listen": "Connect as a browser would, and print what arrives.",
    "publish": "Publish one event as a service would.",
    "token": "Print a token for trying things out.",
    "invalid": "Show the events that fitted no schema.",
    "prune": "Remove the bindings that no route needs any more.",
    "docs": "Write the reference of the configuration.",
}


def make_app(called: str | None) -> App:
    """The command line; of all commands only the called one is imported, and describes itself."""
    app = App(
        name="bridged",
        help=_HELP,
        version=__version__,
        help_formatter="plain",
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
    )
    for name, summary in _COMMANDS.items():
        app.command(f"bridge.cli.{name}:{name}", name=name, help=None if name == called else summary)
    return app


def run_command(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code and raises nothing."""
    errors = Terminal(sys.stderr)
    try:
        result = make_app(arguments[0] if arguments else None)(list(arguments))
    except CycloptsError as error:
        _print_error(
            errors, str(error), "`bridged --help` lists the commands, `bridged COMMAND --help` its options"
        )
        return Exit.USAGE
    except CliError as error:
        _print_error(errors, error.message, error.hint)
        return error.code
    except ConfigError as error:
        print_faults(errors, error.faults, "The configuration cannot be used")
        return Exit.FAULTS
    except BrokenPipeError:
        # Whoever read the output has enough (`bridged check | head`); nothing may be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except Exception:
        _print_error(errors, traceback.format_exc(), "this is a fault of the bridge; please report it")
        return Exit.INTERNAL
    return result if isinstance(result, int) else Exit.OK


def _print_error(errors: Terminal, message: str, hint: str) -> None:
    errors.print(f"{errors.red('bridged:')} {escape(message)}")
    if hint:
        errors.print(errors.yellow(f"hint: {hint}"))
