"""The command `bridged`: one module for each of its commands."""

import sys

from bridge.cli.commands import run_command


def main() -> None:
    """Run the command line of this process and end it with the exit code (`bridge.cli.exits.Exit`)."""
    sys.exit(run_command(sys.argv[1:]))
