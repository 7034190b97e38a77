"""Instances ask one another, outside of the log, and answer: who has this, who knows that."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
import structlog
from msgspec import Meta, Raw, Struct

from bridge.flow.instances import Instances
from bridge.flow.own_messages import OwnMessages, OwnWriter
from bridge.model import INSTANCES_EXCHANGE, Delivery, Emission, PublishOutcome
from bridge.telemetry.sparing import Sparing

Q = TypeVar("Q")
R = TypeVar("R")

TO_ALL: Final = "all"
"""Routing key of what every instance is asked."""
_NOTHING: Final = b"null"
_MOST_AT_ONCE: Final = 500
"""Answers on their way: commands of clients want their turn with the publisher, too."""
_MOST_WAITING: Final = 10_000
"""Questions that wait, as when all clients of an instance come to the others at once."""

log = structlog.get_logger()


class Question(Struct, frozen=True, kw_only=True):
    """One instance asks all others."""

    asker: Annotated[str, Meta(min_length=1, max_length=64)]
    """The routing key that reaches it."""
    number: int
    kind: str
    body: Raw
    within: Annotated[float, Meta(ge=0, le=60)] = 0.5
    """Seconds that the answer is waited for."""


class Answer(Struct, frozen=True, kw_only=True):
    """What one instance says to a question; null when it has nothing to say."""

    number: int
    by: str
    """Its incarnation."""
    body: Raw


class _Asked(Generic[R]):
    """A question of this instance's own that waits for its answers."""

    def __init__(self, others: set[str], reply: type[R], settles: Callable[[R], bool]) -> None:
        self.silent = others
        """Incarnations that have not answered yet."""
        self.found: R | None = None
        """The best answer so far."""
        self.settled = asyncio.Event()
        """There is none to wait for any more."""
        self._decoder = msgspec.json.Decoder(reply)
        self._settles = settles

    def take(self, answer: Answer) -> None:
        """Take what one of them says; DecodeError when it cannot be read."""
        self.silent.discard(answer.by)
        try:
            if bytes(answer.body) != _NOTHING and not self.settled.is_set():
                self.found = self._decoder.decode(answer.body)
                if self._settles(self.found):
                    self.settled.set()
        finally:
            if not self.silent:
                self.settled.set()


class Peers:
    """Asks all living instances at once; the first that has something to say wins, unless more is wanted.

    What comes over `bridge.instances` is handed in by `messages`, whose exchange only instances may
    publish to. Questions that come too fast wait, for as long as whoever asked does; then nothing is done
    about them, so that nothing is parted with that nobody receives.
    """

    def __init__(
        self, instances: Instances, messages: OwnMessages, writer: OwnWriter, *, most: int = _MOST_AT_ONCE
    ) -> None:
        """At most `most` questions of others are answered at a time."""
        self.address = instances.incarnation.rpartition(":")[2]
        """The routing key on `bridge.instances` that reaches this instance alone."""
        self._instances = instances
        self._writer = writer
        self._most = most
        self._numbers = count(1)
        self._asked: dict[int, _Asked[Any]] = {}
        self._handlers: dict[str, Callable[[Raw], Awaitable[object]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting: deque[tuple[float, Question]] = deque()
        """With the loop time up to which each may be answered."""
        self._sparing = Sparing()
        messages.register(TO_ALL, Question, self._take_question)
        messages.register(self.address, Answer, self._take_answer)

    @property
    def keys(self) -> tuple[str, str]:
        """Binding keys on `bridge.instances` of all that is meant for this instance."""
        return TO_ALL, self.address

    def answer(self, kind: str, body: type[Q], handler: Callable[[Q], Awaitable[object]]) -> None:
        """Let `handler` answer the questions of a kind: a value that msgspec encodes, or None."""
        decoder = msgspec.json.Decoder(body)
        self._handlers[kind] = lambda raw: handler(decoder.decode(raw))

    async def ask(
        self,
        kind: str,
        body: object,
        reply: type[R],
        within: float,
        *,
        settles: Callable[[R], bool] = lambda _: True,
    ) -> R | PublishOutcome | None:
        """Ask all other instances that live; None when none of them has anything to say, or not in time.

        It takes no longer than until one has said what `settles` it, or all have said something, and `within`
        seconds at most. An outcome says why nobody was asked.
        """
        others = set(self._instances.others)
        if not others:
            return None
        number = next(self._numbers)
        asked = self._asked[number] = _Asked(others, reply, settles)
        question = Question(
            asker=self.address,
            number=number,
            kind=kind,
            body=Raw(msgspec.json.encode(body)),
            within=within,
        )
        outcome = PublishOutcome.TIMEOUT
        try:
            async with asyncio.timeout(within):
                outcome = await self._writer.write(TO_ALL, question, exchange=INSTANCES_EXCHANGE)
                if outcome is PublishOutcome.CONFIRMED:
                    await asked.settled.wait()
        except TimeoutError:
            self._note_silent(kind, len(asked.silent))
        finally:
            del self._asked[number]
        if asked.found is not None or outcome is PublishOutcome.CONFIRMED or asked.settled.is_set():
            return asked.found
        return outcome

    def _note_silent(self, kind: str, count: int) -> None:
        """One line a minute: until a dead one is missed, every client that comes back has it asked."""
        if self._sparing.may_say(kind, asyncio.get_running_loop().time()):
            log.warning("peers.silent", kind=kind, count=count)

    async def stop(self) -> None:
        """Answer nothing any more."""
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take_question(self, question: Question, _delivery: Delivery, _now: float) -> tuple[Emission, ...]:
        if question.asker in self.keys:
            return ()
        if len(self._tasks) < self._most:
            self._begin(question)
        elif len(self._waiting) < _MOST_WAITING:
            self._waiting.append((asyncio.get_running_loop().time() + question.within, question))
        return ()

    def _begin(self, question: Question) -> None:
        task = asyncio.get_running_loop().create_task(self._reply(question), name="peers")
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        """Go on with those that wait, and are still waited for."""
        self._tasks.discard(task)
        now = asyncio.get_running_loop().time()
        while self._waiting and len(self._tasks) < self._most:
            deadline, question = self._waiting.popleft()
            if now < deadline:
                self._begin(question)

    def _take_answer(self, answer: Answer, _delivery: Delivery, _now: float) -> tuple[Emission, ...]:
        asked = self._asked.get(answer.number)
        if asked is not None:
            try:
                asked.take(answer)
            except msgspec.DecodeError as error:
                log.warning("peers.unreadable", reason=str(error))
        return ()

    async def _reply(self, question: Question) -> None:
        handler = self._handlers.get(question.kind)
        said: object = None
        try:
            if handler is not None:
                said = await handler(question.body)
        except (msgspec.DecodeError, RecursionError):
            pass  # of another version, or nobody's: there is nothing to say to it
        except Exception:
            # The question's top: whoever asked must not wait for the time limit.
            log.exception("peers.failed", kind=question.kind)
        answer = Answer(
            number=question.number,
            by=self._instances.incarnation,
            body=Raw(msgspec.json.encode(said)),
        )
        await self._writer.write(question.asker, answer, exchange=INSTANCES_EXCHANGE)
