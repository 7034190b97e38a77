"""The tests' RabbitMQ: one private node per test run, one virtual host per test."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from dev.broker import PrivateBroker

_BATCH = 16


def run_broker(folder: Path) -> Iterator[PrivateBroker]:
    """A private node, stopped at the end; fails, with what to install, where RabbitMQ is missing."""
    broker = PrivateBroker(folder)
    broker.start()
    yield broker
    broker.kill()


def make_vhosts(broker: PrivateBroker) -> Iterator[str]:
    """AMQP URLs of fresh virtual hosts; made in batches, since each `rabbitmqctl` takes half a second."""
    numbers = count()
    while True:
        names = [f"test-{next(numbers)}" for _ in range(_BATCH)]
        broker.add_vhost(*names)
        for name in names:
            yield f"{broker.url}/{name}"


def save_directory(broker: PrivateBroker) -> None:
    """Let the broker write down which streams it has. Blocks for about a second.

    RabbitMQ 3.10 does so half a second after the last change: killed within a second of its first stream it
    never opens it again.
    """
    broker.rabbitmqctl("eval", "[ok = dets:sync(Table) || Table <- dets:all()].")


def hide_queue(broker: PrivateBroker, vhost: str, queue: str) -> None:
    """Make a durable queue one whose node is down: the broker knows of it, and cannot reach it."""
    broker.rabbitmqctl("eval", f"ok = mnesia:dirty_delete(rabbit_queue, {_name(vhost, queue)}).")


def kill_leader(broker: PrivateBroker, vhost: str, stream: str) -> None:
    """Kill the process that writes a stream; the broker elects another one. Blocks for about a second."""
    name = f'rabbit_misc:r(<<"{vhost}">>, queue, <<"{stream}">>)'
    broker.rabbitmqctl(
        "eval", f"{{ok, Q}} = rabbit_amqqueue:lookup({name}), exit(amqqueue:get_pid(Q), kill)."
    )


@contextmanager
def memory_alarm(broker: PrivateBroker) -> Iterator[None]:
    """The broker's memory alarm is in force: it takes no messages. Blocks for about a second."""
    broker.rabbitmqctl("set_vm_memory_high_watermark", "0")
    try:
        deadline = time.monotonic() + 20
        while "memory" not in broker.rabbitmqctl("eval", "rabbit_alarm:get_alarms()."):
            assert time.monotonic() < deadline, "the memory alarm did not come"
        yield
    finally:
        broker.rabbitmqctl("set_vm_memory_high_watermark", "absolute", "1GB")


def _name(vhost: str, queue: str) -> str:
    """Erlang's term for the name of a queue."""
    return f'rabbit_misc:r(<<"{vhost}">>, queue, <<"{queue}">>)'
