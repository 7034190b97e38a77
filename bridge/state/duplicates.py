"""Which messages were seen already, so that one that a service publishes twice is shown once."""

from collections import deque


class Duplicates:
    """The last message ids; an exchange's ids are its own, and the oldest is forgotten first."""

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
        return False

    def trim(self, at_least: int = 0) -> None:
        """Forget the oldest but for `bound` of them, or more where `at_least` says so; after each batch."""
        bound = max(self._bound, at_least)
        while len(self._order) > bound:
            self._known.discard(self._order.popleft())

    def __len__(self) -> int:
        return len(self._order)
