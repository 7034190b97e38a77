"""Decides, purely, what a delivery leads to (commands: command_plan.py); the flow performs it."""

from typing import Final

import msgspec
from msgspec import Raw, Struct

from bridge.model import EVERYONE, Argument, Delivery, Emission, Invalid, Remember, RoomRef
from bridge.rules.compile import Rules
from bridge.rules.content import is_json, may_be_bytes
from bridge.rules.emits import to_argument
from bridge.rules.routes import EventRoute
from bridge.rules.schemas import BodyFault, Schema
from bridge.rules.scope import MISSING, Scope

_EVERYONE: Final = (EVERYONE,)

_encode: Final = msgspec.json.Encoder().encode


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


_UNROUTED: Final = EventPlan(routed=False)


class _Payload(Struct, frozen=True):
    """A body that fits its schema, encoded again: what the schema does not name is gone."""

    value: object
    argument: Argument


def plan_event(rules: Rules, delivery: Delivery, now: float) -> EventPlan:
    """Route one delivery; `now` is epoch seconds."""
    index = rules.route_index.get(delivery.exchange)
    found = index.find(delivery.routing_key) if index is not None else None
    if not found:
        return _UNROUTED
    payloads: dict[Schema | None, _Payload | BodyFault] = {}
    emissions: list[Emission] = []
    remembers: list[Remember] = []
    invalid: list[Invalid] = []
    stale: list[str] = []
    for route, words in found:
        is_stale = _is_stale(route, delivery, now)
        if is_stale:
            stale.append(route.name)
            if route.remember is None:
                continue
        payload = payloads.get(route.body)
        if payload is None:
            payload = payloads[route.body] = _decode(route.body, delivery)
        if isinstance(payload, BodyFault):
            invalid.append(_to_invalid(route, payload))
            continue
        scope = _to_scope(delivery, words, payload.value, now)
        event = route.render_event(words)
        if not is_stale:
            emission = _emit(route, event, words, scope, payload.argument, delivery)
            if emission is not None:
                emissions.append(emission)
        if route.remember is not None:
            remembers += _remember(route, event, scope, delivery, now)
    return EventPlan(
        routed=True,
        emissions=tuple(emissions),
        remembers=tuple(remembers),
        invalid=tuple(invalid),
        stale=tuple(stale),
    )


def _is_stale(route: EventRoute, delivery: Delivery, now: float) -> bool:
    return (
        route.max_age is not None
        and delivery.timestamp is not None
        and now - delivery.timestamp > route.max_age
    )


def _decode(schema: Schema | None, delivery: Delivery) -> _Payload | BodyFault:
    content_type = delivery.content_type
    if schema is None:
        if not may_be_bytes(content_type):
            return _to_type_fault("a body that is passed on as it is", content_type)
        return _Payload(MISSING, delivery.body)
    if not is_json(content_type):
        return _to_type_fault("JSON", content_type)
    value = schema.decode(delivery.body)
    if isinstance(value, BodyFault):
        return value
    return _Payload(value, Raw(_encode(value)))


def _to_type_fault(wanted: str, content_type: str | None) -> BodyFault:
    message = f"Expected {wanted}, got content type {(content_type or '')[:64]!r}"
    return BodyFault(reason="content_type", message=message, path="")


def _to_invalid(route: EventRoute, fault: BodyFault) -> Invalid:
    return Invalid(route=route.name, reason=fault.reason, error=fault.message, path=fault.path)


def _to_scope(delivery: Delivery, words: dict[str, str], body: object, now: float) -> Scope:
    message = {} if delivery.message_id is None else {"id": delivery.message_id}
    return Scope(words=words, body=body, header=delivery.headers, message=message, now=now)


def _emit(
    route: EventRoute,
    event: str,
    words: dict[str, str],
    scope: Scope,
    body: Argument,
    delivery: Delivery,
) -> Emission | None:
    """The emission of one route; None when it names no room, or a namespace where no client can be."""
    namespace = route.namespace_name.render(words)
    if namespace is None:
        return None
    rooms: tuple[str, ...] = _EVERYONE
    if route.targets is not None:
        rooms = route.targets.render(scope)
        if not rooms and route.otherwise is not None:
            rooms = route.otherwise.render(scope)
        if not rooms:
            return None
    args: tuple[Argument, ...] = (body,)
    if route.args is not None:
        args = tuple(
            body if template is None else to_argument(template.render(scope)) for template in route.args
        )
    skip = delivery.headers.get("x-sid") if route.skip_sender else None
    return Emission(
        route=route.name,
        namespace=namespace,
        event=event,
        args=args,
        rooms=rooms,
        skip_sid=skip if isinstance(skip, str) else None,
    )


def _remember(route: EventRoute, event: str, scope: Scope, delivery: Delivery, now: float) -> list[Remember]:
    assert route.remember is not None  # noqa: S101  asked by the caller, who pays for the call
    time = now if delivery.timestamp is None else delivery.timestamp
    body = None if scope.body is MISSING else scope.body
    return [
        Remember(room=RoomRef(system=route.system, room=room), event=event, body=body, time=time)
        for room in route.remember.render(scope)
    ]
