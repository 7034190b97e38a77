"""Tells the other instances which of the sessions that all of them were given they need not keep."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import Final

from msgspec import Struct

from bridge.flow.own_messages import OwnWriter

CLAIMED: Final = "session.claimed"
_MOST_KEYS: Final = 1000
"""Of one message."""


class Claimed(Struct, frozen=True, kw_only=True):
    """Sessions that were handed over go on somewhere, or have ended."""

    keys: list[str]


class Claims:
    """Writes claims into the log, many at once and again and again while the broker is away.

    None is dropped, since of a session that is not claimed the others would keep an old copy. There are no
    more of them than shared sessions, which are bounded, and are not shared any more with that.
    """

    def __init__(self, writer: OwnWriter) -> None:
        self._writer = writer
        self._keys: dict[str, None] = {}
        """Of what is to be written, in order."""
        self._writing: asyncio.Task[None] | None = None

    def add(self, key: str) -> None:
        """Claim a session, soon."""
        self._keys[key] = None
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write(), name="claims")

    async def written(self) -> None:
        """Return when the log has all of them."""
        if self._writing is not None:
            await asyncio.wait([self._writing])

    async def stop(self) -> None:
        """Give up what is under way."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)

    async def _write(self) -> None:
        try:
            while self._keys:
                keys = list(islice(self._keys, _MOST_KEYS))
                for key in keys:
                    del self._keys[key]
                await self._writer.write_until_confirmed(CLAIMED, Claimed(keys=keys))
        finally:
            self._writing = None
