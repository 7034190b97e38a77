"""What a cursor says of a session's rooms: from where on each of them lacks events.

A client names the last event that it received. That alone does not tell what it lacks, since a join with
`since` brings older events after newer ones: whoever is cut in the middle of them has all of its other rooms
up to a later place than those. The cursors given meanwhile name both places, and what is remembered here of
the last join says which rooms they mean.
"""

from collections.abc import Collection, Mapping

from msgspec import Struct, structs

from bridge.model import Place
from bridge.state.cursors import Cursor


class LastJoin(Struct, frozen=True, kw_only=True):
    """The latest join that brought missed events: nobody knows yet whether they have arrived."""

    rooms: tuple[str, ...]
    since: Place | None
    """Behind which they were sent; None when one of the rooms had been joined before."""
    marks: Mapping[str, int]
    """Of the rooms, as they would be without it."""
    live: Place
    """Up to where the client had everything else."""
    tag: int
    """Of the rooms, as it stands in the cursors that were sent with them."""
    begun: bool = False
    """The client has shown a cursor of its events, so that a plain one of the same place is of after them."""


class Behind(Struct, frozen=True, kw_only=True):
    """What a client lacks: everything after `base`, and of `rooms` everything after `older` as well."""

    base: Place
    older: Place | None = None
    rooms: tuple[str, ...] = ()
    tag: int = 0
    """By which cursors name these rooms, and others that were joined with them."""
    had: Mapping[str, int] = {}
    """From which offset on it had those of these rooms that it was in when it asked for what is older."""
    begun: bool = False
    """Whether it has some of what these rooms lacked."""
    unsure: Mapping[str, int] = {}
    """Rooms of which nobody can tell whether older events have arrived, with the marks that they had before.
    If not, then neither did the answer to their join: who asks again shall have them."""

    @property
    def cursor(self) -> str:
        """The same as a client holds it."""
        return Cursor(self.base, self.older, self.tag).text


class Progress(Struct, frozen=True, kw_only=True):
    """All that the cursors of one session need in order to be understood."""

    start: Place
    """Where the session began: a client that names no cursor has received nothing since."""
    last: LastJoin | None = None
    earlier: Mapping[str, int] = {}
    """The rooms of joins before that one, at the same place of the log; their marks as above."""
    doubtful: int = -1
    """A plain cursor up to this offset leaves open whether the events of still earlier joins have arrived."""

    def join(
        self, rooms: tuple[str, ...], since: Place, live: Place, tag: int, marks: Mapping[str, int]
    ) -> "Progress":
        """Missed events of rooms are about to be sent, to a client that has everything else up to `live`.

        `marks` are those of the rooms that it is in.
        """
        before, earlier, doubtful = self.last, self.earlier, self.doubtful
        if before is not None and before.live == live:
            earlier = {**before.marks, **earlier}
        elif before is not None:
            earlier, doubtful = {}, before.live.offset
        last = LastJoin(
            rooms=rooms,
            since=None if marks.keys() & set(rooms) else since,
            marks={room: marks.get(room, live.offset) for room in rooms},
            live=live,
            tag=tag,
        )
        return Progress(start=self.start, last=last, earlier=earlier, doubtful=doubtful)

    def covers(self, cursor: Cursor | None) -> bool:
        """Whether a cursor is of this session: then its client has received something."""
        return cursor is not None and cursor.live.offset >= self.start.offset

    def locate(self, cursor: Cursor | None, rooms: Collection[str]) -> Behind | None:
        """What a client that holds this cursor and is in these rooms lacks; None when nobody can tell.

        A cursor of before the session is as none: the official client keeps it when a session could not
        be recovered.
        """
        if cursor is None or not self.covers(cursor):
            return self._locate_plain(self.start, rooms)
        if cursor.replayed is None:
            return self._locate_plain(cursor.live, rooms)
        last = self.last
        if last is not None and cursor.live == last.live and cursor.tag == last.tag:
            # It was sent with an event of the last join, so that those of all earlier joins have arrived.
            if cursor.replayed.offset >= cursor.live.offset:
                return Behind(base=cursor.live)
            return _behind(cursor.live, cursor.replayed, last, rooms, begun=True)
        if last is None or cursor.replayed.offset >= cursor.live.offset:
            return self._locate_plain(cursor.live, rooms)  # that join has arrived, or its rooms were left
        return None

    def resume(self, behind: Behind) -> "Progress":
        """How the cursors of the session are understood that goes on from here."""
        last = self.last if behind.rooms else None
        if last is not None:
            last = structs.replace(last, since=behind.older, live=behind.base, begun=behind.begun)
        return Progress(start=self.start, last=last)

    def _locate_plain(self, base: Place, rooms: Collection[str]) -> Behind | None:
        """A cursor that names one place: it may be of before the last join, or of after it."""
        last = self.last
        if base.offset <= self.doubtful:
            return None
        if last is None or base.offset > last.live.offset:
            return Behind(base=base)
        joined = {room: mark for room, mark in {**last.marks, **self.earlier}.items() if room in rooms}
        if base.offset == last.live.offset:
            return Behind(base=base, unsure={} if last.begun else joined)
        if not joined:
            return Behind(base=base)
        if self.earlier or last.since is None:
            return None
        return _behind(base, last.since, last, rooms)


def _behind(
    base: Place, older: Place, last: LastJoin, rooms: Collection[str], *, begun: bool = False
) -> Behind:
    """Rooms that were left since, or not entered yet, lack nothing."""
    among = tuple(room for room in last.rooms if room in rooms)
    if not among:
        return Behind(base=base)
    had = {room: last.marks[room] for room in among if last.marks[room] < last.live.offset}
    return Behind(base=base, older=older, rooms=among, tag=last.tag, had=had, begun=begun)
