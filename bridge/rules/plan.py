"""Decides, purely, what a delivery or a command leads to; the flow performs it."""

from collections.abc import Mapping

from msgspec import Struct

from bridge.model import (
    Action,
    Argument,
    Command,
    Delivery,
    Emission,
    Invalid,
    Principal,
    Refuse,
    Remember,
    RoomRef,
)
from bridge.rules.commands import CommandRule
from bridge.rules.compile import Rules
from bridge.rules.emits import Emitted
from bridge.rules.namespaces import NamespaceRules
from bridge.rules.templates import RoomView, Scope


class EventPlan(Struct, frozen=True, kw_only=True):
    """What one delivery leads to."""

    routed: bool
    """False when no route matches its key: nothing else is set then."""
    emissions: tuple[Emission, ...] = ()
    """One for each namespace and event; none when no room could be named."""
    remembers: tuple[Remember, ...] = ()
    """Also of a stale event: it is still the last one of its room."""
    invalid: tuple[Invalid, ...] = ()
    """Routes that could not use the delivery; the others go on."""
    stale: tuple[str, ...] = ()
    """Names of the routes for which the event is too old."""


def plan_event(rules: Rules, delivery: Delivery, now: float) -> EventPlan:
    """Route one delivery; `now` is epoch seconds."""
    raise NotImplementedError


def client_scope(
    words: Mapping[str, str],
    principal: Principal | None,
    *,
    sid: str,
    now: float,
    refuse: Refuse | None = None,
) -> Scope:
    """What templates may read that answer one client: emits of `auth`, `presence` and `errors`.

    `words` are those of the namespace, or those that `NamespaceRules.find_room` gives; `refuse` is
    what `{error...}` means.
    """
    raise NotImplementedError


class ConnectPlan(Struct, frozen=True, kw_only=True):
    """What happens to a client that was just authenticated."""

    rooms: tuple[str, ...]
    emit: Emitted | None


def plan_connect(
    namespace: NamespaceRules, words: Mapping[str, str], principal: Principal, sid: str, now: float
) -> ConnectPlan:
    """Rooms that a client joins by itself and the event that it receives (`on_connect`)."""
    raise NotImplementedError


class CommandPlan(Struct, frozen=True, kw_only=True):
    """What a command leads to: actions in order, of which the first failure stops the rest, then an answer."""

    rule: CommandRule
    actions: tuple[Action, ...]
    scope: Scope
    """What the answer's templates read; `render_answer` adds the room."""
    room: RoomRef | None
    """The room that `{room...}` of the answer means: the first that is joined, else left; or None."""
    idempotency_key: str | None
    """The client's; the same key of the same user and command is to get the first answer."""


class Answer(Struct, frozen=True, kw_only=True):
    """What the client receives when all actions succeeded."""

    emit: Emitted | None
    ack: tuple[Argument, ...]
    """For a client that asked for an ack."""


def plan_command(
    namespace: NamespaceRules,
    words: Mapping[str, str],
    principal: Principal,
    command: Command,
    *,
    sid: str,
    now: float,
    message_id: str,
) -> CommandPlan | Refuse:
    """Decide about one command: allow, schema, stamps, then its actions.

    Rates are counted by the flow beforehand (`namespace.limits.rate`, `namespace.commands[...].limit`).
    `message_id` is new for each command, or the first one's when a client repeats an idempotency key.
    """
    raise NotImplementedError


def render_answer(plan: CommandPlan, room: RoomView | None = None) -> Answer:
    """The answer to a command whose actions succeeded; `room` is the view of `plan.room`."""
    raise NotImplementedError


def render_refusal(namespace: NamespaceRules, refuse: Refuse, scope: Scope) -> Emitted:
    """The event that tells a client of a refusal (`errors:`); `scope.error` is filled in here."""
    raise NotImplementedError


def render_refusal_ack(refuse: Refuse) -> tuple[Argument, ...]:
    """The ack of a refusal: `{status: "error", code, message, retry_after?}`."""
    raise NotImplementedError
