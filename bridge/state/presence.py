"""Which users are in a room, however many clients each of them has there."""

from bridge.model import RoomRef


class Presence:
    """Users of rooms, counted by their clients over all namespaces of a system.

    A client whose connection broke stays until the flow lets it leave, so a user who comes back
    within the grace time was never gone.
    """

    def __init__(self) -> None:
        self._rooms: dict[RoomRef, dict[str, set[str]]] = {}

    def join(self, room: RoomRef, user: str, member: str) -> bool:
        """Note that a user's client is in the room; True when it is the user's first there."""
        users = self._rooms.setdefault(room, {})
        members = users.get(user)
        if members is None:
            users[user] = {member}
            return True
        members.add(member)
        return False

    def leave(self, room: RoomRef, user: str, member: str) -> bool:
        """Note that a client is gone from the room; True when it was the user's last there.

        A client that is not there changes nothing and is nobody's last.
        """
        users = self._rooms.get(room, {})
        members = users.get(user, set())
        if member not in members:
            return False
        members.remove(member)
        if members:
            return False
        del users[user]
        if not users:
            del self._rooms[room]
        return True

    def users(self, room: RoomRef) -> int:
        """How many distinct users are in the room."""
        return len(self._rooms.get(room, ()))

    @property
    def room_count(self) -> int:
        """Rooms that have users."""
        return len(self._rooms)
