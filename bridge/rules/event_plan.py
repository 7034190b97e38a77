"""Decides, purely, what a delivery leads to (commands: command_plan.py); the flow performs it."""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct

from bridge.model import Argument, Delivery, Emission, Invalid, Place, Remember
from bridge.rules.compile import Rules
from bridge.rules.content import is_json, may_be_bytes
from bridge.rules.emits import to_argument
from bridge.rules.routes import EventRoute
from bridge.rules.schemas import BodyFault, Schema
from bridge.rules.scope import MISSING, Scope
from bridge.rules.targets import RoomTemplates
from bridge.rules.ways import Way, to_refs

_encode: Final = msgspec.json.Encoder().encode


class EventPlan(Struct, frozen=True, kw_only=True, gc=False):
    """What one delivery leads to."""

    routed: bool
    """False when no route matches its key: nothing else is set then."""
    emissions: tuple[Emission, ...] = ()
    """One for each namespace and event; none when no room could be named."""
    retained: tuple[Emission, ...] | None = None
    """Those of them that are kept for whoever joins their rooms later; None where no route keeps its last
    value, so that the broker has not copied the delivery into the state."""
    remembers: tuple[Remember, ...] = ()
    """Also of a stale event: it is still the last one of its room."""
    invalid: tuple[Invalid, ...] = ()
    """Routes that could not use the delivery; the others go on."""
    stale: tuple[str, ...] = ()
    """Names of the routes for which the event is too old."""


_UNROUTED: Final = EventPlan(routed=False)


class _Payload(Struct, frozen=True, gc=False):
    """A body that fits its schema, encoded again: what the schema does not name is gone."""

    value: object
    argument: Argument


_Decoded = _Payload | BodyFault


def plan_event(rules: Rules, delivery: Delivery, now: float) -> EventPlan:
    """Route one delivery of the log; `now` is epoch seconds."""
    return _plan(rules.ways.find(delivery.exchange, delivery.routing_key), delivery, now)


def plan_live(rules: Rules, delivery: Delivery, now: float) -> EventPlan:
    """Route one delivery that came round the log; `now` is epoch seconds."""
    return _plan(rules.live_ways.find(delivery.exchange, delivery.routing_key), delivery, now)


def _plan(ways: Sequence[Way], delivery: Delivery, now: float) -> EventPlan:
    if len(ways) == 1:
        return _plan_way(ways[0], delivery, now, None)
    if not ways:
        return _UNROUTED
    decoded: dict[Schema | None, _Decoded] = {}
    plans = [_plan_way(way, delivery, now, decoded) for way in ways]
    retained = [plan.retained for plan in plans if plan.retained is not None]
    return EventPlan(
        routed=True,
        emissions=tuple([emission for plan in plans for emission in plan.emissions]),
        retained=tuple([emission for kept in retained for emission in kept]) if retained else None,
        remembers=tuple([last for plan in plans for last in plan.remembers]),
        invalid=tuple([fault for plan in plans for fault in plan.invalid]),
        stale=tuple([name for plan in plans for name in plan.stale]),
    )


def _plan_way(
    way: Way, delivery: Delivery, now: float, decoded: dict[Schema | None, _Decoded] | None
) -> EventPlan:
    """What one route makes of a delivery; `decoded` keeps the payload for the next one."""
    route = way.route
    nothing: tuple[Emission, ...] | None = () if route.retain else None
    stale: tuple[str, ...] = ()
    time = delivery.timestamp
    if route.max_age is not None and time is not None and now - time > route.max_age:
        stale = (route.name,)
        if route.remember is None:
            return EventPlan(routed=True, retained=nothing, stale=stale)
    payload = None if decoded is None else decoded.get(route.body)
    if payload is None:
        payload = _decode(route.body, delivery)
        if decoded is not None:
            decoded[route.body] = payload
    if isinstance(payload, BodyFault):
        fault = _to_invalid(route, payload)
        return EventPlan(routed=True, retained=nothing, invalid=(fault,), stale=stale)
    emissions = () if stale else _emit(way, payload, delivery, now)
    return EventPlan(
        routed=True,
        emissions=emissions,
        retained=emissions if route.retain else None,
        remembers=() if route.remember is None else _remember(way, route.remember, payload, delivery, now),
        stale=stale,
    )


def _decode(schema: Schema | None, delivery: Delivery) -> _Decoded:
    content_type = delivery.content_type
    if schema is None:
        if not may_be_bytes(content_type):
            return _to_type_fault("a body that is passed on as it is", content_type)
        return _Payload(MISSING, delivery.body)
    if content_type != "application/json" and not is_json(content_type):
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


def _to_scope(way: Way, body: object, delivery: Delivery, now: float) -> Scope:
    message = {} if delivery.message_id is None else {"id": delivery.message_id}
    return Scope(words=way.words, body=body, header=delivery.headers, message=message, now=now)


def _emit(way: Way, payload: _Payload, delivery: Delivery, now: float) -> tuple[Emission, ...]:
    """The emission of one route; none when it names no room, or a namespace where no client can be."""
    if way.namespace is None:
        return ()
    route = way.route
    rooms = way.rooms
    if rooms is None:
        rooms = _find_rooms(route, _to_scope(way, payload.value, delivery, now))
        if not rooms:
            return ()
    args: tuple[Argument, ...] = (payload.argument,)
    if route.args is not None:
        scope = _to_scope(way, payload.value, delivery, now)
        args = tuple(
            payload.argument if template is None else to_argument(template.render(scope))
            for template in route.args
        )
    skip = delivery.headers.get("x-sid") if route.skip_sender else None
    max_age, time = route.max_age, delivery.timestamp
    return (
        Emission(
            route=route.name,
            namespace=way.namespace,
            event=way.event,
            args=args,
            rooms=rooms,
            skip_sid=skip if isinstance(skip, str) else None,
            place=None if delivery.offset is None else Place(delivery.offset, delivery.checksum),
            until=None if max_age is None or time is None else time + max_age,
        ),
    )


def _find_rooms(route: EventRoute, scope: Scope) -> tuple[str, ...]:
    rooms = () if route.targets is None else route.targets.render(scope)
    if not rooms and route.otherwise is not None:
        rooms = route.otherwise.render(scope)
    return rooms


def _remember(
    way: Way, templates: RoomTemplates, payload: _Payload, delivery: Delivery, now: float
) -> tuple[Remember, ...]:
    rooms, value = way.remember, payload.value
    if rooms is None:
        rooms = to_refs(way.route, templates.render(_to_scope(way, value, delivery, now)))
    if not rooms:
        return ()
    schema = way.route.body
    return (
        Remember(
            rooms=rooms,
            event=way.event,
            body=None if value is MISSING else payload.argument,
            time=now if delivery.timestamp is None else delivery.timestamp,
            decode=None if schema is None else schema.decode_again,
        ),
    )
