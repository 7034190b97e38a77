"""Sends events to the clients that are in their rooms: encoded once, joined, one write per connection."""

from collections.abc import Iterable, Sequence
from typing import cast

from bridge.flow.ports import Client, Head
from bridge.model import Emission
from bridge.sockets.client import SocketClient
from bridge.sockets.connection import Connection
from bridge.sockets.shares import Share, Shares
from bridge.state.memberships import Memberships
from bridge.telemetry.metrics import Metrics

_Target = tuple[str, tuple[str, ...], str | None]
"""Namespace, rooms and the client that is skipped: emissions that share it reach the same clients."""


class Fanout:
    """Writes each event once to each member of its rooms; implements `flow.ports.Fanout`."""

    def __init__(self, memberships: Memberships[Client], metrics: Metrics, head: Head) -> None:
        self._memberships = memberships
        self._metrics = metrics
        self._head = head

    def send(self, emissions: Sequence[Emission]) -> None:
        """Write each emission to the members of its rooms, in order, before this returns; never blocks."""
        targets: dict[_Target, list[int]] = {}
        for index, emission in enumerate(emissions):
            target = (emission.namespace, emission.rooms, emission.skip_sid)
            targets.setdefault(target, []).append(index)
        shares = Shares(emissions, self._head)
        plan: dict[Connection, Share] = {}
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

    def _assign(self, target: _Target, plain: Share, shares: Shares, plan: dict[Connection, Share]) -> None:
        """Give the share to every connection of the target, on top of what it has got already."""
        namespace, rooms, skip_sid = target
        marked: Share | None = None
        for room in rooms:
            # Every member was made by this edge: the gateway only passes clients on.
            for client in cast(Iterable[SocketClient], self._memberships.members(namespace, room)):
                if client.hears_plain:
                    share = plain
                elif client.hears_cursors:
                    share = marked = marked or plain.with_cursors
                else:
                    continue
                if client.sid == skip_sid:
                    continue
                had = plan.get(client.connection)
                if had is None:
                    plan[client.connection] = share
                elif had is not share:
                    plan[client.connection] = shares.union(had, share)
