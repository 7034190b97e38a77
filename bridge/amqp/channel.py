"""One channel of a connection: methods with their answers, and whoever takes what comes on it."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from pamqp.base import Frame

from bridge.amqp.events import Confirmed, Content
from bridge.amqp.frames import UNEXPECTED_FRAME, WireError, encode_method
from bridge.errors import BridgeError


class LinkLostError(BridgeError):
    """The connection is gone, or what it was needed for; another one will be made."""


class ChannelClosedError(LinkLostError):
    """The broker closed the channel, usually since it would not do what was asked (1.1, reply codes)."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Carrier(Protocol):
    """The connection under a channel."""

    @property
    def frame_max(self) -> int:
        """The longest frame that was agreed upon, in bytes."""

    def write(self, data: bytes) -> None:
        """Send frames, together with all others of this turn of the loop."""

    def close_channel(self, number: int) -> None:
        """Begin to close a channel."""

    def pause(self) -> None:
        """Take no more bytes from the broker, until `resume` has been called as often."""

    def resume(self) -> None:
        """Take bytes from the broker again, once nobody else has paused."""


class Channel:
    """An open channel. Who uses it sets the callbacks that it needs; they run as the bytes come in."""

    def __init__(self, carrier: Carrier, number: int) -> None:
        self.carrier = carrier
        self.number = number
        self.ended: asyncio.Future[LinkLostError] = asyncio.get_running_loop().create_future()
        """Done when the channel or its connection is gone; the result says why."""
        self.on_deliveries: Callable[[list[Content]], None] | None = None
        self.on_returned: Callable[[Content], None] | None = None
        self.on_confirmed: Callable[[Confirmed], None] | None = None
        self.on_cancelled: Callable[[], None] | None = None
        self.on_ended: Callable[[LinkLostError], None] | None = None
        self._asked: deque[tuple[Frame, asyncio.Future[Frame]]] = deque()

    async def call(self, request: Frame) -> Frame:
        """Send a synchronous method and wait for its answer; the caller bounds the time.

        ChannelClosedError when the broker refuses it, LinkLostError when no answer can come.
        """
        if self.ended.done():
            raise self.ended.result()
        self.carrier.write(encode_method(request, self.number))
        return await self.expect(request)

    async def expect(self, request: Frame) -> Frame:
        """Wait for the answer to a method that has been sent."""
        answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._asked.append((request, answer))
        return await answer

    def write(self, data: bytes) -> None:
        """Send frames for this channel; what comes after its end is dropped."""
        if not self.ended.done():
            self.carrier.write(data)

    async def close(self) -> None:
        """Close the channel and wait until the broker agrees; the caller bounds the time."""
        if not self.ended.done():
            self.on_ended = None
            self.carrier.close_channel(self.number)
            await asyncio.wait([self.ended])

    def take_answer(self, method: Frame) -> None:
        """The broker answered; an answer that nobody waits for breaks the protocol."""
        if not self._asked or method.name not in self._asked[0][0].valid_responses:
            raise WireError(UNEXPECTED_FRAME, f"{method.name} out of turn")
        _, answer = self._asked.popleft()
        if not answer.done():
            answer.set_result(method)

    def end(self, reason: LinkLostError) -> None:
        """The channel is gone, for this reason."""
        if self.ended.done():
            return
        self.ended.set_result(reason)
        for _, answer in self._asked:
            if not answer.done():
                answer.set_exception(reason)
        self._asked.clear()
        if self.on_ended is not None:
            self.on_ended(reason)
