"""The tests' RabbitMQ: one private node per test run, one virtual host per test."""

from collections.abc import Iterator
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
