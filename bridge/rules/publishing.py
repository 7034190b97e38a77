"""Owns `PublishRule`: where a command's body goes, as a message or as a request, and what goes with it."""

from typing import Final

from msgspec import Struct, structs

from bridge.config.merge import System
from bridge.config.route_model import Command
from bridge.rules.faults import Spot
from bridge.rules.scope import Known
from bridge.rules.targets import KeyTemplate, compile_key
from bridge.rules.templates import TextTemplate, ValueTemplate, compile_text, compile_value

DEFAULT_TIMEOUT: Final = 5.0
"""Seconds that a reply may take where `timeout` is left out."""

_OWN_HEADERS: Final = "x-"
_MAX_NAME: Final = 128


class PublishRule(Struct, frozen=True, kw_only=True):
    """Where a command's body is published, and how."""

    exchange: str
    key: KeyTemplate
    timeout: float | None
    """Seconds that the reply to a request may take; None for a message that nobody answers."""
    headers: tuple[tuple[str, TextTemplate], ...]
    """Besides the bridge's own; one whose value is missing is left out."""
    body: ValueTemplate | None
    """None is the whole body, stamped."""


def compile_publish(spot: Spot, system: System, command: Command, known: Known) -> PublishRule | None:
    """Compile `publish` or `request` and all that belongs to it; None when there is none, or a fault."""
    _check_timeout(spot, command)
    name, text = ("publish", command.publish) if command.request is None else ("request", command.request)
    if text is None:
        _check_unused(spot, command)
        return None
    if command.publish is not None and command.request is not None:
        spot.at("request").add("does not go together with publish: a request is published too (keep one)")
    if command.body is not None and command.set:
        spot.at("set").add("stamps the whole body, and `body` says what is published instead (keep one)")
    headers = _compile_headers(spot.at("headers"), command, known)
    body = None if command.body is None else spot.at("body").attempt(compile_value, command.body, known)
    key = spot.at(name).attempt(compile_key, text, known)
    exchange = system.routes.exchange if command.to == "events" else system.routes.commands_exchange
    if exchange is None:
        spot.at(name).add("needs an exchange (name it at the top of the file, as `commands_exchange: name`)")
    if key is None or exchange is None:
        return None
    timeout = None
    if command.request is not None:
        timeout = DEFAULT_TIMEOUT if command.timeout is None else float(command.timeout)
    return PublishRule(exchange=exchange, key=key, timeout=timeout, headers=headers, body=body)


def _check_timeout(spot: Spot, command: Command) -> None:
    if command.timeout is None:
        return
    if command.request is None:
        spot.at("timeout").add("has no effect without request (add request, or leave it out)")
    elif command.timeout <= 0:
        spot.at("timeout").add("leaves no time for a reply (write 5s)")


def _check_unused(spot: Spot, command: Command) -> None:
    """Say what has no effect in a command that publishes nothing."""
    if command.set:
        spot.at("set").add("stamps a body that is not published (add publish, or leave it out)")
    used = {
        "to": command.to != "commands",
        "headers": bool(command.headers),
        "body": command.body is not None,
        "inside": command.inside is not None,
    }
    for key, is_used in used.items():
        if is_used:
            spot.at(key).add("has no effect without publish or request (add one, or leave it out)")


def _compile_headers(spot: Spot, command: Command, known: Known) -> tuple[tuple[str, TextTemplate], ...]:
    """Compile headers; nothing that a client sends becomes one."""
    trusted = structs.replace(known, roots=known.roots - {"body"})
    headers = []
    for name, text in command.headers.items():
        if name.lower().startswith(_OWN_HEADERS):
            spot.at(name).add('headers named "x-..." are the bridge\'s own (take another name)')
        elif not name or len(name) > _MAX_NAME or not (name.isascii() and name.isprintable()):
            spot.add(f'"{name[:32]}" is no name of a header (1-{_MAX_NAME} printable ASCII characters)')
        template = spot.at(name).attempt(compile_text, text, trusted)
        if template is not None:
            headers.append((name, template))
    return tuple(headers)
