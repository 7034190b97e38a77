"""What a broker's bytes say: the events of one AMQP connection."""

from msgspec import Struct
from pamqp.base import Frame


class Content(Struct, frozen=True, gc=False):
    """A message that came; its properties are still bytes, since not everyone needs them."""

    tag: int
    """Delivery tag; 0 of a returned message."""
    exchange: str
    routing_key: str
    properties: bytes
    """Flags and properties, for `decode_properties`."""
    body: bytes
    redelivered: bool = False
    """Whether it was sent before, and not acknowledged."""


class Deliveries(Struct, frozen=True):
    """Messages for the consumer of a channel, in order: all that one chunk of bytes brought."""

    channel: int
    contents: list[Content]


class Returned(Struct, frozen=True):
    """A mandatory message that reached no queue; its confirm comes later."""

    channel: int
    content: Content


class Confirmed(Struct, frozen=True):
    """The broker's answer to one published message, or to all up to it."""

    channel: int
    tag: int
    multiple: bool
    positive: bool


class Method(Struct, frozen=True):
    """Any other method: on a channel, the answer to what was asked there."""

    channel: int
    method: Frame


class ConsumerCancelled(Struct, frozen=True):
    """The broker ended the consumer of a channel: its queue is gone."""

    channel: int


class ChannelClosed(Struct, frozen=True):
    """A channel is no more: the broker closed it, or confirmed that we did (code 200)."""

    channel: int
    code: int
    text: str


class Opened(Struct, frozen=True):
    """The connection may be used."""

    heartbeat: int
    """Seconds that were agreed upon."""


class Blocked(Struct, frozen=True):
    """The broker takes no messages (memory or disk alarm), or takes them again."""

    blocked: bool
    reason: str = ""


class Closed(Struct, frozen=True):
    """The broker closed the connection, or confirmed that we did (code 200)."""

    code: int
    text: str


Event = (
    Deliveries | Returned | Confirmed | Method | ConsumerCancelled | ChannelClosed | Opened | Blocked | Closed
)
