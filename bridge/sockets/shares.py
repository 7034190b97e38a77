"""What several connections receive of one call of the fan-out: messages encoded once, joined once."""

from collections.abc import Sequence

from msgspec import Struct

from bridge.flow.ports import Head
from bridge.model import Emission
from bridge.sockets.messages import Batch, Message
from bridge.sockets.socket_packets import encode_event, frame_event


class Share(Struct, eq=False):
    """Some of the emissions of one call, in order: what one or more connections receive.

    An emission with a cursor, for clients that recover, goes by the index ~i (-1 - i), the plain one by i:
    one connection may have clients of both kinds, in different namespaces.
    """

    shares: "Shares"
    indexes: Sequence[int]
    frames: bytes | None = None
    """The websocket frames, joined; None until the first connection needs them."""
    cursors: "Share | None" = None
    """`with_cursors`, once it was asked for."""

    def join_frames(self) -> bytes:
        """Make the frames, for all connections of this share."""
        self.frames = frames = self.shares.join_frames(self.indexes)
        return frames

    @property
    def batch(self) -> Batch:
        """The messages, for a connection that cannot be written to at once."""
        return Batch(self.shares.encode(self.indexes))

    @property
    def with_cursors(self) -> "Share":
        """The same emissions for clients that recover."""
        if self.cursors is None:
            self.cursors = Share(self.shares, [~index for index in self.indexes])
        return self.cursors


class Shares:
    """The different shares of one call: connections that receive the same events use the same bytes.

    Joining per room alone would break the order for a client that is in two rooms whose events alternate.
    """

    def __init__(self, emissions: Sequence[Emission], head: Head) -> None:
        self._emissions = emissions
        self._head = head
        self._plain: dict[int, Message] = {}
        self._with_cursors: dict[tuple[int, str], Message] = {}
        self._cursors: list[tuple[str, str]] | None = None
        self._joined: dict[tuple[int, ...], Share] = {}
        self._unions: dict[tuple[Share, Share], Share] = {}

    def union(self, one: Share, other: Share) -> Share:
        """All emissions of both: the same share, however it came about."""
        union = self._unions.get((one, other))
        if union is None:
            indexes = tuple(sorted({*one.indexes, *other.indexes}, key=_position))
            union = self._joined.get(indexes)
            if union is None:
                union = self._joined[indexes] = Share(self, indexes)
            self._unions[one, other] = union
        return union

    def join_frames(self, indexes: Sequence[int]) -> bytes:
        """The websocket frames of some emissions."""
        if len(indexes) == 1 and indexes[0] >= 0:  # as most are: one event that one client gets
            emission = self._emissions[indexes[0]]
            return frame_event(emission.namespace, emission.event, emission.args)
        return b"".join([message.frames for message in self.encode(indexes)])

    def encode(self, indexes: Sequence[int]) -> list[Message]:
        """The messages of some emissions; each is made once for all who get the same."""
        messages: list[Message] = []
        for at, index in enumerate(indexes):
            if index < 0:
                messages.append(self._encode_with_cursor(~index, indexes[at + 1 :]))
                continue
            message = self._plain.get(index)
            if message is None:
                emission = self._emissions[index]
                message = encode_event(emission.namespace, emission.event, emission.args)
                self._plain[index] = message
            messages.append(message)
        return messages

    def _encode_with_cursor(self, index: int, later: Sequence[int]) -> Message:
        """The message for a client that recovers, and that gets the later ones too.

        Of several emissions of one delivery to one client only the last says that the client has that
        delivery: cut between them, it would never learn that it missed the others.
        """
        emission = self._emissions[index]
        before, after = self._find_cursors()[index]
        cursor = before if self._is_followed(emission, later) else after
        message = self._with_cursors.get((index, cursor))
        if message is None:
            message = encode_event(emission.namespace, emission.event, emission.args, cursor)
            self._with_cursors[index, cursor] = message
        return message

    def _is_followed(self, emission: Emission, later: Sequence[int]) -> bool:
        """Whether a later one is for the same client and comes from the same delivery."""
        for index in later if emission.place is not None else ():
            other = self._emissions[_position(index)]
            if other.place != emission.place:
                return False
            if other.namespace == emission.namespace:
                return True
        return False

    def _find_cursors(self) -> list[tuple[str, str]]:
        """What a client holds before and after each emission of the call.

        One without a place moves nobody: whoever gets it holds what came before it in this call.
        """
        if self._cursors is None:
            self._cursors = []
            before = after = self._head()
            place = None
            for emission in self._emissions:
                if emission.place is None:
                    self._cursors.append((after, after))
                    continue
                if emission.place != place:
                    place, before, after = emission.place, after, emission.place.cursor
                self._cursors.append((before, after))
        return self._cursors


def _position(index: int) -> int:
    """Where an emission stands in its call, with a cursor or without."""
    return index if index >= 0 else ~index
