"""Gives the flow batches of deliveries."""

from collections.abc import Sequence

from bridge.amqp.connection import HandlerFailedError
from bridge.flow.ports import HandleBatch
from bridge.model import Delivery


def handle_events(deliveries: Sequence[Delivery], handle: HandleBatch) -> None:
    """Let the flow handle one batch; whatever it raises is a broken promise, HandlerFailedError."""
    if not deliveries:
        return
    try:
        handle(deliveries)
    except Exception as error:
        raise HandlerFailedError(f"handling events failed: {type(error).__name__}") from error
