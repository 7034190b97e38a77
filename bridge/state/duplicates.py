"""Which messages were seen already, so that one that a service publishes twice is shown once."""

from collections import deque


class Duplicates:
    """The last message ids; an exchange's ids are its own, and the oldest is forgotten first."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._known: dict[str, set[str]] = {}
        """By exchange: a key of both would be a text to make for each message."""
        self._order: deque[tuple[set[str], str]] = deque()

    def seen(self, exchange: str, message_id: str) -> bool:
        """Whether the message was seen before; if not, it is from now on."""
        known = self._known.get(exchange)
        if known is None:
            known = self._known[exchange] = set()
        count = len(known)
        known.add(message_id)
        if len(known) == count:  # looked up once: the set is too large for the processor's cache
            return True
        self._order.append((known, message_id))
        return False

    def trim(self, at_least: int = 0) -> None:
        """Forget the oldest but for `bound` of them, or more where `at_least` says so; after each batch."""
        bound = max(self._bound, at_least)
        while len(self._order) > bound:
            known, message_id = self._order.popleft()
            known.discard(message_id)

    def __len__(self) -> int:
        return len(self._order)
