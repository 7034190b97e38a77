"""Sends one message on a channel with publisher confirms, and says truthfully what became of it."""

import asyncio
from datetime import UTC, datetime
from typing import Any, Final

from aiormq import Channel
from aiormq.exceptions import ChannelInvalidStateError, ChannelNotFoundEntity, DeliveryError, PublishError
from pamqp.commands import Basic

from bridge.model import PublishMessage, PublishOutcome

LONGEST_KEY: Final = 255
"""Bytes of a routing key: AMQP's short string."""


async def send(channel: Channel, message: PublishMessage, properties: Basic.Properties) -> PublishOutcome:
    """Publish a mandatory message and wait for the broker's answer; the caller bounds the time."""
    try:
        await channel.basic_publish(
            message.body,
            exchange=message.exchange,
            routing_key=message.routing_key,
            properties=properties,
            mandatory=True,
            wait=False,
        )
    except PublishError:
        return PublishOutcome.UNROUTABLE
    except DeliveryError:
        return PublishOutcome.REJECTED
    except ChannelInvalidStateError:
        return PublishOutcome.BROKER_UNAVAILABLE  # closed before it was sent
    except ChannelNotFoundEntity as error:
        # One missing exchange closes the channel for all that were in flight on it.
        missing = f"no exchange '{message.exchange}' " in str(error)
        return PublishOutcome.UNROUTABLE if missing else PublishOutcome.UNKNOWN_OUTCOME
    except asyncio.CancelledError:
        # aiormq cancels what waits on a connection that breaks: that is not our cancellation.
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise
        return PublishOutcome.UNKNOWN_OUTCOME
    except Exception:
        # The connection broke: aiormq rejects with OSError, AMQPError or bare Exception.
        return PublishOutcome.UNKNOWN_OUTCOME
    return PublishOutcome.CONFIRMED


def to_properties(message: PublishMessage, **more: Any) -> Basic.Properties:
    """The properties that every message of the bridge has, and `more` of them."""
    return Basic.Properties(
        message_id=message.message_id,
        message_type=message.type,
        app_id="bridged",
        content_type=message.content_type,
        timestamp=datetime.fromtimestamp(message.timestamp, UTC),
        headers=dict(message.headers),
        **more,
    )
