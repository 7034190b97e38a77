"""Sends events to the clients that are in their rooms: encoded once, joined, one write per connection."""

from collections.abc import Iterable, Sequence
from typing import cast

from bridge.flow.ports import Client
from bridge.model import Emission
from bridge.sockets.clients import SocketClient
from bridge.sockets.connection import Connection
from bridge.sockets.messages import Batch, Message
from bridge.sockets.socket_packets import encode_event
from bridge.state.memberships import Memberships
from bridge.telemetry.metrics import Metrics

_Target = tuple[str, tuple[str, ...], str | None]
"""Namespace, rooms and the client that is skipped: emissions that share it reach the same clients."""


class Fanout:
    """Writes each event once to each member of its rooms; implements `flow.ports.Fanout`."""

    def __init__(self, memberships: Memberships[Client], metrics: Metrics) -> None:
        self._memberships = memberships
        self._metrics = metrics

    def send(self, emissions: Sequence[Emission]) -> None:
        """Write each emission to the members of its rooms, in order, before this returns; never blocks."""
        targets: dict[_Target, list[int]] = {}
        for index, emission in enumerate(emissions):
            target = (emission.namespace, emission.rooms, emission.skip_sid)
            targets.setdefault(target, []).append(index)
        shares = _Shares(emissions)
        plan: dict[Connection, _Share] = {}
        for target, indexes in targets.items():
            self._assign(target, shares.get(tuple(indexes)), shares, plan)
        sent = 0
        for connection, share in plan.items():
            sent += len(share.indexes)
            direct = connection.direct
            if direct is not None and not direct.is_closing():
                connection.write_directly(direct, share.batch.frames)
            else:
                connection.deliver(share.batch)
        if sent:
            self._metrics.deliveries.inc(sent)

    def _assign(
        self, target: _Target, share: "_Share", shares: "_Shares", plan: dict[Connection, "_Share"]
    ) -> None:
        """Give the share to every connection of the target, on top of what it has got already."""
        namespace, rooms, skip_sid = target
        for room in rooms:
            # Every member was made by this edge: the gateway only passes clients on.
            for client in cast(Iterable[SocketClient], self._memberships.members(namespace, room)):
                if not client.is_open or client.sid == skip_sid:
                    continue
                had = plan.get(client.connection)
                if had is None:
                    plan[client.connection] = share
                elif had is not share:
                    plan[client.connection] = shares.union(had, share)


class _Share:
    """Some of the emissions of one call, in order: what one or more connections receive."""

    __slots__ = ("_batch", "_shares", "indexes")

    def __init__(self, shares: "_Shares", indexes: tuple[int, ...]) -> None:
        self._shares = shares
        self.indexes = indexes
        self._batch: Batch | None = None

    @property
    def batch(self) -> Batch:
        """The messages, encoded when the first connection needs them."""
        if self._batch is None:
            self._batch = Batch([self._shares.encode(index) for index in self.indexes])
        return self._batch


class _Shares:
    """The different shares of one call: connections that receive the same events use the same bytes.

    Joining per room alone would break the order for a client that is in two rooms whose events alternate.
    """

    def __init__(self, emissions: Sequence[Emission]) -> None:
        self._emissions = emissions
        self._messages: dict[int, Message] = {}
        self._by_indexes: dict[tuple[int, ...], _Share] = {}
        self._unions: dict[tuple[_Share, _Share], _Share] = {}

    def get(self, indexes: tuple[int, ...]) -> _Share:
        """The share of these emissions, of which there is only one."""
        share = self._by_indexes.get(indexes)
        if share is None:
            share = self._by_indexes[indexes] = _Share(self, indexes)
        return share

    def union(self, one: _Share, other: _Share) -> _Share:
        """All emissions of both."""
        union = self._unions.get((one, other))
        if union is None:
            union = self.get(tuple(sorted({*one.indexes, *other.indexes})))
            self._unions[one, other] = union
        return union

    def encode(self, index: int) -> Message:
        """The message of one emission; made once."""
        message = self._messages.get(index)
        if message is None:
            emission = self._emissions[index]
            message = encode_event(emission.namespace, emission.event, emission.args)
            self._messages[index] = message
        return message
