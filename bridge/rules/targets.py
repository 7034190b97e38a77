"""Templates of rooms and routing keys: what may stand in them is guarded, and room values are quoted."""

from collections.abc import Sequence

from msgspec import Struct

from bridge.rules.scope import BadValue, Known, Scope


class RoomTemplates(Struct, frozen=True, kw_only=True):
    """Some templates of room names; together they name a set of rooms."""

    roots: frozenset[str]

    def render(self, scope: Scope) -> tuple[str, ...]:
        """Return the rooms, in order, each once; a missing or invalid value names no room."""
        raise NotImplementedError

    def fault(self, scope: Scope) -> BadValue | None:
        """Return the first value that is there but may not name a room (for commands: refuse), if any.

        Also says so when more than `MAX_ROOMS` would be named; `render` names none then.
        """
        raise NotImplementedError


class KeyTemplate(Struct, frozen=True, kw_only=True):
    """A template of a routing key."""

    roots: frozenset[str]

    def render(self, scope: Scope) -> str | BadValue:
        """Return the key; a value that is missing or no key word, or a key over 255 bytes, is a BadValue."""
        raise NotImplementedError


def compile_rooms(texts: Sequence[str], known: Known) -> RoomTemplates:
    """Compile room templates; `{x[]}` makes one room per element. Raises `TemplateError` (path `[i]`)."""
    raise NotImplementedError


def compile_key(text: str, known: Known) -> KeyTemplate:
    """Compile the template of a routing key; raises `TemplateError`."""
    raise NotImplementedError
