"""Declares the exchanges, streams, queues and bindings that the bridge needs, and uses what it finds.

What exists with other arguments is used as it is, with a warning that shows the difference and the fix
(RabbitMQ answers 406 PRECONDITION_FAILED, names the first argument that differs, and closes the channel).
"""

from collections.abc import Mapping
from typing import Final, Self

import structlog
from msgspec import Struct
from pamqp import commands
from pamqp.base import Frame

from bridge.amqp.channel import Channel, ChannelClosedError
from bridge.amqp.link import Link
from bridge.config.model import Amqp, InvalidQueue, Queue, State, Stream
from bridge.errors import BridgeError
from bridge.model import (
    CONTROL_EXCHANGE,
    INSTANCES_EXCHANGE,
    LOG_EXCHANGE,
    PRESENCE_EXCHANGE,
    PRESENCE_QUERY_KEY,
)

MARKER_KEY: Final = "log.end"
"""Routing key of the marker by which a reader learns where the log ends."""
OWN_EXCHANGES: Final = (LOG_EXCHANGE, CONTROL_EXCHANGE, PRESENCE_EXCHANGE, INSTANCES_EXCHANGE)
STATE_BINDINGS: Final = ((CONTROL_EXCHANGE, "user.revoke"), (CONTROL_EXCHANGE, "user.ban"))
"""What the state receives besides the values of events that are retained."""
OWN_BINDINGS: Final = ((LOG_EXCHANGE, "#"), (CONTROL_EXCHANGE, "#"), (PRESENCE_EXCHANGE, PRESENCE_QUERY_KEY))
"""What the log receives besides events."""
LIVE_ARGUMENTS: Final[Mapping[str, str | int]] = {
    "x-max-length": 10_000,
    "x-max-length-bytes": 64_000_000,
    "x-overflow": "drop-head",
}
"""Of the queue of what goes round the log: an instance that is behind misses the oldest."""
NOT_FOUND: Final = 404
PRECONDITION_FAILED: Final = 406
_LARGEST_SEGMENT: Final = 3_000_000_000  # RabbitMQ refuses more

log = structlog.get_logger(__name__)

Arguments = Mapping[str, str | int]


class TopologyError(BridgeError):
    """What stands on the broker cannot be used; the message says how to mend it."""


class Topology(Struct, frozen=True, kw_only=True):
    """What the routes need on the broker."""

    exchanges: tuple[str, ...]
    """All topic exchanges that events come from and commands go to."""
    bindings: tuple[tuple[str, str], ...] = ()
    """(exchange, binding key) of everything that the log must receive."""
    state_bindings: tuple[tuple[str, str], ...] = ()
    """(exchange, binding key) of the events whose last values outlive the log."""
    live_bindings: tuple[tuple[str, str], ...] = ()
    """(exchange, binding key) of everything that goes round the log."""


def stream_arguments(stream: Stream | State) -> Arguments:
    """Arguments of the stream; segments are a sixteenth of it, since only whole segments are dropped."""
    return {
        "x-queue-type": "stream",
        "x-max-age": f"{max(1, round(stream.max_age))}s",
        "x-max-length-bytes": int(stream.max_bytes),
        "x-stream-max-segment-size-bytes": min(_LARGEST_SEGMENT, max(1, stream.max_bytes // 16)),
    }


def to_dropped_key(instance_id: str) -> str:
    """Routing key of what the queue of an instance has dropped."""
    return f"dropped.{instance_id}"


def queue_arguments(queue: Queue, instance_id: str) -> Arguments:
    """Arguments of an instance's queue: it disappears with its instance, and drops its oldest messages.

    What it drops goes to whoever wants to know of it.
    """
    return {
        "x-dead-letter-exchange": INSTANCES_EXCHANGE,
        "x-dead-letter-routing-key": to_dropped_key(instance_id),
        "x-expires": max(1, round(queue.expires * 1000)),
        "x-max-length": queue.max_length,
        "x-overflow": "drop-head",
    }


def invalid_arguments(invalid: InvalidQueue) -> Arguments:
    """Arguments of the queue of invalid events: bounded, the oldest are dropped."""
    return {
        "x-max-length": invalid.max_length,
        "x-max-length-bytes": int(invalid.max_bytes),
        "x-overflow": "drop-head",
    }


def to_log_bindings(topology: Topology) -> tuple[tuple[str, str], ...]:
    """(exchange, binding key) of all that a log receives, be it the stream or an instance's queue."""
    return (*topology.bindings, *OWN_BINDINGS)


def to_state_bindings(name: str, topology: Topology) -> tuple[tuple[str, str], ...]:
    """The same of the state, whose stream and exchange have this name."""
    return ((name, "#"), *STATE_BINDINGS, *topology.state_bindings)


async def declare_log(link: Link, config: Amqp, topology: Topology) -> None:
    """Declare the stream, the exchanges and the bindings between them."""
    async with _Declarer(link) as declarer:
        await declarer.exchanges((*topology.exchanges, *OWN_EXCHANGES))
        name = config.stream.name
        await declarer.queue(name, stream_arguments(config.stream), "amqp.stream")
        await declarer.bindings(name, to_log_bindings(topology))


async def declare_state(link: Link, config: Amqp, topology: Topology) -> None:
    """Declare the stream of what outlives the log, its exchange, and the bindings to the sources."""
    name = config.state.name
    async with _Declarer(link) as declarer:
        await declarer.exchanges((*topology.exchanges, CONTROL_EXCHANGE, name))
        await declarer.queue(name, stream_arguments(config.state), "amqp.state")
        await declarer.bindings(name, to_state_bindings(name, topology))


async def declare_queue(
    link: Link, config: Amqp, topology: Topology, name: str, instance_id: str
) -> int | None:
    """Declare the queue of one instance, the exchanges and the bindings between them.

    Returns how many messages waited in it; None when it was not there yet, or has other arguments.
    """
    async with _Declarer(link) as declarer:
        await declarer.exchanges((*topology.exchanges, *OWN_EXCHANGES))
        waiting = await declarer.count_messages(name)
        is_ours = await declarer.queue(name, queue_arguments(config.queue, instance_id), "amqp.queue")
        await declarer.bindings(name, to_log_bindings(topology))
    return waiting if is_ours else None


async def declare_live(
    link: Link, topology: Topology, name: str, bindings: tuple[tuple[str, str], ...]
) -> None:
    """Declare a queue that goes with its connection, the exchanges and the bindings between them."""
    async with _Declarer(link) as declarer:
        await declarer.exchanges((*topology.exchanges, *OWN_EXCHANGES))
        await declarer.exclusive_queue(name, LIVE_ARGUMENTS)
        await declarer.bindings(name, bindings)


async def declare_publishing(link: Link, config: Amqp, topology: Topology) -> None:
    """Declare what is published to: the exchanges, and the exchange and queue of invalid events.

    That queue is of no use while the node of the cluster is down that it stands on; all else goes on.
    """
    name = config.invalid.name
    async with _Declarer(link) as declarer:
        await declarer.exchanges((*topology.exchanges, *OWN_EXCHANGES, name))
        try:
            await declarer.queue(name, invalid_arguments(config.invalid), "amqp.invalid")
            await declarer.bindings(name, ((name, "#"),))
        except ChannelClosedError as error:
            if error.code != NOT_FOUND:
                raise
            log.warning("queue.down", queue=name, broker_says=str(error))


class _Declarer:
    """Declares one thing after the other, on a new channel whenever the broker closed the last one."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._channel: Channel | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._channel is not None:
            await self._channel.close()

    async def exchanges(self, names: tuple[str, ...]) -> None:
        for name in dict.fromkeys(names):
            difference = await self._declare(
                commands.Exchange.Declare(exchange=name, exchange_type="topic", durable=True)
            )
            if difference is not None:
                log.warning(
                    "exchange.differs",
                    exchange=name,
                    broker_says=difference,
                    remedy="it is used as it is; delete it, and the bridge declares a durable topic exchange",
                )

    async def count_messages(self, queue: str) -> int | None:
        """How many messages wait in a queue; None when there is none of that name."""
        channel = await self._open()
        try:
            answer = await channel.call(commands.Queue.Declare(queue=queue, passive=True))
        except ChannelClosedError as error:
            self._channel = None
            if error.code != NOT_FOUND:
                raise
            return None
        assert isinstance(answer, commands.Queue.DeclareOk)  # noqa: S101  the only answer to it
        return answer.message_count or 0

    async def queue(self, name: str, arguments: Arguments, section: str) -> bool:
        """Whether it is as wished for."""
        difference = await self._declare(
            commands.Queue.Declare(queue=name, durable=True, arguments=dict(arguments))
        )
        if difference is None:
            return True
        log.warning(
            "queue.differs",
            queue=name,
            broker_says=difference,
            remedy=f"it is used as it is; set {section} to what it has, or delete it with all that is in it",
        )
        return False

    async def exclusive_queue(self, name: str, arguments: Arguments) -> None:
        await self._declare(
            commands.Queue.Declare(queue=name, exclusive=True, auto_delete=True, arguments=dict(arguments))
        )

    async def bindings(self, queue: str, bindings: tuple[tuple[str, str], ...]) -> None:
        for exchange, key in bindings:
            await self._declare(commands.Queue.Bind(queue=queue, exchange=exchange, routing_key=key))

    async def _declare(self, request: Frame) -> str | None:
        """None, or in the broker's words how what exists differs."""
        channel = await self._open()
        try:
            await channel.call(request)
        except ChannelClosedError as error:
            self._channel = None
            if error.code != PRECONDITION_FAILED:
                raise
            return str(error)
        return None

    async def _open(self) -> Channel:
        if self._channel is None:
            self._channel = await self._link.channel()
        return self._channel
