"""Sends events to the clients that are in their rooms: encoded once, joined, one write per connection."""

from collections.abc import Callable, Mapping, Sequence
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
        # Every member was made by this edge: the gateway only passes clients on.
        self._members = cast(Callable[[str, str], tuple[SocketClient, ...]], memberships.members)
        self._metrics = metrics
        self._head = head

    def send(self, emissions: Sequence[Emission]) -> None:
        """Write each emission to the members of its rooms, in order, before this returns; never blocks."""
        targets: dict[_Target, list[int]] = {}
        for index, emission in enumerate(emissions):
            target = (emission.namespace, emission.rooms, emission.skip_sid)
            indexes = targets.get(target)
            if indexes is None:
                targets[target] = [index]
            else:
                indexes.append(index)
        sent = 0
        for connection, share in self._assign(targets, Shares(emissions, self._head)).items():
            sent += len(share.indexes)
            direct = connection.direct
            if direct is not None and not direct.is_closing():
                connection.write_directly(direct, share.frames or share.join_frames())
            else:
                connection.deliver(share.batch)
        if sent:
            self._metrics.deliveries.inc(sent)

    def _assign(self, targets: Mapping[_Target, list[int]], shares: Shares) -> dict[Connection, Share]:
        """What each connection gets: the share of its target, on top of what it has got already."""
        plan: dict[Connection, Share] = {}
        for (namespace, rooms, skip_sid), indexes in targets.items():
            plain: Share | None = None
            for room in rooms:
                for client in self._members(namespace, room):
                    if plain is None:
                        plain = Share(shares, indexes)
                    if client.hears_plain:
                        share = plain
                    elif client.hears_cursors:
                        share = plain.with_cursors
                    else:
                        continue
                    if client.sid == skip_sid:
                        continue
                    had = plan.get(client.connection)
                    if had is None:
                        plan[client.connection] = share
                    elif had is not share:
                        plan[client.connection] = shares.union(had, share)
        return plan
