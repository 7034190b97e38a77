"""`bridged invalid`: shows the events that fitted no schema, and leaves them where they are."""

import asyncio
import os
import sys
from datetime import UTC, datetime
from typing import Annotated

from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import ChannelNotFoundEntity
from cyclopts import Parameter

from bridge.cli.broker import open_channel
from bridge.cli.exits import CliError, Exit
from bridge.cli.loading import DEFAULT_CONFIG, ConfigPath, load_settings, without_secret
from bridge.cli.terminal import Terminal, escape
from bridge.config.model import Amqp

_LONGEST_BODY = 2000


def invalid(
    *,
    count: int = 20,
    body: Annotated[bool, Parameter(negative=())] = False,
    config: ConfigPath = DEFAULT_CONFIG,
) -> int:
    """Show the oldest events in `bridge.invalid`, each with its reason; all stay in the queue.

    Parameters
    ----------
    count
        How many at most.
    body
        Show their bodies too: they are what the services published, secrets included.
    """
    amqp = load_settings(config, without_secret(os.environ)).amqp
    terminal = Terminal(sys.stdout)
    messages, total = asyncio.run(_peek(amqp, count))
    for message in messages:
        _print_message(terminal, message, with_body=body)
    left = f", {len(messages)} shown" if total > len(messages) else ""
    terminal.print(f"{amqp.invalid.name}: {total} {'event' if total == 1 else 'events'}{left}")
    return Exit.OK


async def _peek(amqp: Amqp, count: int) -> tuple[list[AbstractIncomingMessage], int]:
    """Take messages without acknowledging them: when the connection closes, they are back in their place."""
    messages: list[AbstractIncomingMessage] = []
    try:
        async with open_channel(amqp) as channel:
            queue = await channel.get_queue(amqp.invalid.name, ensure=True)
            total = queue.declaration_result.message_count or 0
            while len(messages) < min(count, total):
                message = await queue.get(no_ack=False, fail=False, timeout=amqp.confirm_timeout)
                if message is None:
                    break
                messages.append(message)
    except ChannelNotFoundEntity as error:
        hint = "the daemon makes it when it starts for the first time"
        raise CliError(Exit.REFUSED, f'there is no queue "{amqp.invalid.name}"', hint) from error
    return messages, total


def _print_message(terminal: Terminal, message: AbstractIncomingMessage, *, with_body: bool) -> None:
    header = {name: escape(str(value)) for name, value in message.headers.items()}
    time = message.timestamp.astimezone(UTC) if isinstance(message.timestamp, datetime) else None
    when = time.strftime("%Y-%m-%d %H:%M:%S") if time else "-"
    key = header.get("routing_key", escape(message.routing_key or ""))
    terminal.print(
        f"{when}  {terminal.bold(header.get('reason', '?'))}  {header.get('exchange', '?')}  {key}"
    )
    place = f"{header['path']}: " if header.get("path") else ""
    terminal.print(f"  {terminal.red(place + header.get('error', '?'))}")
    terminal.print(terminal.dim(f"  route {header.get('route', '?')}, message id {message.message_id}"))
    if with_body:
        text = message.body[:_LONGEST_BODY].decode("utf-8", "replace")
        terminal.print(f"  {escape(text)}{' ...' if len(message.body) > _LONGEST_BODY else ''}")
    terminal.print()
