"""Begins to consume a stream at an offset, and says what to do about a queue that is none."""

from bridge.amqp.channel import ChannelClosedError
from bridge.amqp.link import Link
from bridge.amqp.subscription import Subscription
from bridge.amqp.topology import PRECONDITION_FAILED, TopologyError
from bridge.model import OFFSET_HEADER


async def consume_stream(
    link: Link, name: str, section: str, offset: int | str, *, prefetch: int
) -> Subscription:
    """Consume from an offset, or `first` or `next`; TopologyError when it is no stream.

    `section` is that of the configuration which names it.
    """
    try:
        return await Subscription.open(link, name, prefetch=prefetch, arguments={OFFSET_HEADER: offset})
    except ChannelClosedError as error:
        if error.code != PRECONDITION_FAILED:
            raise
        raise no_stream(name, section) from error  # invalid arg 'x-stream-offset' for queue ...


def no_stream(name: str, section: str) -> TopologyError:
    """What is wrong with a queue whose deliveries have no offsets."""
    return TopologyError(f'"{name}" is no stream: delete it, or set another {section}.name')
