"""What the flow does when a client connects, signs in, sends, and goes: the implementation of `Gateway`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from bridge.errors import Code
from bridge.flow.admission import MAX_FAILED_SIGN_INS, Admission
from bridge.flow.door import Door
from bridge.flow.lost_and_found import LostAndFound
from bridge.flow.pace import Pace, banned
from bridge.flow.ports import Admitted, Client, ConnectRefused, ConnectRequest
from bridge.flow.reconnects import Reconnects
from bridge.flow.recoveries import Recoveries
from bridge.flow.replays import Replays
from bridge.flow.rooms import Rooms
from bridge.flow.session import Pending, Session, Sessions
from bridge.flow.uplink import Uplink
from bridge.model import Argument, Command, Principal, Refuse, size_of
from bridge.rules.command_plan import client_scope, plan_connect, render_refusal_ack
from bridge.rules.compile import Rules
from bridge.rules.emits import EmitTemplate, to_argument
from bridge.rules.scope import Scope
from bridge.telemetry.logs import Audit
from bridge.telemetry.metrics import Metrics

HELD_BYTES = 65_536
"""Commands before sign-in are held up to this size: nobody has vouched for the client yet."""

_UNSIGNED = Refuse(code=Code.NOT_AUTHENTICATED, message="Sign in first")
_EXPIRED = Refuse(code=Code.NOT_AUTHENTICATED, message="The token has expired")


class BridgeGateway:
    """Turns what clients do into sessions, joins and commands; no method raises."""

    def __init__(
        self,
        rules: Rules,
        *,
        door: Door,
        sessions: Sessions,
        admission: Admission,
        pace: Pace,
        rooms: Rooms,
        uplink: Uplink,
        replays: Replays,
        recoveries: Recoveries,
        lost_and_found: LostAndFound,
        reconnects: Reconnects,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        """`clock` gives epoch seconds."""
        self._rules = rules
        self._sessions = sessions
        self._admission = admission
        self._pace = pace
        self._rooms = rooms
        self._uplink = uplink
        self._replays = replays
        self._recoveries = recoveries
        self._lost_and_found = lost_and_found
        self._reconnects = reconnects
        self._metrics = metrics
        self._clock = clock
        self._audit = Audit()
        self._door = door
        self._draining = False

    def drain(self) -> None:
        """From here on refuse connections and commands: the instance is about to stop."""
        self._draining = True
        self._door.close()
        self._replays.drain()

    async def connect(self, client: Client, request: ConnectRequest) -> Admitted | ConnectRefused:
        """Admit a client to its namespace, at once or until it signs in, or refuse it."""
        return await self._door.admit(client, request)

    def connected(self, client: Client) -> None:
        """Let a signed-in client see the namespace; give the other one its time to sign in."""
        farewell = self._door.farewell_of(client)
        if farewell is not None:
            client.emit(*farewell)
            client.disconnect()
            return
        session = self._sessions.get(client)
        if session is None:
            return
        late = session.namespace.auth.late
        if session.principal is not None:
            self._let_in(session, session.principal)
        elif late is not None:
            session.timer = asyncio.get_running_loop().call_later(late.within, self._give_up_on, session)

    def received(self, client: Client, event: str, args: Sequence[Argument], ack_id: int | None) -> None:
        """Take a client's event: a sign-in at once, a command into the inbox."""
        session = self._sessions.get(client)
        if session is None or session.closed:
            return
        refuse = self._shutting_down() or self._pace.take(session, event)
        if refuse is not None:
            self._uplink.refuse(session, refuse, event=event, ack_id=ack_id)
            if refuse.code is Code.RATE_LIMITED:
                self._ban_if_due(session)
        elif event == "authenticate" and session.namespace.auth.required:
            self._sign_in(session, tuple(args), ack_id)
        elif self._admission.has_expired(session):
            self._uplink.refuse(session, _EXPIRED, event=event, ack_id=ack_id)
            self._expire(session)
        else:
            command = Command(event=event, args=tuple(args))
            self._enqueue(session, Pending(command, ack_id, size_of(command.args)))

    def disconnected(self, client: Client, *, reason: str, transport_lost: bool) -> None:
        """End the session of a client that is gone; what it sent before is still carried out."""
        self._door.forget(client)
        session = self._sessions.get(client)
        if session is None:
            return
        if session.principal is None:
            session.discard_inbox()
        self._lost_and_found.closed(session, transport_lost=transport_lost)
        self._rooms.exit_all(session, transport_lost=transport_lost)
        self._sessions.close(session, transport_lost=transport_lost)
        self._metrics.clients.labels(session.namespace.pattern).dec()
        self._audit.closed(
            user=_user(session), address=session.remote, namespace=session.namespace.pattern, reason=reason
        )

    def _shutting_down(self) -> Refuse | None:
        if not self._draining:
            return None
        return Refuse(code=Code.SHUTTING_DOWN, message="The server is shutting down: try again")

    def _let_in(self, session: Session, principal: Principal) -> None:
        """The client has signed in: from here on it sees events, and its held commands are run."""
        client, entry = session.client, session.entry
        plan = plan_connect(session.namespace, session.words, principal, client.sid, self._clock())
        self._recoveries.begin(session, plan.rooms)
        if entry is not None:
            client.begin_catch_up(entry.behind.cursor)
        if plan.emit is not None:
            client.emit(*plan.emit)
        for room, mark in self._recoveries.rooms_of(session).items():
            has_values = entry is not None and entry.has_values(room)
            self._rooms.enter(session, room, mark, retained=not has_values)
        self._admission.watch_expiry(session, self._expire)
        rapid = session.lane.sessions == 1 and self._reconnects.note(session.system, principal.identity)
        if rapid:
            self._metrics.rapid_reconnects.labels(session.namespace.pattern).inc()
        self._audit.opened(
            user=principal.user, address=session.remote, namespace=session.namespace.pattern, rapid=rapid
        )
        if entry is None:
            self._uplink.work(session)
        else:
            self._replays.catch_up(session, entry.behind, lambda: self._uplink.work(session))

    def _sign_in(self, session: Session, args: tuple[Argument, ...], ack_id: int | None) -> None:
        """Carry out `authenticate`: the first one lets the client in, a later one renews its token."""
        found = self._admission.check_sign_in(session, args)
        if isinstance(found, Refuse):
            self._sign_in_failed(session, found, ack_id)
            return
        renewal = session.principal is not None
        self._sessions.sign_in(session, found)
        scope = client_scope(session.words, found, sid=session.client.sid, now=self._clock())
        session.client.emit(*session.namespace.auth.authenticated.render(scope))
        if ack_id is not None:
            session.client.ack(ack_id, (to_argument({"status": "ok"}),))
        self._metrics.commands.labels(f"{session.namespace.pattern} authenticate", "ok").inc()
        if renewal:
            self._renew(session, found)
        else:
            self._let_in(session, found)

    def _sign_in_failed(self, session: Session, refuse: Refuse, ack_id: int | None) -> None:
        scope = self._to_scope(session, refuse)
        session.client.emit(*session.namespace.auth.failed.render(scope))
        if ack_id is not None:
            session.client.ack(ack_id, render_refusal_ack(session.namespace, refuse, scope))
        self._metrics.commands.labels(f"{session.namespace.pattern} authenticate", refuse.code.value).inc()
        self._metrics.refused.labels(refuse.code.value).inc()
        self._audit.refused(
            user=_user(session),
            address=session.remote,
            namespace=session.namespace.pattern,
            reason=refuse.code.value,
        )
        session.failed_sign_ins += 1
        if session.principal is None and session.failed_sign_ins >= MAX_FAILED_SIGN_INS:
            self._give_up_on(session)

    def _renew(self, session: Session, principal: Principal) -> None:
        """Live on with a new token: leave the rooms that its claims forbid."""
        due = plan_connect(
            session.namespace, session.words, principal, session.client.sid, self._clock()
        ).rooms
        for room in self._rooms.rooms_of(session):
            if room not in due and not self._rooms.may_enter(session, room):
                self._rooms.exit(session, room)
        self._admission.watch_expiry(session, self._expire)

    def _enqueue(self, session: Session, pending: Pending) -> None:
        """Put a command into the inbox, or refuse it when there is no room."""
        limits = self._rules.config.limits
        event, ack_id = pending.command.event, pending.ack_id
        late = session.namespace.auth.late
        if session.principal is None:
            held = late.hold if late is not None else 0
            if len(session.inbox) >= held or session.inbox_bytes + pending.size > HELD_BYTES:
                self._uplink.refuse(session, _UNSIGNED, event=event, ack_id=ack_id)
                return
        elif len(session.inbox) >= limits.inbox or session.inbox_bytes + pending.size > 2 * limits.payload:
            refuse = Refuse(code=Code.RATE_LIMITED, message="Too many commands wait", retry_after=1.0)
            self._uplink.refuse(session, refuse, event=event, ack_id=ack_id)
            return
        session.push(pending)
        if session.principal is not None:
            self._uplink.work(session)

    def _ban_if_due(self, session: Session) -> None:
        """End all sessions of the user whose refusals were one too many."""
        for each in self._pace.note_refusal(session):
            identity = each.principal.identity if each.principal is not None else ""
            refuse = banned(self._pace.ban_left(each.namespace.limits_name, identity) or 0.0)
            self.end(each, refuse)

    def _give_up_on(self, session: Session) -> None:
        """The client did not sign in: answer what it sent, then disconnect it."""
        self._refuse_waiting(session, _UNSIGNED)
        session.client.disconnect()

    def _expire(self, session: Session) -> None:
        """The client's token has ended, and its session with it."""
        self.end(session, _EXPIRED, session.namespace.auth.expired)

    def end(self, session: Session, refuse: Refuse, farewell: EmitTemplate | None = None) -> None:
        """End a session; its commands that wait, and its last event, say why."""
        if session.closed:
            return
        self._refuse_waiting(session, refuse)
        if farewell is None:
            self._uplink.refuse(session, refuse, event="-", ack_id=None)
        else:
            session.client.emit(*farewell.render(self._to_scope(session, refuse)))
        session.client.disconnect()

    def _to_scope(self, session: Session, refuse: Refuse) -> Scope:
        """What the answer to a refused sign-in may read."""
        return client_scope(
            session.words,
            session.principal,
            sid=session.client.sid,
            now=self._clock(),
            error=session.namespace.errors.describe(refuse),
        )

    def _refuse_waiting(self, session: Session, refuse: Refuse) -> None:
        """Answer the commands that will not be carried out."""
        for pending in session.discard_inbox():
            self._uplink.refuse(session, refuse, event=pending.command.event, ack_id=pending.ack_id)


def _user(session: Session) -> str | None:
    return session.principal.user if session.principal is not None else None
