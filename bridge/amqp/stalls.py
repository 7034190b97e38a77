"""Notices that the log goes on and its consumer gets nothing, and gives the connection up.

RabbitMQ 3.10 can forget a consumer of a stream. When the segment that it would read next is trimmed away,
and the broker has not yet noted where the stream begins now, it takes that place for the end of the stream;
and since the end lies further on, no event that is published later wakes the consumer (osiris_log.erl,
read_header0; rabbit_stream_queue.erl, stream_entries). The connection is in order, and heartbeats come.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from bridge.amqp.link import Link
from bridge.amqp.subscription import Subscription
from bridge.errors import BridgeError

log = structlog.get_logger(__name__)


async def watch_for_stall(
    subscription: Subscription, link: Link, heartbeat: float, publish_marker: Callable[[], Awaitable[object]]
) -> None:
    """Cut the link when, after two heartbeats (seconds) of silence, not even a marker comes within one more.

    Instances give signs of life in the log, so that a marker is a rare thing.
    """
    loop = asyncio.get_running_loop()
    while True:
        silent_since = subscription.waiting_since
        if silent_since is None or loop.time() < silent_since + 2 * heartbeat:
            await asyncio.sleep(heartbeat)
            continue
        try:
            async with asyncio.timeout(2 * heartbeat):
                await publish_marker()
            published = True
        except (OSError, TimeoutError, BridgeError):
            published = False  # a broker that takes nothing, as in an alarm, says nothing of what it delivers
        await asyncio.sleep(heartbeat)
        if published and subscription.waiting_since == silent_since:
            log.warning("log.stalled", meaning="the broker has forgotten its consumer; reading starts again")
            link.abort("the log goes on, and nothing of it is delivered")
            return
