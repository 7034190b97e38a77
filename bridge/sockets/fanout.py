"""Sends events to the clients that are in their rooms."""

from collections.abc import Sequence

from bridge.flow.ports import Client
from bridge.model import Emission
from bridge.state.memberships import Memberships
from bridge.telemetry.metrics import Metrics


class Fanout:
    """Writes each event once to each member of its rooms; implements `flow.ports.Fanout`."""

    def __init__(self, memberships: Memberships[Client], metrics: Metrics) -> None:
        self._memberships = memberships
        self._metrics = metrics

    def send(self, emissions: Sequence[Emission]) -> None:
        """Write each emission to the members of its rooms, in order, before this returns; never blocks."""
        raise NotImplementedError
