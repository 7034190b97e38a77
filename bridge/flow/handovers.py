"""Lost sessions go from one instance to another: asked for one by one, or given to all by one that stops."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec
import structlog
from msgspec import Struct

from bridge.flow.claims import CLAIMED, Claimed, Claims
from bridge.flow.own_messages import OwnMessages, OwnWriter
from bridge.flow.peers import Peers
from bridge.model import Delivery, Emission, PublishOutcome
from bridge.state.lost_sessions import LostSession, LostSessions

HANDED_OVER: Final = "session.handed_over"
_QUESTION: Final = "session"
_ASK_SECONDS: Final = 0.5
"""How long the others may take to answer: the client waits."""
_BATCH_BYTES: Final = 64_000

log = structlog.get_logger()


class Wanted(Struct, frozen=True, kw_only=True):
    """A session that a client has come back for."""

    key: str
    identity: str
    namespace: str
    newer: bool = False
    """Only one that is newer than what an instance that stopped has given to all: the asker has that."""


class Aged(Struct, frozen=True, kw_only=True):
    """A session that was lost so many seconds ago."""

    age: float
    session: LostSession


class HandedOver(Struct, frozen=True, kw_only=True):
    """What an instance that stops leaves to the others, and to its successor."""

    sessions: list[Aged]


class Handovers:
    """Finds sessions that other instances have, and gives them this one's.

    A session that was given to all is shared: whoever goes on with it says so, that the others drop it, and
    whoever has such a copy asks whether somebody has a newer one.
    """

    def __init__(self, lost: LostSessions, peers: Peers, messages: OwnMessages, writer: OwnWriter) -> None:
        """`messages` are those of `bridge.log`."""
        self._lost = lost
        self._peers = peers
        self._writer = writer
        self._claims = Claims(writer)
        self._keep: Callable[[LostSession, float], None] = lambda *_: None
        self._shared: set[str] = set()
        """Keys of this instance's own sessions that the others were given, or are about to be."""
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

    async def find(self, wanted: Wanted) -> LostSession | PublishOutcome | None:
        """Ask all others for a session; the one that has it parts with it.

        A shared one counts when nobody has a newer one. An outcome says that nobody could be asked.
        """
        found = await self._peers.ask(
            _QUESTION, wanted, LostSession, _ASK_SECONDS, settles=lambda lost: not lost.shared
        )
        if isinstance(found, LostSession) and (found.key, found.identity, found.namespace) != (
            wanted.key,
            wanted.identity,
            wanted.namespace,
        ):
            return None
        return found

    def is_shared(self, lost: LostSession) -> bool:
        """Whether others have copies of it."""
        return lost.shared or lost.key in self._shared

    def claim(self, key: str) -> None:
        """A shared session goes on here, or has ended: the others need not keep it any longer."""
        self._claims.add(key)

    def withdraw(self, key: str) -> None:
        """A session of this instance's own has ended: the others shall not keep it, if they were given it."""
        if key in self._shared:
            self.claim(key)

    async def hand_over(self, sessions: Iterable[Aged], is_here: Callable[[str], bool]) -> None:
        """Give sessions to the others, and to whoever starts within their time; none twice.

        What `is_here` no more, once the others have the message, is withdrawn. The caller bounds how long
        this takes: the broker may be away.
        """
        await self._claims.written()  # of sessions that were lost again since
        count = 0
        for batch in _to_batches(one for one in sessions if not self.is_shared(one.session)):
            keys = [aged.session.key for aged in batch]
            # From here on whoever is given one by a question must say so: the message may be there already.
            self._shared.update(keys)
            confirmed = False
            try:
                confirmed = await self._writer.write_until_confirmed(HANDED_OVER, HandedOver(sessions=batch))
            finally:
                if not confirmed:
                    self._shared.difference_update(keys)
            if confirmed:
                count += len(batch)
                for key in keys:
                    if not is_here(key):  # it was claimed before the message, or ended
                        self.claim(key)
        await self._claims.written()
        if count:
            log.info("sessions.handed_over", count=count)

    async def stop(self) -> None:
        """Give up what is under way."""
        await self._claims.stop()

    def _take_handed_over(self, given: HandedOver, delivery: Delivery, now: float) -> tuple[Emission, ...]:
        on_its_way = 0.0 if delivery.timestamp is None else max(0.0, now - delivery.timestamp)
        for aged in given.sessions:
            self._keep(msgspec.structs.replace(aged.session, shared=True), aged.age + on_its_way)
        return ()

    def _take_claimed(self, claimed: Claimed, _delivery: Delivery, _now: float) -> tuple[Emission, ...]:
        for key in claimed.keys:
            self._lost.drop_shared(key)
        return ()


def _to_batches(sessions: Iterable[Aged]) -> Iterator[list[Aged]]:
    batch: list[Aged] = []
    size = 0
    for aged in sessions:
        length = len(msgspec.json.encode(aged))
        if batch and size + length > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(aged)
        size += length
    if batch:
        yield batch
