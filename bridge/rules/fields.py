"""Fields of bodies by their names in JSON: read from any value, and checked against a Struct's type."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from operator import attrgetter
from typing import Final

from msgspec import Struct, inspect
from msgspec.structs import fields

from bridge.rules.placeholders import Step
from bridge.rules.schemas import OPEN
from bridge.rules.scope import MISSING

Getter = Callable[[object], object]

_OPEN: Final = (inspect.AnyType, inspect.CustomType)
_LISTS: Final = (inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType)


def read_field(value: object, name: str) -> object:
    """Return a field of a mapping or Struct by its name in JSON; `MISSING` where there is none."""
    if type(value) is dict or isinstance(value, Mapping):  # claims are dicts; asking `Mapping` costs 0.3 us
        return value.get(name, MISSING)
    if isinstance(value, Struct):
        attribute = _attributes(type(value)).get(name)
        if attribute is not None:
            return getattr(value, attribute)
        config = value.__struct_config__
        return config.tag if name == config.tag_field else MISSING
    return MISSING


def read_path(value: object, names: Iterable[str]) -> object:
    """Return what stands at a path below a value, or `MISSING`."""
    for name in names:
        value = read_field(value, name)
    return value


@cache
def _attributes(struct: type[Struct]) -> Mapping[str, str]:
    return {field.encode_name: field.name for field in fields(struct)}


def compile_getter(body: object, names: Sequence[str]) -> Getter:
    """Return the quickest way to a path below a body of this type (None: any value).

    Where every step is a Struct's field, attributes are read without looking at any name.
    """
    path = tuple(names)
    attributes = _attribute_path(body, path)

    def read(value: object) -> object:
        return read_path(value, path)

    if attributes is None:
        return read
    direct = attrgetter(".".join(attributes))

    def read_attributes(value: object) -> object:
        try:
            return direct(value)
        except AttributeError:  # a part on the way is absent or null, or the body is a plain mapping
            return read_path(value, path)

    return read_attributes


def _attribute_path(body: object, path: tuple[str, ...]) -> list[str] | None:
    attributes = []
    types = _alternatives(inspect.type_info(body)) if body is not None else []
    for name in path:
        structs = [info for info in types if not isinstance(info, inspect.NoneType)]
        if len(structs) != 1 or not isinstance(structs[0], inspect.StructType):
            return None
        if getattr(structs[0].cls, OPEN, False):  # decoded to a mapping
            return None
        field = next((field for field in structs[0].fields if field.encode_name == name), None)
        if field is None:
            return None
        attributes.append(field.name)
        types = _alternatives(field.type)
    return attributes or None


def check_path(body: object, steps: Sequence[Step]) -> None:
    """Check a path below `body` against its type; ValueError names the known fields.

    `steps[0]` is `body` itself.
    """
    if body is None:
        return
    types = _enter_lists(_alternatives(inspect.type_info(body)), steps[0])
    path = steps[0].name
    for step in steps[1:]:
        if any(isinstance(info, (*_OPEN, inspect.RawType)) for info in types):
            return
        if any(isinstance(info, (*_LISTS, inspect.TupleType)) for info in types):
            raise ValueError(f'"{path}" is a list (write {path}[] for each of its elements)')
        below = [info for parent in types for info in _below(parent, step.name)]
        if not below:
            known = ", ".join(sorted({name for info in types for name in _names(info)})) or "none"
            raise ValueError(f'unknown field "{step.name}" in {path} (known: {known})')
        types = _enter_lists(below, step)
        path += "." + step.name


def _alternatives(info: inspect.Type) -> list[inspect.Type]:
    if isinstance(info, inspect.Metadata):
        return _alternatives(info.type)
    if isinstance(info, inspect.UnionType):
        return [each for part in info.types for each in _alternatives(part)]
    return [info]


def _enter_lists(types: list[inspect.Type], step: Step) -> list[inspect.Type]:
    if not step.each:
        return types
    return [
        item
        for info in types
        for item in (_alternatives(info.item_type) if isinstance(info, _LISTS) else [info])
    ]


def _below(parent: inspect.Type, name: str) -> list[inspect.Type]:
    if isinstance(parent, inspect.DictType):
        return _alternatives(parent.value_type)
    if isinstance(parent, inspect.StructType | inspect.TypedDictType):
        found = [
            info for field in parent.fields if field.encode_name == name for info in _alternatives(field.type)
        ]
        tagged = isinstance(parent, inspect.StructType) and parent.tag_field == name
        return found or ([inspect.StrType()] if tagged else [])
    return []


def _names(info: inspect.Type) -> list[str]:
    if isinstance(info, inspect.StructType | inspect.TypedDictType):
        return [field.encode_name for field in info.fields]
    return []
