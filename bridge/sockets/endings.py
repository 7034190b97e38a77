"""Why connections end: the words of the metric `bridged_closed_total` and of the log."""

from enum import StrEnum
from typing import Final

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
    NEW_EPOCH = "new_epoch"
    """The log may have a gap: whoever comes back loads its state anew."""
    CLIENT_DISCONNECT = "client_disconnect"
    """The client left the namespace on purpose."""
    SERVER_DISCONNECT = "server_disconnect"
    """The bridge ended the namespace."""

    @property
    def close_code(self) -> int:
        """What a websocket's close frame says."""
        return _CLOSE_CODES.get(self, 1000)

    @property
    def is_abrupt(self) -> bool:
        """Whether a websocket is cut: whoever does not read would not read a close frame either."""
        return self in (CloseReason.PING_TIMEOUT, CloseReason.SLOW_CLIENT)


_CLOSE_CODES: Final = {
    CloseReason.INTERNAL_ERROR: 1011,
    CloseReason.SHUTDOWN: 1001,
}


class ProtocolError(BridgeError):
    """A client broke the protocol; the connection is closed, and `word` is all that the log says of it."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word
