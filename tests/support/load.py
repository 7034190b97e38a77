"""A service under load that loses nothing of its own: what the broker did not take is published again.

It publishes `mandatory`, as every service should: for a moment after its start RabbitMQ confirms messages
for a stream that it has not opened yet, unless they are mandatory; then it returns them.
"""

import asyncio
import json
import time

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, DeliveryError

from tests.support.beside import Beside

_BATCHES = 50
"""A second."""
_SMALLEST = 2
_LOOK_EVERY = 0.02
_FAULTS = (*CONNECTION_EXCEPTIONS, DeliveryError, OSError, TimeoutError)


class Load:
    """Publishes numbered `task_update` events of one project, in order, until it is stopped.

    `progress` is the number and every event has a message id of its own, under which it is published
    again when its confirm did not come: at the end all of them are confirmed.
    """

    def __init__(self, amqp_url: str, project: str, rate: int) -> None:
        """`rate` is events per second, as far as the broker keeps up."""
        self._amqp_url = amqp_url
        self._project = project
        self.rate = rate
        self._stopping = False
        self.confirmed = 0
        """Events with a confirm; their numbers are 0 to this one, exclusive."""
        self.repeated = 0
        """Events that were published once more."""
        self.longest = 0.0
        """Seconds that a batch took at most until it was confirmed, while the broker was there."""

    @property
    def _batch(self) -> int:
        return max(_SMALLEST, self.rate // _BATCHES)

    def stop(self) -> None:
        """Publish no more once all is confirmed."""
        self._stopping = True

    async def run(self) -> None:
        """Publish until stopped, over as many connections as it takes."""
        with Beside() as beside:
            await beside.wait(self._run())

    async def wait_for(self, confirmed: int, within: float = 30) -> None:
        """Wait until so many events are confirmed."""
        async with asyncio.timeout(within):
            while self.confirmed < confirmed:  # noqa: ASYNC110  nothing announces it
                await asyncio.sleep(_LOOK_EVERY)

    async def _run(self) -> None:
        while not self._stopping:
            try:
                async with asyncio.timeout(5):
                    connection = await aio_pika.connect(self._amqp_url)
            except _FAULTS:
                await asyncio.sleep(_LOOK_EVERY)
                continue
            try:
                await self._publish(connection)
            except _FAULTS:
                self.repeated += self._batch
            finally:
                await _close(connection)

    async def _publish(self, connection: AbstractConnection) -> None:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchange = await channel.get_exchange("portal.events", ensure=False)
        key = f"project.{self._project}.task_update"
        due = time.monotonic()
        while not self._stopping:
            batch = range(self.confirmed, self.confirmed + self._batch)
            messages = [self._message(number) for number in batch]
            began = time.monotonic()
            async with asyncio.timeout(3):
                await asyncio.gather(
                    *(exchange.publish(message, key, mandatory=True) for message in messages)
                )
            self.confirmed = batch.stop
            self.longest = max(self.longest, time.monotonic() - began)
            due = max(due + len(batch) / self.rate, time.monotonic() - 1)  # a second's delay is made up for
            await asyncio.sleep(due - time.monotonic())

    def _message(self, number: int) -> aio_pika.Message:
        body = {
            "project_name": self._project,
            "task_id": "t-1",
            "task_type": "code",
            "status": "running",
            "progress": number,
            "agent_type": "coder",
        }
        return aio_pika.Message(
            json.dumps(body).encode(),
            content_type="application/json",
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=f"{self._project}-{number}",
        )


async def _close(connection: AbstractConnection) -> None:
    try:
        async with asyncio.timeout(5):
            await connection.close()
    except _FAULTS:
        return
