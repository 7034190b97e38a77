"""Decodes what was sent: the one argument of a command, against its schema, free of what is stamped."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw, Struct

from bridge.errors import Code
from bridge.model import Argument, Refuse
from bridge.rules.commands import IDEMPOTENCY_KEY, SINCE, CommandRule
from bridge.rules.schemas import BodyFault, Schema
from bridge.rules.scope import BadValue
from bridge.rules.since import Since, parse_since
from bridge.rules.words import is_id

_EMPTY: Final = Raw(b"{}")
_OBJECT: Final = msgspec.json.Decoder(dict[str, Raw])
_OBJECT_OR_NULL: Final = msgspec.json.Decoder(dict[str, Raw] | None)
_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_FIELD: Final = re.compile(r"Object (?:missing required|contains unknown) field `([^`]{1,128})`")


class Body(Struct, frozen=True):
    """A command's payload that fits its schema."""

    value: object
    """The Struct; None for a command without payload."""
    idempotency_key: str | None = None
    since: Since | None = None
    """From where on the client misses the events of the rooms that it joins."""


class _NoPayload(Struct, frozen=True, forbid_unknown_fields=True):
    """What a command without a schema takes: nothing."""


_NOTHING: Final = Schema("nothing", _NoPayload)


def decode_payload(rule: CommandRule, args: tuple[Argument, ...]) -> Body | Refuse:
    """Decode a command's arguments: none, null or one object, or one for each of `args`.

    Anything else is VALIDATION_FAILED.
    """
    if rule.args is not None and rule.body is not None:
        return _decode_args(rule, rule.args, rule.body, args)
    if len(args) > 1:
        return to_validation_refuse(f"Expected one argument, got {len(args)}")
    raw = args[0] if args else _EMPTY
    if not isinstance(raw, Raw):
        return to_validation_refuse("Expected an object, got binary data")
    if len(raw) == 4 and bytes(raw) == b"null":
        raw = _EMPTY
    schema = rule.body or _NOTHING
    value = schema.decode(raw)
    if isinstance(value, BodyFault):
        return _decode_without_dropped(rule, schema, raw) or _to_refuse(value)
    if schema.open:  # it takes any field, also those that are not for the service
        return _decode_without_dropped(rule, schema, raw) or Body(value)
    return Body(value if rule.body else None)


def _decode_args(
    rule: CommandRule, names: tuple[str, ...], schema: Schema, args: tuple[Argument, ...]
) -> Body | Refuse:
    """Decode arguments that are the fields of one Struct, in order; bytes are attachments, never text.

    Where rooms are joined there may be one more, an object with `since` alone, or nothing.
    """
    since: Since | None = None
    if SINCE in rule.dropped and len(args) == len(names) + 1:
        last = _decode_last(args[-1])
        if isinstance(last, Refuse):
            return last
        args, since = args[:-1], last
    if len(args) != len(names):
        count = f"{len(names)} argument" if len(names) == 1 else f"{len(names)} arguments"
        return to_validation_refuse(f"Expected {count} ({', '.join(names)}), got {len(args)}")
    values: dict[str, object] = {}
    for name, arg in zip(names, args, strict=True):
        if isinstance(arg, Raw):
            try:
                values[name] = msgspec.json.decode(arg)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return to_validation_refuse("Expected JSON", (name,))
        elif name in schema.binary:
            values[name] = arg
        else:
            return to_validation_refuse("Expected a value, got binary data", (name,))
    value = schema.convert(values)
    return _to_refuse(value) if isinstance(value, BodyFault) else Body(value, since=since)


def _decode_last(arg: Argument) -> Since | Refuse | None:
    """The `{since}` behind the arguments of a command that joins rooms; `{}` and null say nothing.

    They are what JavaScript makes of a client's `{since: undefined}` and of an option that is left out.
    """
    if isinstance(arg, Raw):
        try:
            fields = _OBJECT_OR_NULL.decode(arg) or {}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        else:
            if fields.keys() <= {SINCE}:
                return _decode_since(fields)
    return to_validation_refuse(f'Expected nothing behind the arguments, or {{"{SINCE}": ...}}')


def _decode_without_dropped(rule: CommandRule, schema: Schema, raw: Raw) -> Body | Refuse | None:
    """Decode without the fields that may be sent to no effect; None when there are none of them."""
    try:
        fields = _OBJECT.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    kept = {name: value for name, value in fields.items() if name not in rule.dropped}
    if len(kept) == len(fields):
        return None
    value = schema.decode(msgspec.json.encode(kept))
    if isinstance(value, BodyFault):
        return _to_refuse(value)
    key = None
    if IDEMPOTENCY_KEY in fields:
        key = _decode_key(fields[IDEMPOTENCY_KEY])
        if key is None:
            return to_validation_refuse("Expected an id of 1-128 characters", (IDEMPOTENCY_KEY,))
    since = _decode_since(fields) if SINCE in rule.dropped else None
    if isinstance(since, Refuse):
        return since
    return Body(value if rule.body else None, key, since)


def _decode_since(fields: Mapping[str, Raw]) -> Since | Refuse | None:
    """What the field `since` says; left out or null it says nothing."""
    raw = fields.get(SINCE)
    if raw is None or bytes(raw) == b"null":
        return None
    try:
        since = parse_since(msgspec.json.decode(raw, type=str))
    except (msgspec.DecodeError, UnicodeDecodeError):
        since = None
    return since or to_validation_refuse('Expected an offset, or an age such as "30s"', (SINCE,))


def _decode_key(raw: Raw) -> str | None:
    try:
        key = msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return key if is_id(key) else None


def _to_refuse(fault: BodyFault) -> Refuse:
    path: list[str | int] = [
        int(index) if index else name for name, index in _STEP.findall(fault.path.removeprefix("$"))
    ]
    field = _FIELD.search(fault.message)
    return to_validation_refuse(fault.message, tuple(path), None if field is None else field[1])


def to_refuse(bad: BadValue) -> Refuse:
    """The refusal of a value that may not stand in a room's name or a routing key."""
    return to_validation_refuse(bad.message, bad.path if bad.client else ())


def to_validation_refuse(message: str, path: tuple[str | int, ...] = (), field: str | None = None) -> Refuse:
    """A refusal of a client's own input, with the place of the fault in it, at or in `field` below."""
    place = ".".join(str(step) for step in path)
    text = f"{place}: {message}" if place else message
    steps = [*path] if field is None else [*path, field]
    detail: Mapping[str, object] = {"message": message, "path": steps}
    return Refuse(code=Code.VALIDATION_FAILED, message=text, details=(detail,))
