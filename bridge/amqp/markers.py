"""A message that is published only to be found again: where it stands, the stream ended a moment ago."""

import time
from uuid import uuid4

from bridge.amqp.channel import LinkLostError
from bridge.amqp.confirms import ConfirmingChannel, to_properties
from bridge.amqp.connection import BrokerConnection
from bridge.model import PublishMessage, PublishOutcome


async def publish_marker(connection: BrokerConnection, instance_id: str, exchange: str, key: str) -> str:
    """Put a marker into what is bound to the exchange, confirmed; returns its message id.

    It goes over a connection of its own: from one that publishes during a memory alarm the broker reads
    nothing more, acknowledgements included. (A reader that connects during an alarm waits for its end.)
    """
    marker = PublishMessage(
        exchange=exchange,
        routing_key=key,
        body=b"{}",
        message_id=f"{instance_id}:{uuid4().hex}",
        type=key,
        timestamp=time.time(),
    )
    link = await connection.connect()
    try:
        channel = await ConfirmingChannel.open(link)
        outcome = await channel.send(marker, to_properties(marker, persistent=True)).outcome
    finally:
        await link.close()
    if outcome is not PublishOutcome.CONFIRMED:
        raise LinkLostError(f"the marker of {exchange} was not published: {outcome}")
    return marker.message_id
