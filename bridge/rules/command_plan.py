"""Decides, purely, what a command or a new client leads to, and renders the answers."""

from collections.abc import Mapping
from typing import Final

from msgspec import Raw, Struct, json, structs

from bridge.errors import Code
from bridge.model import Action, Argument, Command, Join, Leave, Principal, Refuse, RoomRef
from bridge.rules.bodies import decode_payload
from bridge.rules.commands import CommandRule
from bridge.rules.emits import Emitted, to_argument
from bridge.rules.message_plan import plan_message
from bridge.rules.namespaces import NamespaceRules
from bridge.rules.room_plan import find_access, plan_inside, plan_join, plan_leave
from bridge.rules.scope import MISSING, RoomView, Scope
from bridge.rules.since import Since

_OK: Final = (Raw(b'{"status":"ok"}'),)
_MAX_SHOWN: Final = 64


class ConnectPlan(Struct, frozen=True, kw_only=True):
    """What happens to a client that was just authenticated."""

    rooms: tuple[str, ...]
    emit: Emitted | None


class CommandPlan(Struct, frozen=True, kw_only=True):
    """What a command leads to: actions in order, of which a failure stops the rest, then an answer."""

    rule: CommandRule
    inside: tuple[str, ...]
    """Rooms of which the sender must be in each, else the command is FORBIDDEN."""
    actions: tuple[Action, ...]
    scope: Scope
    """What the answer's templates read; `render_answer` adds the room."""
    room: RoomRef | None
    """The room that `{room...}` of the answer means: the first that is joined, else left; or None."""
    message_id: str
    """Of the message that is published, if any."""
    idempotency_key: str | None
    """The client's; the same key of the same user and command is to get the first answer."""
    since: Since | None
    """From where on the client misses events of the rooms that it joins; None when it asks for none."""


class Recovery(Struct, frozen=True, kw_only=True):
    """What a join with `since` is answered besides."""

    recovered: bool
    """Whether the client has got all that it missed; otherwise it must load its state anew."""
    offset: str
    """The cursor of now."""


class Answer(Struct, frozen=True, kw_only=True):
    """What the client receives when all actions succeeded."""

    emit: Emitted | None
    ack: tuple[Argument, ...]
    """For a client that asked for an ack."""
    recovery: Recovery | None = None
    """What became of its `since`; not yet in `emit` and `ack`."""

    def tell_recovery(self) -> "Answer":
        """The same as the client receives it: with the recovery's fields, wherever it is an object."""
        if self.recovery is None:
            return self
        fields = json.encode(self.recovery)
        emit = None if self.emit is None else (self.emit[0], _extend(self.emit[1], fields))
        return Answer(emit=emit, ack=_extend(self.ack, fields))


def client_scope(
    words: Mapping[str, str],
    principal: Principal | None,
    *,
    sid: str,
    now: float,
    error: Mapping[str, object] | None = None,
) -> Scope:
    """What templates may read that answer one client: emits of `auth`, `presence` and `errors`.

    `words` are those of the namespace, or those that `NamespaceRules.find_room` gives; `error` is
    what `{error...}` means, as `ErrorRules.describe` says it.
    """
    return Scope(
        words=words,
        user={} if principal is None else principal.claims,
        sid=sid,
        now=now,
        error={} if error is None else error,
    )


def plan_connect(
    namespace: NamespaceRules, words: Mapping[str, str], principal: Principal, sid: str, now: float
) -> ConnectPlan:
    """Rooms that a client joins by itself and the event that it receives (`on_connect`).

    A room that an entry of `rooms` keeps from this client is left out; one without an entry is not.
    """
    scope = client_scope(words, principal, sid=sid, now=now)
    rules = namespace.on_connect
    named = rules.join.render(scope) if rules.join is not None else ()
    return ConnectPlan(
        rooms=tuple(room for room in named if find_access(namespace, words, principal, room) is not False),
        emit=None if rules.emit is None else rules.emit.render(scope),
    )


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
    rule = namespace.commands.get(command.event)
    if rule is None:
        return _refuse_unknown(command.event)
    if not rule.allow.permits(principal.claims, words):
        return Refuse(code=Code.FORBIDDEN, message="You may not send this command")
    body = decode_payload(rule, command.args)
    if isinstance(body, Refuse):
        return body
    scope = Scope(
        words=words,
        body=MISSING if body.value is None else body.value,
        message={"id": message_id},
        user=principal.claims,
        sid=sid,
        now=now,
        uuid_of=message_id,
    )
    inside = plan_inside(namespace, rule, scope)
    if isinstance(inside, Refuse):
        return inside
    actions = _plan_actions(namespace, rule, principal, scope)
    if isinstance(actions, Refuse):
        return actions
    return CommandPlan(
        rule=rule,
        inside=inside,
        actions=actions,
        scope=scope,
        room=_find_room_ref(namespace, rule, actions),
        message_id=message_id,
        idempotency_key=body.idempotency_key,
        since=body.since,
    )


def _refuse_unknown(event: str) -> Refuse:
    name = event if len(event) <= _MAX_SHOWN else f"{event[:_MAX_SHOWN]}..."
    return Refuse(code=Code.UNKNOWN_COMMAND, message=f'There is no command "{name}" in this namespace')


def _plan_actions(
    namespace: NamespaceRules, rule: CommandRule, principal: Principal, scope: Scope
) -> tuple[Action, ...] | Refuse:
    """All actions in their fixed order, or the first refusal: of a refused command nothing is done."""
    planned: tuple[Action | Refuse | None, ...] = (
        plan_message(namespace, rule, principal, scope),
        plan_join(namespace, rule, principal, scope),
        plan_leave(namespace, rule, scope),
    )
    actions: list[Action] = []
    for action in planned:
        if isinstance(action, Refuse):
            return action
        if action is not None:
            actions.append(action)
    return tuple(actions)


def _find_room_ref(
    namespace: NamespaceRules, rule: CommandRule, actions: tuple[Action, ...]
) -> RoomRef | None:
    if not rule.reads_room:
        return None
    rooms = [room for action in actions if isinstance(action, Join | Leave) for room in action.rooms]
    return RoomRef(system=namespace.system, room=rooms[0]) if rooms else None


def render_answer(plan: CommandPlan, room: RoomView | None = None, reply: object = MISSING) -> Answer:
    """The answer to a command whose actions succeeded.

    `room` is the view of `plan.room`; `reply` what came of its request, if it has one.
    """
    rule = plan.rule
    scope = structs.replace(plan.scope, room=room, reply=reply)
    ack: tuple[Argument, ...] = _OK
    if rule.ack is not None:
        ack = (to_argument(rule.ack.render(scope)),)
    elif rule.publish is not None and rule.publish.timeout is not None:
        ack = (to_argument(reply),)
    elif rule.publish is not None:
        ack = (to_argument({"status": "ok", "message_id": plan.message_id}),)
    return Answer(emit=None if rule.emit is None else rule.emit.render(scope), ack=ack)


def _extend(args: tuple[Argument, ...], fields: bytes) -> tuple[Argument, ...]:
    """Write the fields of a JSON object into the one argument of an answer, which the bridge has encoded."""
    (arg,) = args
    if not isinstance(arg, Raw) or not memoryview(arg).tobytes().startswith(b"{"):
        return args
    known = bytes(memoryview(arg)[1:-1])
    return (Raw(b"{" + known + (b"," if known else b"") + fields[1:]),)


def render_refusal(namespace: NamespaceRules, refuse: Refuse, scope: Scope, event: str = "") -> Emitted:
    """The event that tells a client of the refusal of its `event`; `scope.error` is filled in here."""
    return namespace.errors_of(event).render_event(refuse, scope)


def render_refusal_ack(
    namespace: NamespaceRules, refuse: Refuse, scope: Scope, event: str = ""
) -> tuple[Argument, ...]:
    """The ack of the refusal of a client's `event`; `scope.error` is filled in here."""
    return namespace.errors_of(event).render_ack(refuse, scope)
