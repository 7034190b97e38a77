"""Owns which deliveries of a queue were handled and may come again: their acknowledgement may be lost."""

from collections import deque

from bridge.amqp.events import Content


class Redelivery:
    """The deliveries that were handled and are not known to be acknowledged, in their order.

    On a new connection the broker begins with those that it has no acknowledgement of, and acknowledgements
    cover all that was before: so what comes again of them is their end, and whole. Equal events, without an
    id or a time, are told apart by their order alone. Where that says nothing, since the last of them were
    all equal, one that comes again is taken for one that was handled.
    """

    def __init__(self, bound: int) -> None:
        """`bound` is how many the broker sends without an acknowledgement: it has those of all before."""
        self._handled: deque[tuple[int, int]] = deque(maxlen=bound)
        """Delivery tag and fingerprint."""

    def __len__(self) -> int:
        """How many may come again."""
        return len(self._handled)

    def note(self, contents: list[Content]) -> None:
        """Deliveries are handled."""
        self._handled.extend([(content.tag, _to_fingerprint(content)) for content in contents])

    def settle(self, tag: int) -> None:
        """The broker has the acknowledgements up to this tag of the connection."""
        while self._handled and self._handled[0][0] <= tag:
            self._handled.popleft()

    def leave_out(self, contents: list[Content]) -> list[Content]:
        """What was not handled of the first deliveries of a new connection.

        Of these there must be as many as may come again, or one that does not.
        """
        handled = [fingerprint for _, fingerprint in self._handled]
        again: list[int] = []
        for content in contents[: len(handled)]:
            if not content.redelivered:
                break
            again.append(_to_fingerprint(content))
        count = len(again)
        while count and handled[-count:] != again[:count]:
            count -= 1
        self._handled.clear()
        self.note(contents[:count])
        return contents[count:]


def _to_fingerprint(content: Content) -> int:
    return hash((content.exchange, content.routing_key, content.properties, content.body))
