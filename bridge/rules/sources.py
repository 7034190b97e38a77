"""Where the value of a placeholder comes from: checks its path against what a place knows, compiles it."""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Final
from uuid import NAMESPACE_OID, uuid5

from msgspec import Struct

from bridge.rules.fields import check_path, compile_getter, read_field, read_path
from bridge.rules.placeholders import Placeholder, Step
from bridge.rules.scope import MISSING, Known, Scope

Read = Callable[[Scope], object]

_WHOLE: Final = frozenset({"sid", "uuid", "now", "body", "reply"})
_NAMED: Final = {
    "now": ("ms",),
    "message": ("id",),
    "room": ("users", "last", "last_activity"),
    "error": ("type", "code", "message", "details", "retry_after"),
}


class Source(Struct, frozen=True, kw_only=True):
    """The value of one placeholder, its default aside."""

    root: str
    """`words` for a capture, else one of `ROOTS`."""
    each: bool
    """It may be several values (`{x[]}`): only `walk` reads it."""
    read: Read
    """Returns the value, or `MISSING`."""
    walk: Callable[[Scope], Iterator[tuple[tuple[str | int, ...], object]]]
    """Yields every value that is there and not null, with its path below the root."""


def compile_source(placeholder: Placeholder, known: Known) -> Source:
    """Compile a placeholder; ValueError says which name is unknown and which are known."""
    steps = placeholder.steps
    root = _check_root(steps, known)
    base, below = _compile_base(root, steps)
    groups = _split_groups(steps[0].each, below)

    def walk(scope: Scope) -> Iterator[tuple[tuple[str | int, ...], object]]:
        return _walk(base(scope), (), groups)

    each = len(groups) > 1
    read = base if each else _compile_read(root, base, groups[0], known)
    return Source(root=root, each=each, read=read, walk=walk)


def _check_root(steps: tuple[Step, ...], known: Known) -> str:
    name = steps[0].name
    if name in known.words:
        if len(steps) > 1:
            raise ValueError(f'the word "{name}" is text and has nothing below it (write {{{name}}})')
        return "words"
    if name not in known.roots:
        names = ", ".join(sorted(known.words) + sorted(known.roots)) or "none"
        raise ValueError(f'unknown word "{name}" (known: {names})')
    if len(steps) == 1 and name not in _WHOLE:
        raise ValueError(
            f'"{{{name}}}" needs a name below it (write {{{name}.{_NAMED.get(name, ("name",))[0]}}})'
        )
    if name == "body":
        check_path(known.body, steps)
    _check_named(name, steps)
    return name


def _check_named(name: str, steps: tuple[Step, ...]) -> None:
    below = steps[1].name if len(steps) > 1 else None
    if below is not None and name in ("sid", "uuid"):
        raise ValueError(f'"{name}" has nothing below it (write {{{name}}})')
    if below is not None and name in _NAMED and below not in _NAMED[name]:
        raise ValueError(f'unknown name "{below}" in {name} (known: {", ".join(_NAMED[name])})')
    if name == "room" and below == "last" and len(steps) == 2:
        raise ValueError('"{room.last}" needs an event (write {room.last.<event>.<field>})')
    if len(steps) > 2 and (name, below) in {("now", "ms"), ("room", "users"), ("room", "last_activity")}:
        raise ValueError(f'"{name}.{below}" has nothing below it (write {{{name}.{below}}})')


def _split_groups(each: bool, steps: tuple[Step, ...]) -> list[tuple[str, ...]]:
    """Cut a path behind every `[]`; the last group is what follows the last of them."""
    groups: list[tuple[str, ...]] = [(), ()] if each else [()]
    for step in steps:
        groups[-1] = (*groups[-1], step.name)
        if step.each:
            groups.append(())
    return groups


def _walk(
    value: object, path: tuple[str | int, ...], groups: list[tuple[str, ...]]
) -> Iterator[tuple[tuple[str | int, ...], object]]:
    value = read_path(value, groups[0])
    path = (*path, *groups[0])
    if value is MISSING or value is None:
        return
    if len(groups) == 1:
        yield path, value
    elif isinstance(value, list | tuple | set | frozenset):
        for index, element in enumerate(value):
            yield from _walk(element, (*path, index), groups[1:])
    else:
        yield from _walk(value, path, groups[1:])


def _compile_read(root: str, base: Read, names: tuple[str, ...], known: Known) -> Read:
    if not names:
        return base
    if root == "body":
        getter = compile_getter(known.body, names)
        return lambda scope: getter(scope.body)
    if len(names) == 1:
        name = names[0]
        return lambda scope: read_field(base(scope), name)
    return lambda scope: read_path(base(scope), names)


def _compile_base(root: str, steps: tuple[Step, ...]) -> tuple[Read, tuple[Step, ...]]:
    """Return what the root itself stands for, and the steps that lead on from there."""
    if root == "words":
        name = steps[0].name
        return (lambda scope: scope.words.get(name, MISSING)), ()
    if root == "now":
        return (_read_milliseconds if len(steps) > 1 else _read_now), ()
    if root == "room" and steps[1].name == "last_activity":
        return _read_last_activity, ()
    return _BASES[root], steps[1:]


def _read_now(scope: Scope) -> object:
    return format_time(scope.now)


def _read_milliseconds(scope: Scope) -> object:
    return round(scope.now * 1000)


def _read_last_activity(scope: Scope) -> object:
    if scope.room is None or scope.room.last_activity is None:
        return MISSING
    return format_time(scope.room.last_activity)


def _read_sid(scope: Scope) -> object:
    return MISSING if scope.sid is None else scope.sid


def _read_uuid(scope: Scope) -> object:
    return MISSING if scope.uuid_of is None else str(uuid5(NAMESPACE_OID, scope.uuid_of))


_BASES: Final[Mapping[str, Read]] = {
    "body": attrgetter("body"),
    "header": attrgetter("header"),
    "message": attrgetter("message"),
    "user": attrgetter("user"),
    "error": attrgetter("error"),
    "reply": attrgetter("reply"),
    "room": attrgetter("room"),
    "sid": _read_sid,
    "uuid": _read_uuid,
}


def format_time(time: float) -> str:
    """Write epoch seconds as ISO 8601 in UTC with milliseconds: `2026-01-31T12:00:00.000Z`."""
    seconds, milliseconds = divmod(round(time * 1000), 1000)
    return f"{_format_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=64)
def _format_second(seconds: int) -> str:
    """Nearly all that are asked for are the present one."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]
