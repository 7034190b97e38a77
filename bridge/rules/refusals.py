"""Owns `ErrorRules`: how refusals look to a client, merged from file, namespace and command."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct, structs

from bridge.config.route_model import Errors
from bridge.errors import Code
from bridge.model import Argument, Refuse
from bridge.rules.emits import Emitted, EmitTemplate, compile_emit, to_argument
from bridge.rules.faults import Spot, suggest
from bridge.rules.scope import Known, Scope
from bridge.rules.templates import ValueTemplate, compile_value

_OTHERS: Final = "*"
"""The key for all codes without an entry of their own."""

_ROOTS: Final = frozenset({"user", "sid", "now", "error"})
_MAX_NAME: Final = 128

_DEFAULT_EVENT: Final = {
    "type": "{error.type}",
    "message": "{error.message}",
    "code": "{error.code}",
    "details": "{error.details}",
    "timestamp": "{now}",
}
_DEFAULT_ACK: Final = {
    "status": "error",
    "code": "{error.code}",
    "message": "{error.message}",
    "retry_after": "{error.retry_after}",
}


class ErrorRules(Struct, frozen=True, kw_only=True):
    """The shape of every refusal: an event for each code, the code's name, an ack."""

    always: bool
    """Send the event also when the client asked for an ack."""
    events: Mapping[str, EmitTemplate]
    """By code; `*` is always there."""
    names: Mapping[str, str]
    """By code, or `*`: what clients see instead."""
    messages: Mapping[str, str]
    """By code, or `*`: what clients read instead of the bridge's own words."""
    ack: ValueTemplate

    def render_event(self, refuse: Refuse, scope: Scope) -> Emitted:
        """The event that tells a client of a refusal; `scope.error` is filled in here."""
        template = self.events.get(refuse.code) or self.events[_OTHERS]
        return template.render(structs.replace(scope, error=self.describe(refuse)))

    def render_ack(self, refuse: Refuse, scope: Scope) -> tuple[Argument, ...]:
        """The ack of a refusal; `scope.error` is filled in here."""
        return (to_argument(self.ack.render(structs.replace(scope, error=self.describe(refuse)))),)

    def describe(self, refuse: Refuse) -> dict[str, object]:
        """What `{error...}` means."""
        name = self.names.get(refuse.code) or self.names.get(_OTHERS) or refuse.code.value
        message = self.messages.get(refuse.code) or self.messages.get(_OTHERS) or refuse.message
        error: dict[str, object] = {"type": refuse.code.kind, "code": name, "message": message}
        if refuse.details is not None:
            error["details"] = list(refuse.details)
        if refuse.retry_after is not None:
            error["retry_after"] = refuse.retry_after
        return error


def default_errors() -> ErrorRules:
    """How refusals look where nothing is said of them."""
    known = Known(roots=_ROOTS)
    other = EmitTemplate(event="error", payload=compile_value(_DEFAULT_EVENT, known))
    ack = compile_value(_DEFAULT_ACK, known)
    return ErrorRules(always=False, events={_OTHERS: other}, names={}, messages={}, ack=ack)


def compile_errors(spot: Spot, errors: Errors, words: frozenset[str], above: ErrorRules) -> ErrorRules:
    """Compile one `errors` over what stands above it; faults are noted at `spot`."""
    known = Known(words=words, roots=_ROOTS)
    events = dict(above.events)
    for code, emit in errors.events.items():
        _check_code(spot.at("events", code), code)
        template = compile_emit(spot.at("events", code), emit, known)
        if template is not None:
            events[code] = template
    for code, name in errors.names.items():
        _check_code(spot.at("names", code), code)
        if not 0 < len(name) <= _MAX_NAME:
            spot.at("names", code).add(f"is no word for clients (1-{_MAX_NAME} characters)")
    for code, message in errors.messages.items():
        _check_code(spot.at("messages", code), code)
        if not message:
            spot.at("messages", code).add("is empty (say what went wrong, or leave the code out)")
    ack = None if errors.ack is None else spot.at("ack").attempt(compile_value, errors.ack, known)
    return ErrorRules(
        always=above.always if errors.always is None else errors.always,
        events=events,
        names={**above.names, **errors.names},
        messages={**above.messages, **errors.messages},
        ack=above.ack if ack is None else ack,
    )


def _check_code(spot: Spot, code: str) -> None:
    if code != _OTHERS and code not in Code.__members__:
        spot.add(f'unknown code "{code}" ({suggest(code, [*Code.__members__, _OTHERS])})')
