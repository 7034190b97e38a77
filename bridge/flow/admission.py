"""Who is let in, and until when: handshake, late sign-in, renewal, expiry, bans, connections per user."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Mapping

import msgspec
from msgspec import Raw, Struct

from bridge.auth.tokens import FaultReason, TokenFault, TokenVerifier, find_bearer_token
from bridge.errors import Code
from bridge.flow.pace import Pace, banned, excluded
from bridge.flow.ports import ConnectRequest
from bridge.flow.session import Session, Sessions
from bridge.model import Argument, Principal, Refuse
from bridge.rules.namespaces import NamespaceRules
from bridge.state.verdicts import Exclusions

MAX_FAILED_SIGN_INS = 5
"""After so many failed `authenticate` events a client that is not signed in is disconnected."""


class SignIn(Struct, frozen=True):
    """The payload of `authenticate`; other fields are ignored, since only the token counts."""

    token: str
    user_id: str | None = None


class Admission:
    """Decides who a client is; it sets the timer of a session, and sends nothing."""

    def __init__(
        self,
        sessions: Sessions,
        verifier: TokenVerifier,
        pace: Pace,
        exclusions: Exclusions,
        clock: Callable[[], float],
    ) -> None:
        """`exclusions` are those by operators; `clock` gives epoch seconds."""
        self._sessions = sessions
        self._verifier = verifier
        self._pace = pace
        self._exclusions = exclusions
        self._clock = clock

    def check_handshake(
        self,
        namespace: NamespaceRules,
        words: Mapping[str, str],
        request: ConnectRequest,
        besides: Container[str],
    ) -> Principal | Refuse | None:
        """Say who connects; None when the client may still sign in with `authenticate`.

        `besides` are connections that do not count: its own, and one whose place it may take.
        """
        if not namespace.auth.required:
            return Principal(user="", claims={})
        token = find_token(request, in_query=namespace.auth.query_token)
        if token is None:
            if namespace.auth.late is not None:
                return None
            return Refuse(code=Code.NOT_AUTHENTICATED, message="A token is required")
        return self._identify(namespace, words, token, besides)

    def check_sign_in(self, session: Session, args: tuple[Argument, ...]) -> Principal | Refuse:
        """Say who sends `authenticate`, or why it fails; a renewal must name the same user and tenant."""
        sign_in = _parse_sign_in(args)
        if sign_in is None:
            return Refuse(code=Code.VALIDATION_FAILED, message="authenticate takes {token, user_id?}")
        own = (session.client.connection_id,)
        found = self._identify(session.namespace, session.words, sign_in.token, own)
        if isinstance(found, Refuse):
            return found
        if sign_in.user_id is not None and sign_in.user_id != found.user:
            return Refuse(code=Code.FORBIDDEN, message="The token belongs to another user")
        known = session.principal
        if known is not None and known.identity != found.identity:
            return Refuse(code=Code.FORBIDDEN, message="The session belongs to another user")
        return found

    def _identify(
        self, namespace: NamespaceRules, words: Mapping[str, str], token: object, besides: Container[str]
    ) -> Principal | Refuse:
        now = self._clock()
        found = self._verifier.verify(token, now)
        if isinstance(found, TokenFault):
            missing = found.reason is FaultReason.MISSING
            code = Code.NOT_AUTHENTICATED if missing else Code.INVALID_TOKEN
            return Refuse(code=code, message=found.message)
        left = self._pace.ban_left(namespace.limits_name, found.identity)
        if left is not None:
            return banned(left)
        until = self._exclusions.ends(namespace.system, found.identity, now)
        if until is not None:
            return excluded(until - now)
        if not namespace.allow.permits(found.claims, words):
            return Refuse(code=Code.FORBIDDEN, message="Access to this namespace is denied")
        most = namespace.limits.connections_per_user
        others = self._sessions.connections(namespace.limits_name, found.identity, besides=besides)
        if most is not None and others >= most:
            return Refuse(
                code=Code.TOO_MANY_CONNECTIONS, message=f"A user may have {most} connections at once"
            )
        return found

    def has_expired(self, session: Session) -> bool:
        """Whether the client's token has ended by the wall clock, which may run ahead of the timer."""
        principal = session.principal
        return (
            principal is not None
            and principal.expires_at is not None
            and principal.expires_at <= self._clock()
        )

    def watch_expiry(self, session: Session, expire: Callable[[Session], None]) -> None:
        """Call `expire` when the token of the client ends, by the wall clock."""
        session.stop_timer()
        if session.principal is None or session.principal.expires_at is None:
            return
        loop = asyncio.get_running_loop()
        left = session.principal.expires_at - self._clock()
        if left <= 0:
            session.timer = loop.call_soon(expire, session)
            return
        # The wall clock may be set while the loop's goes on: look again at least once a minute.
        session.timer = loop.call_later(min(left, 60.0), self.watch_expiry, session, expire)


def find_token(request: ConnectRequest, *, in_query: bool) -> object:
    """The token of the CONNECT payload's `token`, else of the Authorization header; None without one.

    With `in_query` that of the query comes last. An empty one is none: pages send it that have not
    signed in yet.
    """
    token: object = request.auth.get("token") if isinstance(request.auth, dict) else None
    if token is not None and token != "":
        return token
    bearer = find_bearer_token(request.headers.get("authorization", ""))
    if bearer is not None:
        return bearer
    return (request.query.get("token") or None) if in_query else None


def _parse_sign_in(args: tuple[Argument, ...]) -> SignIn | None:
    if len(args) != 1 or not isinstance(args[0], Raw):
        return None
    try:
        return msgspec.json.decode(args[0], type=SignIn)
    except (ValueError, RecursionError):  # no JSON, no UTF-8, not the fields
        return None
