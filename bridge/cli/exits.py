"""How the command ends: exit codes by name, and the error that carries one."""

from enum import IntEnum

from bridge.errors import BridgeError


class Exit(IntEnum):
    """Exit codes of `bridged`; scripts may rely on them (docs/configuration.md lists them)."""

    OK = 0
    """It did what was asked."""
    FAULTS = 1
    """The configuration has faults, or what was checked is not as it should be."""
    USAGE = 2
    """The command line cannot be understood."""
    UNREACHABLE = 3
    """The broker or the server cannot be reached."""
    REFUSED = 4
    """The broker or the server refused: a key that nobody listens to, a wrong password, a bad token."""
    ADDRESS = 5
    """The daemon cannot listen on its address: the port is in use, or not allowed."""
    FORCED = 6
    """The daemon was stopped before everything was drained: a second signal, or `shutdown_timeout`."""
    INTERNAL = 70
    """A fault of the bridge itself; please report it."""
    INTERRUPTED = 130
    """Ctrl-C."""


class CliError(BridgeError):
    """A command cannot go on; says to people what is wrong and what to do."""

    def __init__(self, code: Exit, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        """What to do about it."""
