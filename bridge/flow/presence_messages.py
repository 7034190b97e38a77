"""What instances tell one another in the log about who is present in which room."""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from bridge.state.presence import Member, Seat

JOINED_KEY: Final = "presence.joined"
LEFT_KEY: Final = "presence.left"
SNAPSHOT_KEY: Final = "presence.snapshot"
GONE_KEY: Final = "presence.gone"
ASKED_KEY: Final = "presence.asked"


class Joined(Struct, frozen=True, kw_only=True):
    """Clients of an instance came into rooms."""

    incarnation: str
    number: int
    """Counts what an incarnation says of its members: a message that comes twice, and late, says nothing."""
    at: float
    """Epoch seconds."""
    members: Sequence[Member]


class Left(Struct, frozen=True, kw_only=True):
    """Clients of an instance have gone from rooms."""

    incarnation: str
    number: int
    at: float
    seats: Sequence[Seat]


class Snapshot(Struct, frozen=True, kw_only=True):
    """A part of all members of an instance, for those who do not know them."""

    incarnation: str
    number: int
    at: float
    members: Sequence[Member]
    first: bool
    last: bool


class Gone(Struct, frozen=True, kw_only=True):
    """The time of grace of an instance that has ended is over: its members have gone."""

    incarnation: str
    at: float


class Asked(Struct, frozen=True, kw_only=True):
    """An instance may have missed messages: all shall say anew who is there."""

    by: str
