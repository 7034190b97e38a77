"""A short visit to the broker, for commands that publish or look: connect, do one thing, go."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractChannel
from aio_pika.exceptions import (
    AMQPConnectionError,
    AuthenticationError,
    InvalidFrameError,
    ProbableAuthenticationError,
)
from aiormq.exceptions import ChannelAccessRefused

from bridge.amqp.address import parse_address
from bridge.cli.exits import CliError, Exit
from bridge.config.model import Amqp


@asynccontextmanager
async def open_channel(amqp: Amqp, *, confirms: bool = False) -> AsyncIterator[AbstractChannel]:
    """A channel with publisher confirms or without; CliError when the broker does not answer or refuses."""
    # What it would say of a broker that does not answer stands in our own message, in words for people.
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)
    address = parse_address(amqp.url)
    place = f"{address.host}:{address.port}"
    try:
        connection = await aio_pika.connect(amqp.url, timeout=amqp.connect_timeout)
    except (AuthenticationError, ProbableAuthenticationError) as error:
        message = f"RabbitMQ on {place} refuses the user or the password"
        raise CliError(Exit.REFUSED, message, "see AMQP_URL, or amqp.url in the configuration") from error
    except (AMQPConnectionError, OSError, TimeoutError) as error:
        message = f"RabbitMQ on {place} cannot be reached"
        raise CliError(Exit.UNREACHABLE, message, "is it running? AMQP_URL says where it is") from error
    except InvalidFrameError as error:
        # The broker's answer to `connection.open` was to close: the virtual host, in practice.
        message = f'RabbitMQ on {place} has no virtual host "{address.login.vhost}", or not for this user'
        raise CliError(Exit.REFUSED, message, "see AMQP_URL, or amqp.url in the configuration") from error
    async with connection:
        try:
            yield await connection.channel(publisher_confirms=confirms, on_return_raises=confirms)
        except ChannelAccessRefused as error:
            raise CliError(Exit.REFUSED, f"RabbitMQ does not allow it: {error}") from error
