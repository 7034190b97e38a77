"""One established connection to RabbitMQ, from its handshake to its loss: the loop's side of `Wire`."""

import asyncio
import contextlib
import time
from typing import Final, assert_never, cast

import structlog
from pamqp import commands

from bridge.amqp.address import Address, make_tls
from bridge.amqp.channel import Channel, ChannelClosedError, LinkLostError
from bridge.amqp.events import (
    Blocked,
    ChannelClosed,
    Closed,
    Confirmed,
    ConsumerCancelled,
    Deliveries,
    Event,
    Method,
    Opened,
    Returned,
)
from bridge.amqp.frames import UNEXPECTED_FRAME, WireError, encode_heartbeat
from bridge.amqp.wire import Wire

_CLOSE_TIMEOUT: Final = 3.0
_WRITE_BUFFER: Final = 2**20
"""Bytes that wait for the socket before publishing waits, too."""

log = structlog.get_logger(__name__)


class Link(asyncio.Protocol):
    """A connection that works until it is lost.

    A peer that says nothing for two heartbeats is given up. An answer to a request would be no proof of
    life: during a memory alarm the broker reads nothing from a publisher, yet goes on sending heartbeats.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self.lost: asyncio.Future[str] = self._loop.create_future()
        """Done when the connection is gone; the result says why."""
        self._reason = "connection closed"
        self._channels: dict[int, Channel] = {}
        self._output: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._heartbeat = 0
        self._last_byte = self._last_write = time.monotonic()
        self._pauses = 0
        """How many hold reading up."""
        self._paused = self._blocked = self._congested = self._closing = False
        self._writable = asyncio.Event()
        self._writable.set()

    @classmethod
    async def connect(cls, address: Address, title: str, heartbeat: int) -> "Link":
        """Connect and log in; the caller bounds the time and closes the link.

        OSError or LinkLostError when it cannot be done.
        """
        tls = None if address.tls is None else await asyncio.to_thread(make_tls, address.tls)
        link = cls(Wire(address.login, title, heartbeat))
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: link, address.host, address.port, ssl=tls)
        try:
            await link._opened
        except BaseException:
            link.abort()
            raise
        return link

    @property
    def frame_max(self) -> int:
        """The longest frame that was agreed upon, in bytes."""
        return self._wire.frame_max

    async def channel(self) -> Channel:
        """Open a channel."""
        if self.lost.done():
            raise LinkLostError(self.lost.result())
        channel = Channel(self, self._wire.open_channel())
        self._channels[channel.number] = channel
        self._send_output()
        await channel.expect(commands.Channel.Open())
        return channel

    @property
    def is_writable(self) -> bool:
        """Whether the broker takes messages: not during an alarm, nor while it is slow to read."""
        return self._writable.is_set()

    async def writable(self) -> None:
        """Wait until `is_writable`, or the connection is lost."""
        await self._writable.wait()

    async def until_lost(self) -> None:
        """Wait for the end of the connection."""
        await asyncio.wait([self.lost])

    async def close(self) -> None:
        """Say goodbye and close; whatever hangs is cut after three seconds."""
        self._closing = True
        if not self.lost.done() and self._opened.done():
            self._control_reading()  # else the broker's agreement would not be read
            self._wire.close()
            self._send_output()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_TIMEOUT):
                    await self.until_lost()
        self.abort()

    def abort(self, reason: str | None = None) -> None:
        """Cut the connection without a goodbye; idempotent."""
        if reason is not None and not self.lost.done():
            self._reason = reason
        if self._transport is not None:
            self._transport.abort()

    def write(self, data: bytes) -> None:
        """Send frames, together with all others of this turn of the loop."""
        if not self._output:
            self._loop.call_soon(self._flush)
        self._output.append(data)

    def close_channel(self, number: int) -> None:
        """Begin to close a channel."""
        self._wire.close_channel(number)
        self._send_output()

    def pause(self) -> None:
        """Take no more bytes from the broker: those that came are too many."""
        self._pauses += 1
        self._control_reading()

    def resume(self) -> None:
        """Take bytes from the broker again, once nobody else has paused."""
        self._pauses -= 1
        self._control_reading()

    def _control_reading(self) -> None:
        paused = self._pauses > 0 and not self._closing
        if self._transport is None or self._paused == paused or self.lost.done():
            return
        self._paused = paused
        if paused:
            self._transport.pause_reading()
        else:
            self._last_byte = time.monotonic()
            self._transport.resume_reading()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(_WRITE_BUFFER)
        self._send_output()

    def data_received(self, data: bytes) -> None:
        self._last_byte = time.monotonic()
        try:
            for event in self._wire.receive(data):
                self._take(event)
        except WireError as error:
            log.error("broker.protocol_broken", error=str(error))
            self.abort(f"protocol broken: {error}")
        except Exception as error:
            # Whoever takes what comes has failed, and what it was told is half done: begin anew.
            log.exception("link.failed")
            self.abort(f"a fault of the bridge: {type(error).__name__}")
        else:
            self._send_output()

    def pause_writing(self) -> None:
        self._congested = True
        self._note_writable()

    def resume_writing(self) -> None:
        self._congested = False
        self._note_writable()

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if error is not None and self._reason == "connection closed":
            self._reason = f"{type(error).__name__}: {error}"
        lost = LinkLostError(self._reason)
        self.lost.set_result(self._reason)
        if not self._opened.done():
            self._opened.set_exception(lost)
        for channel in self._channels.values():
            channel.end(lost)
        self._channels.clear()
        self._writable.set()

    def _take(self, event: Event) -> None:
        match event:
            case Deliveries(number, contents):
                if (deliver := self._channels[number].on_deliveries) is None:
                    raise WireError(UNEXPECTED_FRAME, "delivery without a consumer")
                deliver(contents)
            case Confirmed(number):
                if (confirm := self._channels[number].on_confirmed) is None:
                    raise WireError(UNEXPECTED_FRAME, "confirm of nothing")
                confirm(event)
            case Returned(number, content):
                if (give_back := self._channels[number].on_returned) is None:
                    raise WireError(UNEXPECTED_FRAME, "return of nothing")
                give_back(content)
            case Method(number, method):
                self._channels[number].take_answer(method)
            case ChannelClosed(number, code, text):
                self._channels.pop(number).end(ChannelClosedError(code, text))
            case ConsumerCancelled(number):
                if (cancel := self._channels[number].on_cancelled) is not None:
                    cancel()
            case Opened() | Blocked() | Closed():
                self._take_state(event)
            case _:
                assert_never(event)

    def _take_state(self, event: Opened | Blocked | Closed) -> None:
        match event:
            case Opened(heartbeat):
                self._heartbeat = heartbeat
                if not self._opened.done():
                    self._opened.set_result(None)
                self._beat()
            case Blocked(blocked, reason):
                if blocked:
                    log.warning("broker.takes_no_messages", reason=reason)
                self._blocked = blocked
                self._note_writable()
            case Closed(code, text):
                self._reason = "connection closed" if code == 200 else text
                self._send_output()
                if self._transport is not None:
                    self._transport.close()

    def _note_writable(self) -> None:
        if self._blocked or self._congested:
            self._writable.clear()
        else:
            self._writable.set()

    def _send_output(self) -> None:
        """Send what the states call for, behind what was written before."""
        if output := self._wire.take_output():
            self._output.append(output)
        if self._output:
            self._flush()

    def _flush(self) -> None:
        if self._transport is None or not self._output:
            return
        data = b"".join(self._output)
        self._output.clear()
        self._last_write = time.monotonic()
        if not self._transport.is_closing():
            self._transport.write(data)

    def _beat(self) -> None:
        """Say that we are here (4.2.7), and notice when the peer is not."""
        now = time.monotonic()
        quiet = now - self._last_byte
        if not self._paused and quiet > 2 * self._heartbeat:
            log.warning("broker.silent", seconds=round(quiet, 1))
            self.abort("the broker is silent")
            return
        if now - self._last_write >= self._heartbeat / 2:
            self.write(encode_heartbeat())
        self._timer = self._loop.call_later(min(1.0, self._heartbeat / 4), self._beat)
