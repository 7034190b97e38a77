"""What a client is told when its command could not be carried out, and whether a retry may be."""

from collections.abc import Mapping
from typing import Final

from bridge.errors import Code
from bridge.model import PublishOutcome, Refuse

REFUSALS: Final[Mapping[PublishOutcome, Refuse]] = {
    PublishOutcome.UNROUTABLE: Refuse(
        code=Code.UNROUTABLE, message="Nobody takes this command at the moment"
    ),
    PublishOutcome.REJECTED: Refuse(code=Code.REJECTED, message="The message broker refused the command"),
    PublishOutcome.BROKER_UNAVAILABLE: Refuse(
        code=Code.BROKER_UNAVAILABLE, message="The message broker is away: the command was not sent"
    ),
    PublishOutcome.UNKNOWN_OUTCOME: Refuse(
        code=Code.UNKNOWN_OUTCOME, message="The message broker did not confirm the command in time"
    ),
    PublishOutcome.TIMEOUT: Refuse(code=Code.TIMEOUT, message="No service answered in time"),
}
"""By what became of the command's message."""

FAILED: Final = Refuse(code=Code.INTERNAL, message="The command could not be carried out")

NOT_REMEMBERED: Final = frozenset(
    {Code.BROKER_UNAVAILABLE, Code.UNKNOWN_OUTCOME, Code.TIMEOUT, Code.SHUTTING_DOWN, Code.INTERNAL}
)
"""A retry with the same idempotency key runs again after these, under the same message id."""
