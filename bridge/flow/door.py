"""Lets clients into their namespaces, or refuses them: by their handshake, with what they come back to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from bridge.errors import Code
from bridge.flow.admission import Admission
from bridge.flow.ports import Admitted, Client, ConnectRefused, ConnectRequest
from bridge.flow.recoveries import AtHand, Recoveries
from bridge.flow.replays import Replays
from bridge.flow.session import Sessions
from bridge.flow.wishes import Wish, read_wish
from bridge.model import Principal, Refuse
from bridge.rules.command_plan import client_scope
from bridge.rules.compile import Rules
from bridge.rules.emits import Emitted
from bridge.rules.namespaces import NamespaceRules
from bridge.telemetry.logs import Audit
from bridge.telemetry.metrics import Metrics

_SHUTTING_DOWN: Final = Refuse(code=Code.SHUTTING_DOWN, message="Shutting down")
_UNKNOWN: Final = Refuse(code=Code.UNKNOWN_NAMESPACE, message="Invalid namespace")


class Door:
    """What a CONNECT packet leads to, up to its answer."""

    def __init__(
        self,
        rules: Rules,
        *,
        sessions: Sessions,
        admission: Admission,
        replays: Replays,
        recoveries: Recoveries,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        """`clock` gives epoch seconds."""
        self._rules = rules
        self._sessions = sessions
        self._admission = admission
        self._replays = replays
        self._recoveries = recoveries
        self._metrics = metrics
        self._clock = clock
        self._audit = Audit()
        self._closed = False
        self._farewells: dict[Client, Emitted] = {}
        """What clients receive that are refused with an event, until they have it."""

    def close(self) -> None:
        """From here on let nobody in, nor who waits: the instance is about to stop."""
        self._closed = True

    def is_closed(self) -> bool:
        """Whether nobody is let in any more."""
        return self._closed

    async def admit(self, client: Client, request: ConnectRequest) -> Admitted | ConnectRefused:
        """Admit a client to its namespace, at once or until it signs in, or refuse it."""
        if self.is_closed():
            return self._turn_away(client, request, _SHUTTING_DOWN)
        found = self._rules.match_namespace(client.namespace)
        if found is None:
            return self._turn_away(client, request, _UNKNOWN)
        namespace, words = found
        wish = read_wish(request)
        if isinstance(wish, Refuse):
            return self._turn_away(client, request, wish)
        principal, at_hand = await self._check(client, request, namespace, words, wish)
        if self.is_closed():
            return self._turn_away(client, request, _SHUTTING_DOWN)
        if isinstance(principal, Refuse):
            refused = self._turn_away(client, request, principal)
            if namespace.auth.refuse_with is None:
                return refused
            error = namespace.errors.describe(principal)
            scope = client_scope(words, None, sid=client.sid, now=self._clock(), error=error)
            self._farewells[client] = namespace.auth.refuse_with.render(scope)
            return Admitted()
        session = self._sessions.open(client, namespace, words, request.remote)
        if principal is not None:
            self._sessions.sign_in(session, principal)
        self._metrics.clients.labels(namespace.pattern).inc()
        return self._recoveries.admit(session, wish, at_hand)

    def farewell_of(self, client: Client) -> Emitted | None:
        """What a client is told that was let in to be told why it may not."""
        return self._farewells.get(client)

    def forget(self, client: Client) -> None:
        """The client is gone."""
        self._farewells.pop(client, None)

    async def _check(
        self,
        client: Client,
        request: ConnectRequest,
        namespace: NamespaceRules,
        words: Mapping[str, str],
        wish: Wish,
    ) -> tuple[Principal | Refuse | None, AtHand]:
        """Who it is, as of now, and what it may go on with, which may have to be waited for."""
        besides = (client.connection_id, self._recoveries.connection_of(wish) or "")
        check = partial(self._admission.check_handshake, namespace, words, request, besides)
        principal, at_hand = check(), AtHand()
        if isinstance(principal, Principal) and (wish.key is not None or wish.since is not None):
            at_hand = await self._recoveries.prepare(client, principal, wish)
        elif not isinstance(principal, Refuse) and not self._replays.is_ready:
            await self._replays.wait_until_ready()  # what its rooms hold is not known yet
        else:
            return principal, at_hand
        return check(), at_hand  # time has passed

    def _turn_away(self, client: Client, request: ConnectRequest, refuse: Refuse) -> ConnectRefused:
        self._metrics.refused.labels(refuse.code.value).inc()
        found = self._rules.match_namespace(client.namespace)
        pattern = found[0].pattern if found is not None else "-"
        self._audit.refused(user=None, address=request.remote, namespace=pattern, reason=refuse.code.value)
        return ConnectRefused(code=refuse.code, message=refuse.message, retry_after=refuse.retry_after)
