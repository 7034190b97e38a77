"""Carries out the joins and leaves of a command, with what the client missed of the rooms that it joins."""

from __future__ import annotations

from bridge.errors import Code
from bridge.flow.replays import Replays
from bridge.flow.rooms import Rooms
from bridge.flow.session import Session
from bridge.model import Join, Leave, Refuse
from bridge.rules.command_plan import CommandPlan, Recovery
from bridge.rules.since import Since

_FORBIDDEN = Refuse(code=Code.FORBIDDEN, message="You may not join this room")
_FULL = Refuse(code=Code.FORBIDDEN, message="The client is in too many rooms")


class Moves:
    """Moves clients in and out of rooms."""

    def __init__(self, rooms: Rooms, replays: Replays) -> None:
        self._rooms = rooms
        self._replays = replays

    async def carry_out(self, session: Session, plan: CommandPlan) -> Refuse | Recovery | None:
        """Join and leave as the client is signed in now: it may have changed while it published.

        Nothing is waited for unless the plan says `since`. Then what is answered must be sent before any
        other turn of the loop, and `Client.end_catch_up` called after it.
        """
        recovery = None
        for action in plan.actions:
            if isinstance(action, Join):
                joined = await self._join(session, action, plan.since)
                if isinstance(joined, Refuse):
                    return joined
                recovery = joined
            elif isinstance(action, Leave) and not session.closed:
                for room in action.rooms:
                    self._rooms.exit(session, room)
        return recovery

    async def _join(self, session: Session, join: Join, since: Since | None) -> Refuse | Recovery | None:
        refuse = self._check(session, join)
        if refuse is not None or session.closed:
            return refuse
        mark, recovery = self._replays.head.offset, None
        if since is not None:
            joined = await self._replays.join(
                session, join.rooms, since, lambda: self._check(session, join) is None
            )
            refuse = self._check(session, join)
            if refuse is not None or joined is None:
                return refuse
            mark = joined.mark
            recovery = Recovery(recovered=joined.recovered, offset=self._replays.head.cursor)
        for room in join.rooms:
            self._rooms.enter(session, room, mark)
        return recovery

    def _check(self, session: Session, join: Join) -> Refuse | None:
        """Why the client may not join; one that is gone is told nothing."""
        if session.closed:
            return None
        if not all(self._rooms.may_enter(session, room) for room in join.rooms):
            return _FORBIDDEN
        return _FULL if self._rooms.is_full(session, join.rooms) else None
