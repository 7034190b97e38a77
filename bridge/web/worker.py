"""Which of several processes on one port this is, and which one a connection's id names."""

import re
from pathlib import Path
from typing import Final

from msgspec import Struct

MAX_WORKERS: Final = 256

_OWNER: Final = re.compile(r"([1-9][0-9]{0,2})\.")


class Worker(Struct, frozen=True, kw_only=True):
    """One of the processes that `bridged run --workers N` starts; each is a full instance."""

    number: int
    """From 1."""
    count: int
    """How many there are."""
    folder: Path
    """Where their sockets for one another are; nobody else may enter it."""
    starts: int = 1
    """How often the worker of this number has been started."""

    @property
    def sid_prefix(self) -> str:
        """What the ids of its connections begin with."""
        return f"{self.number}."

    @property
    def others(self) -> list[int]:
        """The numbers of all but this one."""
        return [number for number in range(1, self.count + 1) if number != self.number]

    def find_owner(self, sid: str) -> int | None:
        """The number of the other worker that a connection's id names; None when it names none.

        Ids are what clients say: one that is forged leads to a worker that does not know it.
        """
        match = _OWNER.match(sid)
        number = 0 if match is None else int(match[1])
        return number if number != self.number and 1 <= number <= self.count else None

    def socket_path(self, word: str, number: int | None = None) -> str:
        """Of a worker's socket for that purpose; its own without a number."""
        return str(self.folder / f"{number or self.number}.{word}")
