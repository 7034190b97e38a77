"""Hands over what a consumer brings, in batches, and acknowledges each as a whole once it is handled."""

from collections.abc import Awaitable, Callable, Sequence

from bridge.amqp.connection import HandlerFailedError
from bridge.amqp.events import Content
from bridge.amqp.subscription import Subscription
from bridge.flow.ports import HandleBatch
from bridge.model import Delivery


async def pump(
    subscription: Subscription, prefetch: int, hand_over: Callable[[list[Content]], Awaitable[None]]
) -> None:
    """Hand over what comes until the consumer ends: LinkLostError."""
    # A quarter of what the broker sends ahead, so that acknowledgements keep it sending.
    batch = max(1, prefetch // 4)
    try:
        while True:
            contents = await subscription.take(batch)
            await hand_over(contents)
            subscription.acknowledge(contents[-1])
    finally:
        subscription.flush()


async def handle_events(deliveries: Sequence[Delivery], handle: HandleBatch) -> None:
    """Let the flow handle one batch; whatever it raises is a broken promise, HandlerFailedError."""
    if not deliveries:
        return
    try:
        await handle(deliveries)
    except Exception as error:
        raise HandlerFailedError(f"handling events failed: {type(error).__name__}") from error
