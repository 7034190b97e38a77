"""Which messages were seen already, so that one that a service publishes twice is shown once."""

from collections import deque


class Duplicates:
    """The last `bound` message ids; an exchange's ids are its own, and the oldest is forgotten first."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._known: set[str] = set()
        self._order: deque[str] = deque()

    def seen(self, exchange: str, message_id: str) -> bool:
        """Whether the message was seen before; if not, it is from now on."""
        # A text remembers its hash; a tuple would be hashed anew, from cold memory, when it is forgotten.
        key = f"{exchange}\0{message_id}"
        if key in self._known:
            return True
        self._known.add(key)
        self._order.append(key)
        if len(self._order) > self._bound:
            self._known.discard(self._order.popleft())
        return False

    def __len__(self) -> int:
        return len(self._order)
