"""Carries out what operators say on `bridge.control`: revoke, ban and disconnect users, empty rooms."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Annotated, Final, Protocol

import structlog
from msgspec import Meta, Struct

from bridge.errors import Code
from bridge.flow.own_messages import OwnMessages
from bridge.flow.pace import excluded
from bridge.flow.rooms import Rooms
from bridge.flow.session import Session, Sessions
from bridge.model import LATEST_TIME, Delivery, Emission, Refuse, to_identity
from bridge.rules.compile import Rules
from bridge.rules.emits import EmitTemplate
from bridge.rules.namespaces import NamespaceRules
from bridge.state.verdicts import Exclusions, Revocations, Verdict

REVOKE_KEY: Final = "user.revoke"
BAN_KEY: Final = "user.ban"
_REVOKED: Final = Refuse(code=Code.INVALID_TOKEN, message="The token has been revoked")
_SKEW: Final = 300.0
"""Seconds by which two clocks may differ."""
_DISCONNECTED: Final = Refuse(code=Code.FORBIDDEN, message="Disconnected by an operator")

log = structlog.get_logger()

User = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\s\x00-\x1f\x7f-\x9f]+$")]
Tenant = Annotated[str, Meta(max_length=1024)]
Name = Annotated[str, Meta(min_length=1, max_length=1024)]
Moment = float | Annotated[datetime, Meta(tz=True)]
"""Epoch seconds, or as RFC 3339 writes it, with its time zone."""


class _Order(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message of an operator: one that is misspelt is not obeyed in part."""


class Revoke(_Order, frozen=True, kw_only=True):
    """Accept no token of the user that was issued before; `user.revoke`."""

    user: User
    tenant: Tenant | None = None
    until: Moment | None = None
    """When the last of these tokens ends by itself; for good where nobody says. A moment that is past takes
    the revocation back."""


class Ban(_Order, frozen=True, kw_only=True):
    """Shut the user out of a system, or of all; `user.ban`. No seconds, or a past moment, lifts it."""

    user: User
    tenant: Tenant | None = None
    seconds: Annotated[float, Meta(ge=0)] | None = None
    until: Moment | None = None
    system: Name | None = None

    def __post_init__(self) -> None:
        """Refuse, at the decoding, a ban that does not say how long it is."""
        if (self.seconds is None) == (self.until is None):
            raise ValueError("give `seconds` or `until`, one of them")


class Disconnect(_Order, frozen=True, kw_only=True):
    """End the user's sessions, which may come again; `user.disconnect`."""

    user: User
    tenant: Tenant | None = None
    system: Name | None = None
    namespace: Name | None = None


class Evict(_Order, frozen=True, kw_only=True):
    """Take all clients, or one user's, out of a room; `room.evict`."""

    room: Name
    system: Name | None = None
    namespace: Name | None = None
    user: User | None = None
    tenant: Tenant | None = None

    def __post_init__(self) -> None:
        """Refuse, at the decoding, a tenant without a user: it would empty the room of all tenants."""
        if self.tenant is not None and self.user is None:
            raise ValueError("give `user` beside `tenant`: a room cannot be emptied of a whole tenant")


Covers = Callable[[str, str], bool]
"""Whether an order is about a session of this identity in this concrete namespace."""

VerdictKey = tuple[str, str] | tuple[str, str, str]
"""`user.revoke` and an identity, or `user.ban`, a system (`""` is all) and an identity."""


class Ending(Protocol):
    """Ends a session, as `BridgeGateway.end` does."""

    def __call__(self, session: Session, refuse: Refuse, farewell: EmitTemplate | None = None) -> None:
        """Answer what waits, say why, disconnect."""


class Selection(Struct, frozen=True, kw_only=True):
    """Whose sessions an order is about; what is None is any."""

    identity: str | None
    system: str | None = None
    namespace: str | None = None
    """A concrete one, or the pattern of the route file."""

    def covers(self, identity: str, namespace: NamespaceRules, name: str) -> bool:
        """Whether a session of this identity, in the namespace of this concrete name, is meant."""
        return (
            (self.identity is None or self.identity == identity)
            and (self.system is None or self.system == namespace.system)
            and (self.namespace is None or self.namespace in (name, namespace.pattern))
        )


class Control:
    """Obeys operators, in the order of the log; every instance reads the same.

    Revocations and bans hold until they end, for those too who connect later. Disconnecting and
    evicting are about the sessions of the moment: what the log holds of that at the start is over.
    """

    def __init__(
        self,
        rules: Rules,
        sessions: Sessions,
        rooms: Rooms,
        end: Ending,
        revocations: Revocations,
        exclusions: Exclusions,
    ) -> None:
        self._rules = rules
        self._limits_names = {namespace.limits_name for namespace in rules.namespaces}
        self._tenant = rules.config.auth.jwt.defaults.get("tenant")
        self._sessions = sessions
        self._rooms = rooms
        self._end = end
        self._revocations = revocations
        self._exclusions = exclusions
        self._dropped = 0
        self._warming_up = True
        self.on_ended: Callable[[Covers, int | None], None] = lambda *_: None
        """Told which sessions were ended, so that those who are away are not awaited any more; and the
        offset of the order, for those whose instance had not read it. None came from the state."""
        self.on_evicted: Callable[[Covers, str, int | None], None] = lambda *_: None
        """Told likewise which had to leave a room, so that those who are away do not come back into it."""
        self.on_verdict: Callable[[VerdictKey, Verdict, Delivery, float], None] = lambda *_: None
        """Told of each revocation and ban that is read, after it was noted, so that it may be kept."""

    def register(self, messages: OwnMessages) -> None:
        """Take the orders among the messages of `bridge.control`."""
        messages.register(REVOKE_KEY, Revoke, self._revoke)
        messages.register(BAN_KEY, Ban, self._ban)
        messages.register("user.disconnect", Disconnect, self._disconnect)
        messages.register("room.evict", Evict, self._evict)

    def caught_up(self) -> None:
        """The log was read up to the moment of the start: from here on orders are new."""
        self._warming_up = False

    def _revoke(self, order: Revoke, delivery: Delivery, now: float) -> Sequence[Emission]:
        identity = self._to_identity(order.user, order.tenant)
        time, stamped = _time_of(delivery, now)
        until = LATEST_TIME if order.until is None else _to_seconds(order.until)
        verdict = Verdict(time=time, until=until, stamped=stamped)
        if self._revocations.put(identity, verdict, now):
            ended = 0
            for session in self._sessions_of(Selection(identity=identity)):
                if session.principal is not None and self._revocations.covers(session.principal, now):
                    self._end(session, _REVOKED, session.namespace.auth.revoked)
                    ended += 1
            self.on_ended(self._to_covers(Selection(identity=identity)), delivery.offset)
            self._note(delivery, order, ended)
        self.on_verdict((REVOKE_KEY, identity), verdict, delivery, now)
        return ()

    def _ban(self, order: Ban, delivery: Delivery, now: float) -> Sequence[Emission]:
        identity = self._to_identity(order.user, order.tenant)
        time, stamped = _time_of(delivery, now)
        until = time + (order.seconds or 0.0) if order.until is None else _to_seconds(order.until)
        verdict = Verdict(time=time, until=until, stamped=stamped)
        if self._exclusions.put((order.system or "", identity), verdict, now):
            selection = Selection(identity=identity, system=order.system)
            ended = 0
            if until > now:
                ended = self._end_all(selection, excluded(until - now), delivery)
            self._note(delivery, order, ended)
        self.on_verdict((BAN_KEY, order.system or "", identity), verdict, delivery, now)
        return ()

    def _disconnect(self, order: Disconnect, delivery: Delivery, now: float) -> Sequence[Emission]:
        identity = self._to_identity(order.user, order.tenant)
        selection = Selection(identity=identity, system=order.system, namespace=order.namespace)
        if self._warming_up:
            # Others may have handed over some of them before.
            self.on_ended(self._to_covers(selection), delivery.offset)
        else:
            self._note(delivery, order, self._end_all(selection, _DISCONNECTED, delivery))
        return ()

    def _evict(self, order: Evict, delivery: Delivery, now: float) -> Sequence[Emission]:
        identity = None if order.user is None else self._to_identity(order.user, order.tenant)
        selection = Selection(identity=identity, system=order.system, namespace=order.namespace)
        self.on_evicted(self._to_covers(selection), order.room, delivery.offset)
        if self._warming_up:
            return ()
        inside = [
            session for session in self._sessions_of(selection) if self._rooms.is_inside(session, order.room)
        ]
        for session in inside:
            self._rooms.exit(session, order.room)
        self._note(delivery, order, len(inside))
        return ()

    def _end_all(self, selection: Selection, refuse: Refuse, delivery: Delivery) -> int:
        sessions = list(self._sessions_of(selection))
        for session in sessions:
            self._end(session, refuse)
        self.on_ended(self._to_covers(selection), delivery.offset)
        return len(sessions)

    def _sessions_of(self, selection: Selection) -> Iterator[Session]:
        """The sessions that an order is about; where it names a user, others are not looked at."""
        if selection.identity is None:
            candidates = list(self._sessions)
        else:
            candidates = [
                session
                for name in self._limits_names
                if self._sessions.connections(name, selection.identity, besides=())
                for session in self._sessions.of_user(name, selection.identity)
            ]
        for session in candidates:
            identity = "" if session.principal is None else session.principal.identity
            if selection.covers(identity, session.namespace, session.client.namespace):
                yield session

    def _to_covers(self, selection: Selection) -> Covers:
        def covers(identity: str, namespace: str) -> bool:
            if selection.identity not in (None, identity):
                return False  # nearly all: many sessions are held against many orders
            found = self._rules.match_namespace(namespace)
            return found is not None and selection.covers(identity, found[0], namespace)

        return covers

    def _to_identity(self, user: str, tenant: str | None) -> str:
        """Whom a user and tenant name: without a tenant whom a token without one names."""
        return to_identity(user, self._tenant if tenant is None else tenant)

    def _note(self, delivery: Delivery, order: Revoke | Ban | Disconnect | Evict, clients: int) -> None:
        """One line for the audit: what was obeyed, about whom, how many clients of this instance it met."""
        dropped = self._revocations.dropped + self._exclusions.dropped
        if dropped > self._dropped:
            self._dropped = dropped
            log.warning("control.full", dropped=dropped, meaning="verdicts were forgotten before their end")
        if not self._warming_up:
            log.info("control.obeyed", key=delivery.routing_key, user=order.user, clients=clients)


def _time_of(delivery: Delivery, now: float) -> tuple[float, bool]:
    """When an order was given, in whole seconds, as AMQP has them, and whether by its own word.

    That must be credible. A little in the future it is: the operator's clock may be the right one, and this
    instance's slow.
    """
    given = delivery.timestamp
    if given is None or given > now + _SKEW:
        return now // 1, False
    return given // 1, True


def _to_seconds(moment: Moment) -> float:
    return min(moment.timestamp() if isinstance(moment, datetime) else moment, LATEST_TIME)
