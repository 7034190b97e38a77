"""Owns who is present in which room over all instances: as the log says, and as this instance knows first.

Every instance applies the same messages in log order, so all tables agree on who is in a room *as the log
says*, and on whose coming or going was a user's first or last. An instance knows of its own clients before
the log does: they count as *here* from the moment they enter.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from bridge.model import RoomRef

Seat = tuple[RoomRef, str]
"""A client in a room: the room, and the client's sid. Of one instance: a session that moves to another
instance keeps its sid, and may be told of by both for a while."""


class Member(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A client that is in a room, as the log tells it."""

    room: RoomRef
    sid: str
    user: str
    """The identity: a user counts once, however many clients it has in the room."""
    namespace: str
    """The concrete one that it is in the room of."""
    claims: Mapping[str, object] = {}
    """Those that the events of presence read, no others."""

    @property
    def seat(self) -> Seat:
        """What tells it from the other members of its instance."""
        return self.room, self.sid


class Change(Struct, frozen=True, kw_only=True):
    """A user's first client came into a room, or its last one has gone, as the log says."""

    kind: Literal["joined", "left"]
    member: Member
    """That client."""
    users: int
    """How many users are in the room now: 1 after the first one came, 0 after the last one has gone."""
    namespaces: tuple[str, ...]
    """Concrete namespaces in which clients are in the room now."""


class _State:
    """A seat that is taken: by whom, and who knows it."""

    __slots__ = ("here", "logged", "member")

    def __init__(self, member: Member) -> None:
        self.member = member
        self.here = self.logged = False


class _User:
    """How many seats a user has in a room."""

    __slots__ = ("here", "logged")

    def __init__(self) -> None:
        self.here = self.logged = 0


class _Room:
    __slots__ = ("here", "logged", "namespaces", "users")

    def __init__(self) -> None:
        self.users: dict[str, _User] = {}
        self.here = self.logged = 0  # of these users, those with a seat that is
        self.namespaces: Counter[str] = Counter()  # of the seats that are logged


class PresenceTable:
    """The members of all rooms, by instance; every change costs O(1).

    `incarnation` names one run of one instance wherever it stands.
    """

    def __init__(self, own: str) -> None:
        """`own` is the incarnation of this instance."""
        self._own = own
        self._rooms: dict[RoomRef, _Room] = {}
        self._seats: dict[str, dict[Seat, _State]] = {}
        self._ending: dict[str, set[Seat]] = {}
        self._listing: dict[str, set[Seat]] = {}

    def enter(self, member: Member) -> bool:
        """A client of this instance is in a room from now on; False when it is there already."""
        seats = self._seats.setdefault(self._own, {})
        state = seats.get(member.seat)
        if state is None:
            state = seats[member.seat] = _State(member)
        if state.here:
            return False
        self._set(self._own, state, here=True, logged=state.logged)
        return True

    def exit(self, seat: Seat) -> bool:
        """A client of this instance is gone from a room; False when it was not there."""
        state = self._seats.get(self._own, {}).get(seat)
        if state is None or not state.here:
            return False
        self._set(self._own, state, here=False, logged=state.logged)
        return True

    def joined(self, incarnation: str, members: Iterable[Member]) -> list[Change]:
        """The log says that clients of an instance came; the changes that were news."""
        changes = [self._join(incarnation, member) for member in members]
        return [change for change in changes if change is not None]

    def left(self, incarnation: str, seats: Iterable[Seat]) -> list[Change]:
        """The log says that clients of an instance have gone; a client that was not there changes nothing."""
        changes = [self._leave(incarnation, seat) for seat in seats]
        return [change for change in changes if change is not None]

    def listed(self, incarnation: str, members: Sequence[Member], *, first: bool, last: bool) -> list[Change]:
        """The log brings a part of all members of an instance: who is in none of the parts has gone.

        Those that are in it are no news: others knew them before.
        """
        if first:
            self._listing[incarnation] = set()
        for member in members:
            self._join(incarnation, member)
        if not last or incarnation not in self._listing:
            return []  # without the first part nobody knows who was in it
        listed = self._listing.pop(incarnation)
        seats = self._seats.get(incarnation, {})
        unlisted = [seat for seat, state in seats.items() if state.logged and seat not in listed]
        return self._leave_all(incarnation, unlisted)

    def end(self, incarnation: str) -> None:
        """An instance has ended: its members stay until `gone`, but for those that it tells of anew."""
        seats = self._seats.get(incarnation, {})
        self._listing.pop(incarnation, None)
        self._ending[incarnation] = {seat for seat, state in seats.items() if state.logged}

    def gone(self, incarnation: str) -> list[Change]:
        """The log says that the time of grace of an instance that has ended is over."""
        ending = self._ending.pop(incarnation, None)
        self._listing.pop(incarnation, None)
        return self._leave_all(incarnation, self._seats.get(incarnation, ()) if ending is None else ending)

    def is_ending(self, incarnation: str) -> bool:
        """Whether an instance has ended and its members have not gone yet."""
        return incarnation in self._ending

    def has_members(self, incarnation: str) -> bool:
        """Whether any member of an instance is there."""
        return incarnation in self._seats

    def users(self, room: RoomRef) -> int:
        """How many distinct users are in the room, own clients that the log does not know yet among them."""
        found = self._rooms.get(room)
        return 0 if found is None else found.here

    def occupied(self) -> Iterator[tuple[RoomRef, int]]:
        """The rooms that have users as the log says, and how many."""
        return ((room, found.logged) for room, found in self._rooms.items() if found.logged)

    @property
    def room_count(self) -> int:
        """Rooms that have users."""
        return len(self._rooms)

    @property
    def member_count(self) -> int:
        """Clients in rooms, over all instances."""
        return sum(len(seats) for seats in self._seats.values())

    def _leave_all(self, incarnation: str, seats: Iterable[Seat]) -> list[Change]:
        """In an order that all instances have, each of which knew its own clients first."""
        return self.left(incarnation, sorted(seats, key=lambda seat: (seat[0].system, seat[0].room, seat[1])))

    def _join(self, incarnation: str, member: Member) -> Change | None:
        seat = member.seat
        if incarnation in self._listing:
            self._listing[incarnation].add(seat)
        if incarnation in self._ending:
            self._ending[incarnation].discard(seat)
        seats = self._seats.setdefault(incarnation, {})
        state = seats.get(seat)
        if state is None:
            state = seats[seat] = _State(member)
        return self._set(incarnation, state, here=state.here or incarnation != self._own, logged=True)

    def _leave(self, incarnation: str, seat: Seat) -> Change | None:
        state = self._seats.get(incarnation, {}).get(seat)
        if state is None:
            return None
        for known in (self._listing, self._ending):
            if incarnation in known:
                known[incarnation].discard(seat)
        return self._set(incarnation, state, here=state.here and incarnation == self._own, logged=False)

    def _set(self, incarnation: str, state: _State, *, here: bool, logged: bool) -> Change | None:
        """Count a seat in or out; a change when this was news to the log."""
        member = state.member
        room = self._rooms.get(member.room)
        if room is None:
            room = self._rooms[member.room] = _Room()
        user = room.users.get(member.user)
        if user is None:
            user = room.users[member.user] = _User()
        was_here, was_logged = user.here > 0, user.logged > 0
        user.here += here - state.here
        user.logged += logged - state.logged
        room.here += (user.here > 0) - was_here
        room.logged += (user.logged > 0) - was_logged
        if logged != state.logged:
            room.namespaces[member.namespace] += 1 if logged else -1
            if not room.namespaces[member.namespace]:
                del room.namespaces[member.namespace]
        state.here, state.logged = here, logged
        self._forget(incarnation, member, room)
        if was_logged == (user.logged > 0):
            return None
        return Change(
            kind="left" if was_logged else "joined",
            member=member,
            users=room.logged,
            namespaces=tuple(room.namespaces),
        )

    def _forget(self, incarnation: str, member: Member, room: _Room) -> None:
        """Drop what counts for nothing any more."""
        seats = self._seats[incarnation]
        state, user = seats[member.seat], room.users[member.user]
        if not state.here and not state.logged:
            del seats[member.seat]
            if not seats:
                del self._seats[incarnation]
        if not user.here and not user.logged:
            del room.users[member.user]
            if not room.users:
                del self._rooms[member.room]
