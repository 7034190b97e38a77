"""Which users are shut out, of what, and until when."""


class Bans:
    """Bans of users, each under one name of limits; beyond `bound` the one that ends soonest is lifted."""

    def __init__(self, bound: int = 10_000) -> None:
        self._bound = bound
        self._until: dict[tuple[str, str], float] = {}

    def ban(self, limits_name: str, user: str, *, until: float, now: float) -> None:
        """Shut a user out until that time (on the clock of `now`); a longer ban is never shortened."""
        key = (limits_name, user)
        self._until[key] = max(until, self._until.get(key, until))
        if len(self._until) <= self._bound:
            return
        self._until = {key: end for key, end in self._until.items() if end > now}
        if len(self._until) > self._bound:
            del self._until[min(self._until, key=self._until.__getitem__)]

    def banned_until(self, limits_name: str, user: str, now: float) -> float | None:
        """When the user's ban ends (on the clock of `now`); None when there is none."""
        key = (limits_name, user)
        until = self._until.get(key)
        if until is None:
            return None
        if until > now:
            return until
        del self._until[key]
        return None

    def __len__(self) -> int:
        return len(self._until)
