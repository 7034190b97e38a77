"""Why connections end: the words of the metric `bridged_closed_total` and of the log."""

from enum import StrEnum

from bridge.errors import BridgeError


class CloseReason(StrEnum):
    """Why a connection, or one namespace of it, ended."""

    TRANSPORT_CLOSE = "transport_close"
    """The client closed it, or the network did."""
    PING_TIMEOUT = "ping_timeout"
    CONNECT_TIMEOUT = "connect_timeout"
    """No namespace was connected in time."""
    SLOW_CLIENT = "slow_client"
    """More waited for it, or longer, than `limits` allows."""
    PROTOCOL_ERROR = "protocol_error"
    INTERNAL_ERROR = "internal_error"
    """A fault of the bridge's own."""
    SHUTDOWN = "shutdown"
    EVICTED = "evicted"
    """One of its sessions goes on on another connection."""
    CLIENT_DISCONNECT = "client_disconnect"
    """The client left the namespace on purpose."""
    SERVER_DISCONNECT = "server_disconnect"
    """The bridge ended the namespace."""


class ProtocolError(BridgeError):
    """A client broke the protocol; the connection is closed, and `word` is all that the log says of it."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word
