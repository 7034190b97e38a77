"""The command `bridged`: one module for each of its commands."""

import sys


def main() -> None:
    """Run the command line of this process and end it with the exit code (`bridge.cli.exits.Exit`)."""
    try:
        # Here, since Ctrl-C may come while the libraries are loaded, which takes some tenths of a second.
        from bridge.cli.commands import run_command

        code = run_command(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130  # Exit.INTERRUPTED
    sys.exit(code)
