"""What waits for a client that polls, and its requests that are under way: one GET and one POST at a time."""

import asyncio

from bridge.sockets import messages
from bridge.sockets.endings import ProtocolError
from bridge.sockets.engine_packets import SEPARATOR
from bridge.sockets.messages import Message


class Polls:
    """The HTTP requests of one connection.

    An answer is under way until the last of its bytes has left the process: else a client that reads none of
    them could fetch a megabyte with each of any number of polls.
    """

    __slots__ = ("_answer", "_body", "_hanging", "_messages", "_posting", "_queued", "leaving")

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._queued = 0
        self._hanging: asyncio.Future[None] | None = None
        """Of a GET that waits for something to send."""
        self._answer: asyncio.Timeout | None = None
        """Of an answer that is being written."""
        self.leaving = 0
        """Bytes of it that may not have left."""
        self._posting = False
        self._body: asyncio.Timeout | None = None
        """Of the body of a POST that is being read."""

    # What waits

    @property
    def waiting(self) -> int:
        """Bytes that have not left the process."""
        return self._queued + self.leaving

    def put(self, message: Message) -> None:
        """Queue a message."""
        self._messages.append(message)
        self._queued += len(message.frames)
        self.wake()

    def take(self) -> list[Message]:
        """All that is queued."""
        taken, self._messages, self._queued = self._messages, [], 0
        return taken

    # GET

    @property
    def hangs(self) -> bool:
        """Whether a GET is there that will take what is queued."""
        return self._hanging is not None

    @property
    def answers(self) -> bool:
        """Whether an answer is being written."""
        return self._answer is not None

    def wake(self) -> None:
        """Let a GET that hangs return."""
        if self._hanging is not None and not self._hanging.done():
            self._hanging.set_result(None)

    async def hang(self) -> None:
        """Wait for something to send, or until woken."""
        if not self._messages:
            self._hanging = asyncio.get_running_loop().create_future()
            try:
                await self._hanging
            finally:
                self._hanging = None

    def take_body(self) -> bytes:
        """All that is queued, as an HTTP body."""
        return SEPARATOR.join([message.body for message in self.take() or [messages.NOOP]])

    def begin_answer(self, limit: asyncio.Timeout) -> None:
        """An answer is being written; `limit` ends that early."""
        self._answer = limit

    def end_answer(self) -> None:
        """All of it has left, or nothing more will."""
        self._answer, self.leaving = None, 0

    # POST

    def begin_post(self) -> None:
        """A POST has begun to arrive; raises ProtocolError if another one is under way."""
        if self._posting:
            raise ProtocolError("overlapping_posts")
        self._posting = True

    def begin_body(self, limit: asyncio.Timeout) -> None:
        """Its body is being read; `limit` ends that early."""
        self._body = limit

    def end_body(self) -> None:
        """It has been read, or will not be."""
        self._body = None

    def end_post(self) -> None:
        """The POST is over."""
        self._posting = False

    # The end

    def end(self, *, drop: bool) -> None:
        """The connection is closed: read no more; with `drop` write no more either, and forget what waits.

        A GET that hangs is answered all the same.
        """
        now = asyncio.get_running_loop().time()
        if self._body is not None:
            self._body.reschedule(now)
        if drop and self._answer is not None:
            self._answer.reschedule(now)
        if drop and not self.hangs:
            self.take()
        self.wake()
