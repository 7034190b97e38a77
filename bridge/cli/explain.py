"""`bridged explain`: what becomes of one routing key and body, without any broker, or exactly why nothing."""

import os
import sys
import time

import msgspec
from msgspec import Raw

from bridge.cli.exits import Exit
from bridge.cli.loading import DEFAULT_CONFIG, ConfigPath, SchemasPath, load_project, without_secret
from bridge.cli.publish import BodyText, HeaderTexts, parse_headers, read_body
from bridge.cli.terminal import Terminal, escape
from bridge.model import Argument
from bridge.rules.explain import Explanation, Match
from bridge.rules.explain import explain as explain_delivery


def explain(
    routing_key: str,
    *,
    exchange: str | None = None,
    body: BodyText | None = None,
    header: HeaderTexts = None,
    content_type: str | None = None,
    config: ConfigPath = DEFAULT_CONFIG,
    schemas: SchemasPath = None,
) -> int:
    """Show which routes take an event, and what browsers get of it; connects to nothing.

    The exit code is 1 when nobody would receive it.

    Parameters
    ----------
    routing_key
        Such as `project.apollo.state_change`.
    exchange
        Look at this exchange alone.
    body
        The event's body: JSON, `@FILE`, a file's name, or `-` for standard input. Without it, only what
        the key decides is shown.
    content_type
        Of the body.
    """
    project = load_project(config, schemas, without_secret(os.environ))
    explanation = explain_delivery(
        project.rules,
        routing_key,
        exchange=exchange,
        body=None if body is None else _read(body),
        headers=parse_headers(header or []),
        content_type=content_type,
        now=time.time(),
    )
    terminal = Terminal(sys.stdout)
    if not explanation.matches:
        _print_nothing(terminal, routing_key, explanation)
        return Exit.FAULTS
    for match in explanation.matches:
        _print_match(terminal, match, with_body=body is not None)
    return _print_sum(terminal, routing_key, explanation)


def _print_sum(terminal: Terminal, routing_key: str, explanation: Explanation) -> int:
    """How many routes take it; the exit code."""
    received = sum(match.problem is None for match in explanation.matches)
    routes = "1 route takes" if len(explanation.matches) == 1 else f"{len(explanation.matches)} routes take"
    problems = len(explanation.matches) - received
    but = f"; {problems} of them cannot use it" if problems else ""
    paint = terminal.red if problems else terminal.green
    terminal.print(paint(f"{routes} {escape(routing_key)}{but}."))
    return Exit.OK if received else Exit.FAULTS


def _read(body: str) -> bytes:
    """As `read_body`, and a plain name of a file is the file: no JSON looks like one."""
    return read_body(f"@{body}" if os.path.isfile(body) else body)


def _print_match(terminal: Terminal, match: Match, *, with_body: bool) -> None:
    route = match.route
    terminal.print(terminal.bold(f"{route.namespace}  {route.key.text}") + terminal.dim(f"  ({route.file})"))
    words = ", ".join(f"{name} = {escape(value)}" for name, value in match.words.items())
    facts = [
        ("binding", f"{route.exchange}  {match.binding}"),
        ("way", "live: round the log, nothing is kept" if route.live else ""),
        ("kept", "retained: the last value is for whoever joins later" if route.retain else ""),
        ("words", words),
        ("schema", route.schema or "(binary)"),
        ("namespace", escape(match.namespace or "")),
        ("rooms", _describe_rooms(match)),
        ("event", match.event),
        ("not to", f"the sender, client {escape(match.skip_sid)}" if match.skip_sid else ""),
    ]
    for name, text in facts:
        if text:
            terminal.print(f"  {name:<10} {text}")
    if match.problem is not None:
        terminal.print(f"  {terminal.red('problem')}    {escape(match.problem)}")
    elif not with_body:
        terminal.print(terminal.dim("  payload    give --body to see what a browser would get"))
    for number, argument in enumerate(match.args or (), start=1):
        name = "payload" if len(match.args or ()) == 1 else f"argument {number}"
        first, *rest = _show(argument).splitlines()
        terminal.print(f"  {name:<10} {first}")
        for line in rest:
            terminal.print(f"  {'':<10} {line}")
    terminal.print()


def _describe_rooms(match: Match) -> str:
    if match.rooms is None:
        return f"(they depend on the body) {', '.join(match.route.rooms)}"
    if match.rooms:
        return ", ".join(match.rooms)
    return "everyone in the namespace" if match.route.targets is None else ""


def _show(argument: Argument) -> str:
    if not isinstance(argument, Raw):
        return f"{len(argument)} bytes"
    text = msgspec.json.format(bytes(argument), indent=2).decode()
    return escape(text)


def _print_nothing(terminal: Terminal, routing_key: str, explanation: Explanation) -> None:
    if explanation.unknown_exchange:
        name = escape(explanation.exchanges[0])
        terminal.print(terminal.red(f"No events are read from the exchange {name}."))
        return
    exchanges = ", ".join(explanation.exchanges)
    terminal.print(terminal.red(f"No route takes {escape(routing_key)} ({exchanges})."))
    if explanation.near:
        terminal.print("The nearest:")
    for near in explanation.near:
        place = f"{near.route.exchange}  {near.route.key.text}"
        terminal.print(f"  {terminal.bold(place)}: {escape(near.reason)}")
