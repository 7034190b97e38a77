"""Decides, purely, what a command or a new client leads to, and renders the answers."""

import math
import uuid
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw, Struct, structs

from bridge.errors import Code
from bridge.model import Action, Argument, Command, Join, Leave, Principal, PublishMessage, Refuse, RoomRef
from bridge.rules.bodies import decode_payload, to_validation_refuse
from bridge.rules.commands import CommandRule
from bridge.rules.emits import Emitted, to_argument
from bridge.rules.namespaces import NamespaceRules
from bridge.rules.scope import MISSING, BadValue, RoomView, Scope
from bridge.rules.targets import RoomTemplates

_OK: Final = (Raw(b'{"status":"ok"}'),)
_MAX_SHOWN: Final = 64


class ConnectPlan(Struct, frozen=True, kw_only=True):
    """What happens to a client that was just authenticated."""

    rooms: tuple[str, ...]
    emit: Emitted | None


class CommandPlan(Struct, frozen=True, kw_only=True):
    """What a command leads to: actions in order, of which a failure stops the rest, then an answer."""

    rule: CommandRule
    actions: tuple[Action, ...]
    scope: Scope
    """What the answer's templates read; `render_answer` adds the room."""
    room: RoomRef | None
    """The room that `{room...}` of the answer means: the first that is joined, else left; or None."""
    message_id: str
    """Of the message that is published, if any."""
    idempotency_key: str | None
    """The client's; the same key of the same user and command is to get the first answer."""


class Answer(Struct, frozen=True, kw_only=True):
    """What the client receives when all actions succeeded."""

    emit: Emitted | None
    ack: tuple[Argument, ...]
    """For a client that asked for an ack."""


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
    return Scope(
        words=words,
        user={} if principal is None else principal.claims,
        sid=sid,
        now=now,
        error={} if refuse is None else _to_error(refuse),
    )


def plan_connect(
    namespace: NamespaceRules, words: Mapping[str, str], principal: Principal, sid: str, now: float
) -> ConnectPlan:
    """Rooms that a client joins by itself and the event that it receives (`on_connect`).

    A room that an entry of `rooms` keeps from this client is left out.
    """
    scope = client_scope(words, principal, sid=sid, now=now)
    rules = namespace.on_connect
    named = rules.join.render(scope) if rules.join is not None else ()
    return ConnectPlan(
        rooms=tuple(room for room in named if _may_enter(namespace, words, principal, room, covered=False)),
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
        name = command.event if len(command.event) <= _MAX_SHOWN else f"{command.event[:_MAX_SHOWN]}..."
        return Refuse(code=Code.UNKNOWN_COMMAND, message=f'There is no command "{name}" in this namespace')
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
        uuid=str(uuid.uuid5(uuid.NAMESPACE_OID, message_id)),
    )
    actions = _plan_actions(namespace, rule, principal, scope, message_id)
    if isinstance(actions, Refuse):
        return actions
    return CommandPlan(
        rule=rule,
        actions=actions,
        scope=scope,
        room=_find_room_ref(namespace, rule, actions),
        message_id=message_id,
        idempotency_key=body.idempotency_key,
    )


def _plan_actions(
    namespace: NamespaceRules, rule: CommandRule, principal: Principal, scope: Scope, message_id: str
) -> tuple[Action, ...] | Refuse:
    """All actions in their fixed order, or the first refusal: of a refused command nothing is done."""
    planned: tuple[Action | Refuse | None, ...] = (
        _plan_publish(namespace, rule, principal, scope, message_id),
        _plan_join(namespace, rule, principal, scope),
        _plan_leave(rule, scope),
    )
    actions: list[Action] = []
    for action in planned:
        if isinstance(action, Refuse):
            return action
        if action is not None:
            actions.append(action)
    return tuple(actions)


def _plan_publish(
    namespace: NamespaceRules, rule: CommandRule, principal: Principal, scope: Scope, message_id: str
) -> PublishMessage | Refuse | None:
    if rule.publish is None:
        return None
    key = rule.publish.key.render(scope)
    if isinstance(key, BadValue):
        return _to_refuse(key)
    headers = {"x-sid": scope.sid or "", "x-namespace": namespace.name.render(scope.words) or ""}
    if principal.user:
        headers["x-user"] = principal.user
    return PublishMessage(
        exchange=rule.publish.exchange,
        routing_key=key,
        body=_stamp(rule, scope),
        message_id=message_id,
        type=rule.name,
        timestamp=scope.now,
        headers=headers,
    )


def _stamp(rule: CommandRule, scope: Scope) -> bytes:
    """The body as it is published; what the bridge stamps wins, and nothing of the client's is left there."""
    body: dict[str, object] = {} if scope.body is MISSING else msgspec.to_builtins(scope.body)
    for name in rule.overwritten:
        body.pop(name, None)
    stamps = None if rule.stamps is None else rule.stamps.render(scope)
    if isinstance(stamps, dict):
        body.update(stamps)
    return msgspec.json.encode(body)


def _plan_join(
    namespace: NamespaceRules, rule: CommandRule, principal: Principal, scope: Scope
) -> Join | Refuse | None:
    if rule.join is None:
        return None
    rooms = _render_rooms(rule.join, scope)
    if isinstance(rooms, Refuse):
        return rooms
    if not rooms:
        return Refuse(code=Code.FORBIDDEN, message="This names no room that you may join")
    if not all(_may_enter(namespace, scope.words, principal, room, covered=True) for room in rooms):
        return Refuse(code=Code.FORBIDDEN, message="You may not join this room")
    return Join(rooms=rooms)


def _plan_leave(rule: CommandRule, scope: Scope) -> Leave | Refuse | None:
    if rule.leave is None:
        return None
    rooms = _render_rooms(rule.leave, scope)
    if isinstance(rooms, Refuse):
        return rooms
    return Leave(rooms=rooms) if rooms else None


def _render_rooms(templates: RoomTemplates, scope: Scope) -> tuple[str, ...] | Refuse:
    bad = templates.fault(scope)
    return templates.render(scope) if bad is None else _to_refuse(bad)


def _to_refuse(bad: BadValue) -> Refuse:
    return to_validation_refuse(bad.message, bad.path if bad.client else ())


def _may_enter(
    namespace: NamespaceRules, words: Mapping[str, str], principal: Principal, room: str, *, covered: bool
) -> bool:
    """Whether a client may be in a room; one that no entry covers is only for `on_connect` to give."""
    found = namespace.find_room(room, words)
    if found is None:
        return not covered
    rule, captured = found
    return rule.allow.permits(principal.claims, captured)


def _find_room_ref(
    namespace: NamespaceRules, rule: CommandRule, actions: tuple[Action, ...]
) -> RoomRef | None:
    if not rule.reads_room:
        return None
    rooms = [room for action in actions if isinstance(action, Join | Leave) for room in action.rooms]
    return RoomRef(system=namespace.system, room=rooms[0]) if rooms else None


def render_answer(plan: CommandPlan, room: RoomView | None = None) -> Answer:
    """The answer to a command whose actions succeeded; `room` is the view of `plan.room`."""
    rule = plan.rule
    scope = plan.scope if room is None else structs.replace(plan.scope, room=room)
    ack: tuple[Argument, ...] = _OK
    if rule.ack is not None:
        ack = (to_argument(rule.ack.render(scope)),)
    elif rule.publish is not None:
        ack = (to_argument({"status": "ok", "message_id": plan.message_id}),)
    return Answer(emit=None if rule.emit is None else rule.emit.render(scope), ack=ack)


def render_refusal(namespace: NamespaceRules, refuse: Refuse, scope: Scope) -> Emitted:
    """The event that tells a client of a refusal (`errors:`); `scope.error` is filled in here."""
    return namespace.errors.find(refuse.code).render(structs.replace(scope, error=_to_error(refuse)))


def render_refusal_ack(refuse: Refuse) -> tuple[Argument, ...]:
    """The ack of a refusal: `{status: "error", code, message, retry_after?}`."""
    ack: dict[str, object] = {"status": "error", "code": refuse.code, "message": refuse.message}
    if refuse.retry_after is not None:
        ack["retry_after"] = _round_up(refuse.retry_after)
    return (to_argument(ack),)


def _to_error(refuse: Refuse) -> dict[str, object]:
    error: dict[str, object] = {
        "type": refuse.code.kind,
        "code": refuse.code.value,
        "message": refuse.message,
    }
    if refuse.details is not None:
        error["details"] = list(refuse.details)
    if refuse.retry_after is not None:
        error["retry_after"] = _round_up(refuse.retry_after)
    return error


def _round_up(seconds: float) -> float:
    """Milliseconds are enough, but never too few: a client that waits so long is let through."""
    return math.ceil(seconds * 1000) / 1000
