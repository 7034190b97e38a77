"""`bridged prune`: removes the bindings of the log and the state that no route needs any more."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Annotated

from cyclopts import Parameter

from bridge.amqp.address import parse_address
from bridge.amqp.topology import Topology, to_log_bindings, to_state_bindings
from bridge.cli.bindings import Binding, parse_bindings
from bridge.cli.broker import open_channel
from bridge.cli.exits import CliError, Exit
from bridge.cli.loading import DEFAULT_CONFIG, ConfigPath, SchemasPath, load_project, without_secret
from bridge.cli.tables import Table
from bridge.cli.terminal import Terminal, escape
from bridge.config.model import Amqp
from bridge.rules.compile import Rules


def prune(
    bindings: Annotated[str, Parameter(allow_leading_hyphen=True)] = "-",
    *,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    config: ConfigPath = DEFAULT_CONFIG,
    schemas: SchemasPath = None,
) -> int:
    """Remove the bindings of the log and the state that no route of the configuration needs.

    Instances only add bindings, so that two versions may run side by side: prune when the last instance of
    the older one has ended. AMQP does not tell which bindings there are, so list them for it:

    rabbitmqctl list_bindings -p / --formatter json | bridged prune --dry-run

    The management plugin's list, of `/api/bindings/VHOST`, will do as well.

    Parameters
    ----------
    bindings
        The file with the list, `-` for standard input.
    dry_run
        Show them, and remove nothing.
    """
    rules = load_project(config, schemas, without_secret(os.environ)).rules
    amqp = rules.config.amqp
    vhost = parse_address(amqp.url).login.vhost
    command = f"rabbitmqctl list_bindings -p {quote(vhost)} --formatter json | bridged prune"
    found = parse_bindings(_read(bindings, command), vhost, f"make it so: {command}")
    needless = find_needless(rules, found)
    left = [binding for binding in needless if binding.has_arguments]
    needless = [binding for binding in needless if not binding.has_arguments]
    if needless and not dry_run:
        asyncio.run(_remove(amqp, needless))
    _print(Terminal(sys.stdout), needless, left, dry_run=dry_run)
    return Exit.OK


def find_needless(rules: Rules, bindings: Sequence[Binding]) -> list[Binding]:
    """Those bindings of the log and the state that no route needs; CliError when the list names neither."""
    amqp = rules.config.amqp
    topology = Topology(exchanges=(), bindings=rules.bindings, state_bindings=rules.retained_bindings)
    to_log, to_state = to_log_bindings(topology), to_state_bindings(amqp.state.name, topology)
    of_bridge = 0
    needless = []
    for binding in sorted(bindings):
        if amqp.source == "queue":
            needed = to_log if binding.queue.startswith(amqp.queue.prefix) else None
        else:
            needed = {amqp.stream.name: to_log, amqp.state.name: to_state}.get(binding.queue)
        of_bridge += needed is not None
        if needed is not None and (binding.exchange, binding.key) not in needed:
            needless.append(binding)
    if not of_bridge:
        name = f"{amqp.queue.prefix}*" if amqp.source == "queue" else amqp.stream.name
        hint = "is it the list of the virtual host that amqp.url names, and has a daemon run there?"
        raise CliError(Exit.REFUSED, f'the list has no binding of "{name}"', hint)
    return needless


def _read(file: str, command: str) -> bytes:
    if file == "-":
        if sys.stdin.isatty():
            raise CliError(Exit.USAGE, "the list of bindings is missing", f"give it: {command}")
        if not (text := sys.stdin.buffer.read()).strip():
            raise CliError(
                Exit.USAGE, "the list of bindings is empty: did rabbitmqctl fail?", f"give it: {command}"
            )
        return text
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise CliError(Exit.USAGE, f"{file}: {error.strerror}", f"make it so: {command}") from error


async def _remove(amqp: Amqp, bindings: Sequence[Binding]) -> None:
    """Unbind; for RabbitMQ what is not there any more is no error."""
    try:
        async with open_channel(amqp) as channel:
            underlay = await channel.get_underlay_channel()
            for binding in bindings:
                await underlay.queue_unbind(
                    queue=binding.queue,
                    exchange=binding.exchange,
                    routing_key=binding.key,
                    timeout=amqp.confirm_timeout,
                )
    except TimeoutError as error:
        message = f"the broker did not answer within {amqp.confirm_timeout:g} s"
        raise CliError(Exit.UNREACHABLE, message, "run it again: what is removed stays so") from error


def _print(terminal: Terminal, needless: list[Binding], left: list[Binding], *, dry_run: bool) -> None:
    rows = [(binding.queue, escape(binding.exchange), escape(binding.key)) for binding in needless + left]
    if rows:
        Table(("QUEUE", "EXCHANGE", "KEY"), rows).print(terminal)
    done = "would be removed" if dry_run else "removed"
    terminal.print(f"{_count(len(needless))} {done}.")
    if left:
        hint = "it has arguments, which the bridge never gives: remove it by hand"
        terminal.print(terminal.yellow(f"{_count(len(left))} left: {hint}"))


def _count(number: int) -> str:
    return f"{number} {'binding' if number == 1 else 'bindings'}"
