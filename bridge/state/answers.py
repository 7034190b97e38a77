"""What was answered to a command with an `idempotency_key`, so that a retry is not a second command."""

from collections import OrderedDict
from typing import Generic, TypeVar

from msgspec import Struct

A = TypeVar("A")
"""An answer, ready to be sent again."""
P = TypeVar("P")
"""What the flow waits on while the first try runs, such as a future."""


class AnswerKey(Struct, frozen=True, kw_only=True):
    """What makes two commands one: the same key, command and namespace, from the same user."""

    namespace: str
    user: str
    command: str
    key: str


class Begun(Struct, frozen=True, kw_only=True):
    """The command is to be carried out, under this message id: an earlier try's, where it was not settled."""

    message_id: str


class Running(Struct, Generic[P], frozen=True, kw_only=True):
    """The first try is not done yet: wait on what it left."""

    pending: P


class Answered(Struct, Generic[A], frozen=True, kw_only=True):
    """The first try's answer."""

    answer: A


class _Settled(Struct, Generic[A], frozen=True):
    until: float
    message_id: str
    answered: Answered[A] | None
    """None: the outcome was no answer, and the next try is carried out."""


class Answers(Generic[A, P]):
    """Answers by key, each kept for `lifetime` seconds after it was given, `bound` of them at most.

    Beyond the bound the oldest answer is forgotten. Commands that still run do not count: the
    commands in flight are bounded elsewhere, and to forget one would run it twice.
    """

    def __init__(self, lifetime: float = 300.0, bound: int = 50_000) -> None:
        self._lifetime = lifetime
        self._bound = bound
        self._running: dict[AnswerKey, tuple[str, P]] = {}
        self._settled: OrderedDict[AnswerKey, _Settled[A]] = OrderedDict()

    def begin(
        self, key: AnswerKey, *, message_id: str, pending: P, now: float
    ) -> Begun | Running[P] | Answered[A]:
        """Start a command, or learn that it was started before.

        After `Begun` the caller owes one `finish` or `give_up`; `message_id` and `pending` are kept
        only then.
        """
        running = self._running.get(key)
        if running is not None:
            return Running(pending=running[1])
        self._expire(now)
        settled = self._settled.get(key)
        if settled is not None:
            if settled.answered is not None:
                return settled.answered
            message_id = settled.message_id
            del self._settled[key]
        self._running[key] = (message_id, pending)
        return Begun(message_id=message_id)

    def finish(self, key: AnswerKey, answer: A, now: float) -> None:
        """Keep the answer for retries."""
        self._settle(key, Answered(answer=answer), now)

    def give_up(self, key: AnswerKey, now: float) -> None:
        """The outcome is unknown or nothing was sent: a retry runs, under the same message id."""
        self._settle(key, None, now)

    def __len__(self) -> int:
        return len(self._running) + len(self._settled)

    def _settle(self, key: AnswerKey, answered: Answered[A] | None, now: float) -> None:
        message_id, _ = self._running.pop(key)
        self._settled[key] = _Settled(now + self._lifetime, message_id, answered)
        if len(self._settled) > self._bound:
            self._settled.popitem(last=False)

    def _expire(self, now: float) -> None:
        """Drop what is over; answers stand in the order in which they end, since all live equally long."""
        while self._settled:
            key, settled = next(iter(self._settled.items()))
            if settled.until > now:
                return
            del self._settled[key]
