"""Shows the faults of a configuration, one a line, and what to do about the most common ones."""

from collections.abc import Sequence
from typing import Final

from bridge.cli.terminal import Terminal, escape
from bridge.errors import Fault

SIGNING_KEY_HINT: Final = (
    "set JWT_SECRET to 32 bytes or more (openssl rand -hex 32), or `make run` makes one in .run/: "
    "export JWT_SECRET=$(cat .run/jwt_secret)"
)
"""What to do where the secret of tokens is missing."""


def print_faults(terminal: Terminal, faults: Sequence[Fault], config: str) -> None:
    """Print `file: path: message` for each fault, then their number and hints."""
    for fault in faults:
        place = ": ".join(part for part in (terminal.bold(fault.file), fault.path) if part)
        terminal.print(f"{place}: {escape(fault.message)}" if place else escape(fault.message))
    count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    terminal.print()
    terminal.print(terminal.red(f"{config}: {count}"))
    if any(needs_secret(fault) for fault in faults):
        terminal.print(terminal.yellow(f"hint: {SIGNING_KEY_HINT}"))


def needs_secret(fault: Fault) -> bool:
    """Whether the fault is about the secret of tokens, which every newcomer meets first."""
    return "JWT_SECRET" in fault.message or fault.path == "auth.jwt.secret"
