"""Lets one instance alone publish what all of them see: the eldest, or its successor what it left undone."""

from collections import deque
from collections.abc import Callable
from typing import Final

from bridge.flow.instances import Instances
from bridge.flow.ports import InvalidSink
from bridge.model import Delivery, Invalid

_CAPACITY: Final = 1000
_CAPACITY_BYTES: Final = 16_000_000


class EldestsInvalid:
    """Passes invalid events on while this instance is the eldest; else holds the last ones for that day.

    The eldest says with each sign of life how far it got (`Sign.kept`), so that whoever comes after it
    publishes the rest: none is lost with an instance, and one that is published twice has the same message
    id. Implements `flow.ports.InvalidSink`.
    """

    def __init__(
        self,
        sink: InvalidSink,
        instances: Instances,
        find_oldest: Callable[[], int | None],
        *,
        shared: bool,
        capacity: int = _CAPACITY,
        capacity_bytes: int = _CAPACITY_BYTES,
    ) -> None:
        """`find_oldest` is the offset of the first event that waits in the sink, None when none does.

        `shared` says that all instances read one log: else no offset of another one means anything here.
        """
        self._sink = sink
        self._instances = instances
        self._find_oldest = find_oldest
        self._shared = shared
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._held: deque[tuple[Delivery, Invalid, float]] = deque()
        self._bytes = 0
        self._last = -1
        """The highest offset that was passed on."""
        instances.on_eldest.append(self._succeed)
        instances.find_kept = self._find_kept

    def put(self, delivery: Delivery, invalid: Invalid, now: float) -> None:
        """Take an event; one that has no place in the log is not held."""
        if self._instances.is_eldest:
            self._pass_on(delivery, invalid, now)
        elif self._shared and delivery.offset is not None:
            self._held.append((delivery, invalid, now))
            self._bytes += len(delivery.body)
            while len(self._held) > self._capacity or self._bytes > self._capacity_bytes:
                self._drop_first()

    def begin_epoch(self) -> None:
        """The log begins anew: what is held stood in the old one, whose eldest has published it."""
        self._last = -1
        self._held.clear()
        self._bytes = 0

    def _pass_on(self, delivery: Delivery, invalid: Invalid, now: float) -> None:
        if delivery.offset is not None:
            self._last = max(self._last, delivery.offset)
        self._sink.put(delivery, invalid, now)

    def _succeed(self) -> None:
        """This instance is the eldest from here on."""
        kept = -1 if self._instances.kept is None else self._instances.kept
        for delivery, invalid, now in self._held:
            if delivery.offset is not None and delivery.offset > kept:
                self._pass_on(delivery, invalid, now)
        self._held.clear()
        self._bytes = 0

    def _find_kept(self) -> int | None:
        if not self._shared or not self._instances.is_eldest:
            return None
        oldest = self._find_oldest()
        return max(self._last, self._instances.read) if oldest is None else oldest - 1

    def _drop_first(self) -> None:
        delivery, _, _ = self._held.popleft()
        self._bytes -= len(delivery.body)
