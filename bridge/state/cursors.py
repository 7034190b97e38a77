"""The text that a client holds of its place in the log, and gives back to have what it missed.

`<offset>-<checksum>`: the client has everything of its rooms up to that delivery. While a replay is
unfinished it is `<offset>-<checksum>+<offset>-<checksum>+<tag>`: everything up to the first place, but of
the rooms of the tag only what came up to the second one.
"""

import re
import zlib
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from bridge.model import Place

MOST_CHARACTERS: Final = 64
"""No cursor is longer; what a client sends is looked at no further beyond it."""

# Offsets of 17 digits last for three thousand years at a million events a second. -1 is before the first.
_PLACE: Final = r"(-1|0|[1-9][0-9]{0,16})-([0-9a-f]{8})"
_CURSOR: Final = re.compile(rf"{_PLACE}(?:\+{_PLACE}\+([0-9a-f]{{8}}))?")


class Cursor(Struct, frozen=True):
    """What a client has."""

    live: Place
    """Everything up to here, but for the rooms that are being replayed."""
    replayed: Place | None = None
    """Everything up to here of those rooms; None when no replay is unfinished."""
    tag: int = 0
    """Which rooms those are (`to_tag`)."""

    @property
    def text(self) -> str:
        """As the client holds it."""
        if self.replayed is None:
            return self.live.cursor
        return f"{self.live.cursor}+{self.replayed.cursor}+{self.tag:08x}"


def parse_cursor(text: str) -> Cursor | None:
    """The cursor that a client sent; None of what is none."""
    if len(text) > MOST_CHARACTERS or (match := _CURSOR.fullmatch(text)) is None:
        return None
    offset, checksum, replayed_offset, replayed_checksum, tag = match.groups()
    live = Place(int(offset), int(checksum, 16))
    if tag is None:
        return Cursor(live)
    return Cursor(live, Place(int(replayed_offset), int(replayed_checksum, 16)), int(tag, 16))


def to_tag(rooms: Iterable[str]) -> int:
    """A number that tells which rooms an unfinished replay is of, in whatever order they are named."""
    return zlib.crc32("\0".join(sorted(rooms)).encode("utf-8", "surrogatepass"))
