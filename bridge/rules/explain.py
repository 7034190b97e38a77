"""Explains, without any broker, what becomes of a routing key and a body, or exactly why nothing does."""

from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher
from typing import Final

from msgspec import Struct, structs

from bridge.model import EVERYONE, Argument, Delivery, Emission, Invalid
from bridge.rules.compile import Rules
from bridge.rules.event_plan import plan_event, plan_live
from bridge.rules.keys import parse_key_pattern, split_key
from bridge.rules.routes import EventRoute
from bridge.rules.scope import Scope

_MAX_NEAR: Final = 3
_NEEDS_BODY: Final = "body"


class Match(Struct, frozen=True, kw_only=True):
    """A route that takes the routing key, and what it makes of it."""

    route: EventRoute
    binding: str
    """The AMQP binding key under which the event reaches the bridge."""
    words: Mapping[str, str]
    namespace: str | None
    """The concrete namespace; None when its name is not possible."""
    event: str
    rooms: tuple[str, ...] | None
    """The rooms' names, empty for everyone; None when they cannot be told without a body."""
    args: tuple[Argument, ...] | None
    """What a browser gets; None without a body, or when there is a problem."""
    skip_sid: str | None
    """The client that does not receive it."""
    problem: str | None
    """Why nobody receives it."""
    invalid: Invalid | None
    """Set when the delivery would go to the exchange of invalid events."""


class Near(Struct, frozen=True, kw_only=True):
    """A route that does not take the routing key, and why."""

    route: EventRoute
    reason: str


class Explanation(Struct, frozen=True, kw_only=True):
    """What becomes of one delivery."""

    exchanges: tuple[str, ...]
    """Those that were looked at: the named one, or all that events are read from."""
    unknown_exchange: bool
    """The named exchange is none that events are read from."""
    matches: tuple[Match, ...]
    near: tuple[Near, ...]
    """The nearest routes, when none matches."""


def explain(
    rules: Rules,
    routing_key: str,
    *,
    exchange: str | None = None,
    body: bytes | None = None,
    headers: Mapping[str, object] | None = None,
    content_type: str | None = None,
    now: float,
) -> Explanation:
    """Explain a delivery; without a body only what the key decides."""
    exchanges = tuple(rules.route_index) if exchange is None else (exchange,)
    matches: list[Match] = []
    for name in exchanges:
        delivery = Delivery(
            exchange=name,
            routing_key=routing_key,
            body=body or b"",
            content_type=content_type,
            headers=headers or {},
            timestamp=now,
        )
        matches += _explain_delivery(rules, delivery, now, with_body=body is not None)
    routes = [route for route in rules.routes if route.exchange in exchanges]
    return Explanation(
        exchanges=exchanges,
        unknown_exchange=exchange is not None and exchange not in rules.route_index,
        matches=tuple(matches),
        near=() if matches else _find_near(routes, routing_key),
    )


def _explain_delivery(rules: Rules, delivery: Delivery, now: float, *, with_body: bool) -> list[Match]:
    index = rules.route_index.get(delivery.exchange)
    found = index.find(delivery.routing_key) if index is not None else []
    if not with_body:
        return [_explain_key(route, words, delivery, now) for route, words in found]
    plans = (plan_event(rules, delivery, now), plan_live(rules, delivery, now))
    emissions = {emission.route: emission for plan in plans for emission in plan.emissions}
    invalid = {fault.route: fault for plan in plans for fault in plan.invalid}
    return [
        _explain_route(
            _explain_key(route, words, delivery, now), emissions.get(route.name), invalid.get(route.name)
        )
        for route, words in found
    ]


def _explain_key(route: EventRoute, words: dict[str, str], delivery: Delivery, now: float) -> Match:
    """What a route makes of the key and the headers alone."""
    namespace = route.namespace_name.render(words)
    rooms: tuple[str, ...] | None = ()
    if route.targets is not None:
        templates = (route.targets, route.otherwise)
        reads_body = any(one is not None and _NEEDS_BODY in one.roots for one in templates)
        scope = Scope(words=words, header=delivery.headers, now=now)
        rooms = None if reads_body else route.targets.render(scope)
    return Match(
        route=route,
        binding=route.key.binding,
        words=words,
        namespace=namespace,
        event=route.render_event(words),
        rooms=rooms,
        args=None,
        skip_sid=None,
        problem=_find_namespace_problem(words) if namespace is None else None,
        invalid=None,
    )


def _explain_route(match: Match, emission: Emission | None, invalid: Invalid | None) -> Match:
    if emission is not None:
        rooms = tuple(room for room in emission.rooms if room != EVERYONE)
        return structs.replace(match, rooms=rooms, args=emission.args, skip_sid=emission.skip_sid)
    if invalid is not None:
        problem = f"{invalid.reason}: {invalid.error}" + (f" - at {invalid.path}" if invalid.path else "")
        return structs.replace(match, problem=problem, invalid=invalid)
    if match.problem is not None:
        return match
    texts = ", ".join(match.route.rooms)
    problem = f"no room could be named: a value of {texts} is missing, or is no id"
    return structs.replace(match, rooms=(), problem=problem)


def _find_namespace_problem(words: Mapping[str, str]) -> str:
    texts = ", ".join(f'"{value}"' for value in words.values() if "/" in value)
    return f"no client can be in such a namespace: {texts} holds a /"


def _find_near(routes: Iterable[EventRoute], key: str) -> tuple[Near, ...]:
    """The routes of which most fits, each pattern once; `routes` come in the order of the files."""
    by_pattern = {(route.exchange, route.key.text): route for route in routes}
    compared = [(*_compare(route.key.text, key), route) for route in by_pattern.values()]
    best = max((score for score, _, _ in compared), default=0.0)
    nearest = [Near(route=route, reason=reason) for score, reason, route in compared if score == best]
    return tuple(nearest[:_MAX_NEAR])


def _compare(pattern: str, key: str) -> tuple[float, str]:
    """How much of a key fits a pattern, and the first word that does not."""
    wanted, words = pattern.split("."), split_key(key)
    reason = ""
    score = 0.0
    for number, (text, word) in enumerate(zip(wanted, words, strict=False), start=1):
        if text == "#" or parse_key_pattern(text).match(word) is not None:
            score += 2 if text == word else 1
        else:
            score += SequenceMatcher(None, text, word).ratio() / 2
            reason = reason or f'word {number} is "{word}", {_describe(text)}'
    if "#" not in wanted and len(wanted) != len(words):
        score -= abs(len(wanted) - len(words))
        return score, f"it has {_count(len(wanted))}, the key {len(words)}"
    return score, reason or "its words stand elsewhere"


def _describe(text: str) -> str:
    if not text.startswith("{"):
        return f'not "{text}"'
    name, colon, choices = text[1:-1].partition(":")
    if colon:
        return f"not one of {', '.join(choices.split('|'))}"
    return f"which cannot be a {name} (1-128 characters, no whitespace, control characters, # or *)"


def _count(number: int) -> str:
    return f"{number} word" if number == 1 else f"{number} words"
