"""`bridged publish`: one message to an exchange, as a service would publish it."""

import asyncio
import os
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import aio_pika
import msgspec
from aio_pika.exceptions import ChannelNotFoundEntity, DeliveryError, PublishError
from cyclopts import Parameter

from bridge.cli.broker import open_channel
from bridge.cli.exits import CliError, Exit
from bridge.cli.loading import DEFAULT_CONFIG, ConfigPath, load_settings, without_secret
from bridge.cli.terminal import Terminal
from bridge.config.model import Amqp
from bridge.rules.keys import MAX_KEY_BYTES

HeaderTexts = Annotated[
    list[str] | None,
    Parameter(name="--header", negative=(), help="A header of the message, as `name=value`."),
]

BodyText = Annotated[str, Parameter(name="--body", allow_leading_hyphen=True)]
"""A body; the hyphen that a value may begin with is the `-` of standard input."""


def publish(
    exchange: str,
    key: str,
    *,
    body: BodyText = "{}",
    header: HeaderTexts = None,
    message_id: str | None = None,
    content_type: str | None = None,
    config: ConfigPath = DEFAULT_CONFIG,
) -> int:
    """Publish one message, and say whether the broker took it and anybody listens.

    Parameters
    ----------
    exchange
        Such as `portal.events`.
    key
        The routing key, such as `project.apollo.state_change`.
    body
        JSON; `@FILE` reads it from a file, `-` from standard input.
    message_id
        A new UUID where it is left out.
    content_type
        `application/json` where it is left out; any other takes the body as it is.
    """
    amqp = load_settings(config, without_secret(os.environ)).amqp
    content = read_body(body)
    if content_type is None:
        _require_json(content)
    if len(key.encode()) > MAX_KEY_BYTES:
        raise CliError(Exit.USAGE, f"the routing key is over {MAX_KEY_BYTES} bytes")
    message = _Message(
        exchange=exchange,
        key=key,
        body=content,
        content_type=content_type or "application/json",
        headers=parse_headers(header or []),
        message_id=message_id or str(uuid.uuid4()),
    )
    asyncio.run(_publish(amqp, message))
    Terminal(sys.stdout).print(f"confirmed: {exchange} {key} (message id {message.message_id})")
    return Exit.OK


def read_body(text: str) -> bytes:
    """The body that an option names: itself, `@FILE`, or `-` for standard input."""
    if text == "-":
        return sys.stdin.buffer.read()
    if not text.startswith("@"):
        return text.encode()
    try:
        return Path(text[1:]).read_bytes()
    except OSError as error:
        raise CliError(Exit.USAGE, f"{text[1:]}: {error.strerror}") from error


def parse_headers(texts: list[str]) -> dict[str, str]:
    """Take `name=value` apart."""
    headers = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise CliError(Exit.USAGE, f'"{text}" is no header', "write --header tenant=acme")
        headers[name] = value
    return headers


class _Message(msgspec.Struct, frozen=True, kw_only=True):
    exchange: str
    key: str
    body: bytes
    content_type: str
    headers: dict[str, str]
    message_id: str


def _require_json(body: bytes) -> None:
    try:
        msgspec.json.decode(body)
    except ValueError as error:
        hint = "quote it for the shell: --body '{\"n\": 1}'; --content-type sends it as it is"
        raise CliError(Exit.USAGE, f"the body is no JSON: {error}", hint) from error


async def _publish(amqp: Amqp, message: _Message) -> None:
    outgoing = aio_pika.Message(
        message.body,
        content_type=message.content_type,
        headers=dict(message.headers),
        message_id=message.message_id,
        timestamp=datetime.now(UTC),
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )
    try:
        async with open_channel(amqp, confirms=True) as channel:
            exchange = await channel.get_exchange(message.exchange, ensure=False)
            await exchange.publish(outgoing, message.key, mandatory=True, timeout=amqp.confirm_timeout)
    except ChannelNotFoundEntity as error:
        hint = "the daemon declares the exchanges of its routes when it starts; `bridged check` lists them"
        raise CliError(Exit.REFUSED, f'there is no exchange "{message.exchange}"', hint) from error
    except PublishError as error:
        hint = "a daemon that routes it binds its log to it; `bridged explain` says whether any route matches"
        raise CliError(Exit.REFUSED, f"nobody listens to {message.key}: the message is gone", hint) from error
    except DeliveryError as error:
        raise CliError(Exit.REFUSED, "the broker rejected the message") from error
    except TimeoutError as error:
        message_text = f"no confirm came within {amqp.confirm_timeout:g} s: the outcome is unknown"
        raise CliError(Exit.UNREACHABLE, message_text) from error
