"""How fast clients may go: rates of connections and commands, and bans of users who do not heed them."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

from bridge.errors import Code
from bridge.flow.session import Session, Sessions
from bridge.model import Refuse
from bridge.rules.limits import BanCounter, RateWindow
from bridge.state.bans import Bans

COUNTED_USERS = 10_000
"""Users whose refusals are counted; the one that was refused longest ago is forgotten first."""


class Pace:
    """Counts commands against their limits; tells who must wait, and who is shut out."""

    def __init__(self, sessions: Sessions, clock: Callable[[], float]) -> None:
        """`clock` gives seconds that never jump (`time.monotonic`)."""
        self._sessions = sessions
        self._clock = clock
        self._bans = Bans()
        self._refusals: OrderedDict[tuple[str, str], BanCounter] = OrderedDict()

    def take(self, session: Session, event: str) -> Refuse | None:
        """Count one command of a client; a Refuse when it comes too fast."""
        now = self._clock()
        wait = session.lane.rate.take(now)
        if wait is None:
            rule = session.namespace.commands.get(event)
            if rule is not None and rule.limit:
                key = (session.namespace.pattern, event)
                rates = session.lane.commands.get(key)
                if rates is None:
                    rates = session.lane.commands[key] = RateWindow(rule.limit)
                wait = rates.take(now)
        return None if wait is None else too_fast(wait)

    def note_refusal(self, session: Session) -> list[Session]:
        """Count a refusal for rate; the user's sessions, which end now, if it is one too many.

        Clients without a token are nobody's: one of them does not shut out the others.
        """
        ban, principal = session.namespace.limits.ban, session.principal
        if ban is None or principal is None or not principal.identity:
            return []
        now = self._clock()
        key = (session.namespace.limits_name, principal.identity)
        counter = self._refusals.get(key)
        if counter is None:
            counter = self._refusals[key] = BanCounter(ban)
        self._refusals.move_to_end(key)
        if len(self._refusals) > COUNTED_USERS:
            self._refusals.popitem(last=False)
        until = counter.refused(now)
        if until is None:
            return []
        del self._refusals[key]
        self._bans.ban(*key, until=until, now=now)
        return self._sessions.of_user(*key)

    def ban_left(self, limits_name: str, identity: str) -> float | None:
        """Seconds until the user's ban under these limits ends; None when there is none."""
        now = self._clock()
        until = self._bans.banned_until(limits_name, identity, now)
        return None if until is None else until - now


def too_fast(wait: float) -> Refuse:
    """The refusal of a command that came too fast; `wait` is seconds."""
    return Refuse(code=Code.RATE_LIMITED, message="Rate limit exceeded", retry_after=_round_up(wait))


def banned(left: float) -> Refuse:
    """The refusal of everything that a banned user does; `left` is seconds."""
    return Refuse(
        code=Code.BANNED, message="Too many commands came too fast: banned", retry_after=_round_up(left)
    )


def excluded(left: float) -> Refuse:
    """The refusal of everything that a user does whom an operator has banned; `left` is seconds."""
    return Refuse(code=Code.BANNED, message="Banned", retry_after=_round_up(left))


def _round_up(seconds: float) -> float:
    """Whole milliseconds, but never too few: whoever waits so long is let through."""
    return math.ceil(seconds * 1000) / 1000
