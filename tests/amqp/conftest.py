"""Fixtures of the tests of the RabbitMQ edge."""

from collections.abc import AsyncIterator

import aiormq
import pytest
from aiormq.abc import AbstractChannel

from tests.support.amqp import EXCHANGE


@pytest.fixture
async def service(amqp_url: str) -> AsyncIterator[AbstractChannel]:
    """The channel of a service that publishes with confirms; its exchange is there."""
    connection = await aiormq.connect(amqp_url)
    channel = await connection.channel()
    await channel.exchange_declare(EXCHANGE, exchange_type="topic", durable=True)
    yield channel
    await connection.close()
