"""One Engine.IO connection: what waits to go out, the change from polling to websocket, the end."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import structlog
from msgspec import Struct

from bridge.sockets import messages
from bridge.sockets.endings import CloseReason, ProtocolError
from bridge.sockets.incoming import Receiver
from bridge.sockets.messages import Batch, Message, encode_close
from bridge.sockets.polls import Polls
from bridge.sockets.turns import Turns

if TYPE_CHECKING:
    from bridge.sockets.engine import Engine

FREELY: Final = 65536
"""Bytes that may wait in a websocket's transport without its client counting as behind."""

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Handshake(Struct, frozen=True, kw_only=True):
    """What the first HTTP request of a connection said, as far as it is kept for as long as that lives."""

    headers: Mapping[str, str]
    """Names in lower case."""
    query: Mapping[str, str]
    remote: str


class Connection:
    """An Engine.IO connection, on HTTP polling or on a websocket.

    On a websocket every frame goes straight to the transport, so nothing of ours is ever in flight, and
    order is the order of the calls. After a close frame of ours nothing more is written.
    """

    __slots__ = (
        "__weakref__",
        "_drained",
        "_engine",
        "_probe",
        "_transport",
        "closed",
        "direct",
        "handshake",
        "max_bytes",
        "polls",
        "receiver",
        "sid",
        "turns",
    )

    receiver: Receiver

    def __init__(self, engine: "Engine", sid: str, handshake: Handshake) -> None:
        self._engine = engine
        self.sid = sid
        self.handshake = handshake
        self.turns = Turns()
        """Of what comes in."""
        self.max_bytes = engine.stranger_bytes
        """Of one message from its client, or one body."""
        self.polls = Polls()
        """What waits while it polls."""
        self.closed = False
        self.direct: asyncio.Transport | None = None
        """Where frames may be written at once: a websocket's transport, unless its client is behind."""
        self._transport: asyncio.Transport | None = None
        self._probe: asyncio.Transport | None = None
        self._drained: asyncio.Future[None] | None = None
        """What those wait for who would give it more, once it has taken what waits."""

    # What goes out

    def send(self, message: Message) -> None:
        """Give the client one message; never blocks."""
        if self._transport is not None:
            self._write(message.frames)
        else:
            self._queue(message)

    def deliver(self, batch: Batch) -> None:
        """Give the client several messages, on a websocket in one write."""
        if self._transport is not None:
            self._write(batch.frames)
        else:
            for message in batch.messages:
                self._queue(message)

    def _write(self, frames: bytes) -> None:
        transport = self._transport
        if transport is None or self.closed or transport.is_closing():
            return
        if self.direct is not None:
            self.write_directly(self.direct, frames)
        elif self._engine.backlog.owe(self, len(frames)):
            transport.write(frames)

    def write_directly(self, direct: asyncio.Transport, frames: bytes) -> None:
        """Write to `self.direct`, and look whether the client took it.

        Afterwards, not before: else nobody would notice who took nothing of the last event for a while.
        """
        direct.write(frames)
        if direct.get_write_buffer_size() > FREELY:
            self.direct = None
            self._engine.backlog.fall_behind(self)

    def _queue(self, message: Message) -> None:
        if not self.closed and self._engine.backlog.owe(self, len(message.frames)):
            self.polls.put(message)

    # The bounds of what waits (backlog.Debtor)

    @property
    def waiting(self) -> int:
        """Bytes that were given to it and have not left the process."""
        return self.polls.waiting if self._transport is None else self._transport.get_write_buffer_size()

    @property
    def tolerated(self) -> int:
        """So few waiting bytes do not count as being behind."""
        return 0 if self._transport is None else FREELY

    def caught_up(self) -> None:
        """Frames may be written at once again."""
        if not self.closed:
            self.direct = self._transport
        self.drain()

    @property
    def is_behind(self) -> bool:
        """Whether its client has much to take."""
        return not self.closed and self.waiting > FREELY

    async def drained(self) -> None:
        """Return when it may no longer be behind, or a client of it has gone: look again."""
        if self._drained is None:
            self._drained = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._drained)  # several may wait for it

    def drain(self) -> None:
        """Let those look again who wait for it to drain."""
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    def cut(self) -> None:
        """End it as a slow client: nothing more is written from now on, the gateway learns it later.

        Later, since this happens in the middle of a fan-out, and what the gateway does about a lost
        client must not get between the events.
        """
        self.direct = None
        asyncio.get_running_loop().call_soon(self.close, CloseReason.SLOW_CLIENT)
        if self._transport is not None:
            self._transport.abort()  # after that, since it tells `close` as well

    def take_pong(self) -> None:
        """The client answered a ping."""
        self._engine.take_pong(self)

    # Websocket

    def attach(self, transport: asyncio.Transport) -> None:
        """Go on over a websocket; whatever waited for a poll leaves first."""
        self._probe = None
        self._engine.backlog.settle(self)
        self._transport = self.direct = transport
        if waiting := self.polls.take():
            self._write(Batch(waiting).frames)
        self.drain()
        self.polls.wake()

    def begin_probe(self, transport: asyncio.Transport) -> bool:
        """Take note that a websocket is being tried; False when this connection cannot change to it.

        From now on polls are answered at once, so that the client can stop polling.
        """
        if self.closed or self._transport is not None or self._probe is not None:
            return False
        self._probe = transport
        return True

    def probed(self) -> None:
        """The probe was answered: let a poll that hangs return."""
        self.polls.wake()

    def end_probe(self) -> None:
        """The websocket that was tried is gone; polling goes on."""
        self._probe = None

    # Polling

    @property
    def on_websocket(self) -> bool:
        """Whether it began on a websocket or has changed to one."""
        return self._transport is not None

    @property
    def polling(self) -> bool:
        """Whether it is open and has not changed to a websocket."""
        return not self.closed and self._transport is None

    async def poll(self) -> bytes:
        """Wait for something to send; returns the HTTP body. Raises ProtocolError if polls overlap."""
        if self.polls.hangs or self.polls.answers:
            self.fail("overlapping_polls")
            raise ProtocolError("overlapping_polls")
        if self._probe is None:
            await self.polls.hang()
        return self.polls.take_body()

    def answered(self) -> None:
        """All of an answer has left, or nothing more will."""
        self.polls.end_answer()
        if self.polling and not self.waiting:
            self._engine.backlog.settle(self)
        self.drain()

    # The end

    def fail(self, word: str, close_code: int = 1002) -> None:
        """Close it, since its client broke the protocol; `close_code` says so on a websocket."""
        if not self.closed:
            _log.info("connection.protocol_error", fault=word, address=self.handshake.remote)
            self.close(CloseReason.PROTOCOL_ERROR, close_code=close_code)

    def close(
        self, reason: CloseReason, last: Message | None = messages.CLOSE, close_code: int | None = None
    ) -> None:
        """End it; `last` is what a poll that waits is answered, `close_code` goes by the reason."""
        if self.closed:
            return
        self.closed = True
        self.direct = None
        self.drain()
        if self._transport is not None:
            self._close_websocket(self._transport, reason, close_code or reason.close_code)
            self.polls.end(drop=True)
        else:
            self._close_polling(reason, last)
        if self._probe is not None:
            self._probe.abort()
        self._engine.forget(self, reason)
        self.receiver.closed(reason)
        del self.receiver  # it knows the connection: as a cycle both would wait for the collector

    def _close_polling(self, reason: CloseReason, last: Message | None) -> None:
        if last is not None:
            self.polls.put(last)
        if reason is CloseReason.SHUTDOWN and not self.polls.hangs:
            # Its next poll is a moment away: told "close", the client reconnects without an error.
            self._engine.await_end(self)
        self.polls.end(drop=reason is not CloseReason.SHUTDOWN)

    def _close_websocket(self, transport: asyncio.Transport, reason: CloseReason, code: int) -> None:
        if reason.is_abrupt:
            transport.abort()
        elif not transport.is_closing():
            transport.write(encode_close(code))
            self._engine.await_end(self)

    def abort(self) -> None:
        """Cut the websocket of a client that does not answer the close frame."""
        if self._transport is not None:
            self._transport.abort()
