"""The errors that the bridge raises, and the stable codes that a client sees."""

from enum import StrEnum

from msgspec import Struct


class Code(StrEnum):
    """Why a command or a connection was refused; a client may rely on these words.

    The table of meanings is in docs/protocol.md.
    """

    VALIDATION_FAILED = "VALIDATION_FAILED"
    UNKNOWN_NAMESPACE = "UNKNOWN_NAMESPACE"
    UNKNOWN_COMMAND = "UNKNOWN_COMMAND"
    UNKNOWN_ROOM = "UNKNOWN_ROOM"
    FORBIDDEN = "FORBIDDEN"
    NOT_AUTHENTICATED = "NOT_AUTHENTICATED"
    INVALID_TOKEN = "INVALID_TOKEN"  # noqa: S105  a word for clients
    BANNED = "BANNED"
    TOO_MANY_CONNECTIONS = "TOO_MANY_CONNECTIONS"
    RATE_LIMITED = "RATE_LIMITED"
    UNROUTABLE = "UNROUTABLE"
    REJECTED = "REJECTED"
    BROKER_UNAVAILABLE = "BROKER_UNAVAILABLE"
    UNKNOWN_OUTCOME = "UNKNOWN_OUTCOME"
    TIMEOUT = "TIMEOUT"
    SHUTTING_DOWN = "SHUTTING_DOWN"
    INTERNAL = "INTERNAL"

    @property
    def kind(self) -> str:
        """The family of the code: `validation`, `authentication` or `server`."""
        return _KINDS.get(self, "server")


_KINDS = {
    Code.VALIDATION_FAILED: "validation",
    Code.UNKNOWN_NAMESPACE: "validation",
    Code.UNKNOWN_COMMAND: "validation",
    Code.UNKNOWN_ROOM: "validation",
    Code.RATE_LIMITED: "validation",
    Code.FORBIDDEN: "authentication",
    Code.NOT_AUTHENTICATED: "authentication",
    Code.INVALID_TOKEN: "authentication",
    Code.BANNED: "authentication",
    Code.TOO_MANY_CONNECTIONS: "authentication",
}


class BridgeError(Exception):
    """Anything that the bridge raises on purpose."""


class Fault(Struct, frozen=True, kw_only=True, order=True):
    """One mistake in a configuration: where it stands, what stands there, what to do about it."""

    file: str
    path: str
    """Dotted path inside the file, such as `namespaces./portal.events`; empty for the whole file."""
    message: str
    """What is wrong, with the value, and the remedy: `unknown word "projekt" (known: project)`."""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.path, self.message) if part)


class ConfigError(BridgeError):
    """A configuration cannot be used; carries every fault that was found, not only the first."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults
