"""Lost sessions go from one instance to another: asked for one by one, or given to all by one that stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
import structlog
from msgspec import Struct

from bridge.flow.own_messages import OwnMessages, OwnWriter
from bridge.flow.peers import Peers
from bridge.model import Delivery, Emission
from bridge.state.lost_sessions import LostSession, LostSessions

HANDED_OVER: Final = "session.handed_over"
CLAIMED: Final = "session.claimed"
_QUESTION: Final = "session"
_ASK_SECONDS: Final = 0.5
"""How long the others may take to answer: the client waits."""
_BATCH_BYTES: Final = 64_000
_MOST_CLAIMS: Final = 1000
"""Claims on their way; of one that is left out the others keep a copy, until its time is over."""

log = structlog.get_logger()


class Wanted(Struct, frozen=True, kw_only=True):
    """A session that a client has come back for."""

    key: str
    identity: str
    namespace: str


class Aged(Struct, frozen=True, kw_only=True):
    """A session that was lost so many seconds ago."""

    age: float
    session: LostSession


class HandedOver(Struct, frozen=True, kw_only=True):
    """What an instance that stops leaves to the others, and to its successor."""

    sessions: list[Aged]


class Claimed(Struct, frozen=True, kw_only=True):
    """A session that was handed over goes on somewhere."""

    key: str


class Handovers:
    """Finds sessions that other instances have, and gives them this one's."""

    def __init__(
        self,
        lost: LostSessions,
        peers: Peers,
        messages: OwnMessages,
        writer: OwnWriter,
        clock: Callable[[], float],
    ) -> None:
        """`messages` are those of `bridge.log`; `clock` gives seconds that never jump."""
        self._lost = lost
        self._peers = peers
        self._writer = writer
        self._clock = clock
        self._keep: Callable[[LostSession, float], None] = lambda *_: None
        self._claims: set[asyncio.Task[object]] = set()
        messages.register(HANDED_OVER, HandedOver, self._take_handed_over)
        messages.register(CLAIMED, Claimed, self._take_claimed)

    def serve(
        self, give: Callable[[Wanted], LostSession | None], keep: Callable[[LostSession, float], None]
    ) -> None:
        """Let `give` answer the others: it parts with a session, even with one whose client is connected.

        `keep` is given the sessions of instances that stop, each with the seconds since it was lost.
        """

        async def answer(wanted: Wanted) -> LostSession | None:
            return give(wanted)

        self._peers.answer(_QUESTION, Wanted, answer)
        self._keep = keep

    async def find(self, wanted: Wanted) -> LostSession | None:
        """Ask all others for a session; the one that has it parts with it."""
        found = await self._peers.ask(_QUESTION, wanted, LostSession, _ASK_SECONDS)
        if found is None or (found.key, found.identity, found.namespace) != (
            wanted.key,
            wanted.identity,
            wanted.namespace,
        ):
            return None
        return found

    def claim(self, lost: LostSession) -> None:
        """A session goes on here: the others that were given it need not keep it any longer."""
        if lost.shared and len(self._claims) < _MOST_CLAIMS:
            task = asyncio.get_running_loop().create_task(
                self._writer.write_until_confirmed(CLAIMED, Claimed(key=lost.key)), name="claim"
            )
            self._claims.add(task)
            task.add_done_callback(self._claims.discard)

    async def hand_over(self) -> None:
        """Give all lost sessions to the others, and to whoever starts within their time.

        The caller bounds how long this takes: the broker may be away.
        """
        count = 0
        for batch in _to_batches(self._lost.aged(self._clock())):
            if await self._writer.write_until_confirmed(HANDED_OVER, HandedOver(sessions=batch)):
                count += len(batch)
        log.info("sessions.handed_over", count=count)

    async def stop(self) -> None:
        """Give up what is under way."""
        for task in self._claims:
            task.cancel()
        await asyncio.gather(*self._claims, return_exceptions=True)

    def _take_handed_over(self, given: HandedOver, delivery: Delivery, now: float) -> tuple[Emission, ...]:
        on_its_way = 0.0 if delivery.timestamp is None else max(0.0, now - delivery.timestamp)
        for aged in given.sessions:
            self._keep(msgspec.structs.replace(aged.session, shared=True), aged.age + on_its_way)
        return ()

    def _take_claimed(self, claimed: Claimed, _delivery: Delivery, _now: float) -> tuple[Emission, ...]:
        self._lost.drop_shared(claimed.key)
        return ()


def _to_batches(sessions: Iterator[tuple[float, LostSession]]) -> Iterator[list[Aged]]:
    batch: list[Aged] = []
    size = 0
    for age, session in sessions:
        aged = Aged(age=age, session=session)
        size += len(msgspec.json.encode(aged))
        if batch and size > _BATCH_BYTES:
            yield batch
            batch, size = [], len(msgspec.json.encode(aged))
        batch.append(aged)
    if batch:
        yield batch
