"""Reads the configuration's Structs: keys, types, defaults and docstrings, in reading order."""

import ast
import inspect
import itertools
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, get_args, get_origin

import msgspec
import yaml
from msgspec import Struct

from bridge.config import model, route_model
from bridge.config.units import Duration, Rate, Size

_UNITS = {Duration: "duration", Size: "size", Rate: "rate"}
_SCALARS = {str: "text", int: "number", float: "number", bool: "`true` or `false`", object: "any value"}


class Key(Struct, frozen=True, kw_only=True):
    """One key of a section."""

    name: str
    """As the YAML writes it."""
    type: str
    """In words; Markdown."""
    required: bool
    default: str | None
    """As YAML, or `as below` for a section; None when nothing is set."""
    meaning: str
    section: str | None
    """Place of the section that describes its value; None for a plain value."""


class SectionReference(Struct, frozen=True, kw_only=True):
    """One Struct, at the place in the YAML where a reader meets it first."""

    place: str
    """Dotted, such as `amqp.stream` or `namespaces.<namespace>.events.<key>`; empty for a whole file."""
    struct: str
    meaning: str
    keys: tuple[Key, ...]


def read_sections(root: type[Struct]) -> list[SectionReference]:
    """The section of `root` and of everything that it reaches, depth first; each Struct once."""
    docs = _Docstrings()
    places: dict[type, str] = {}
    _find_places(root, "", places)
    return [_read_section(struct, place, places, docs) for struct, place in places.items()]


class _Docstrings:
    """The strings that stand below the fields of the configuration's Structs."""

    def __init__(self) -> None:
        trees = [ast.parse(inspect.getsource(module)) for module in (model, route_model)]
        classes = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
        self.fields = {node.name: dict(read_following_strings(node.body)) for node in classes}
        self.defaults = {node.name: dict(_written_defaults(node.body)) for node in classes}


def read_following_strings(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Names and the strings that stand below their assignments, in a class or a module."""
    for statement, after in itertools.pairwise(body):
        match statement, after:
            case (
                (ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)])),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, inspect.cleandoc(text)


def _written_defaults(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Defaults of units as they are written, `10m`: the value itself knows only its seconds."""
    for statement in body:
        match statement:
            case ast.AnnAssign(
                target=ast.Name(id=name),
                value=ast.Call(func=ast.Name(), args=[ast.Constant(value=str(text))]),
            ):
                yield name, text


def _find_places(struct: type[Struct], place: str, places: dict[type, str]) -> None:
    if struct in places:
        return
    places[struct] = place
    for info in msgspec.structs.fields(struct):
        for inner, keyed in _structs_in(info.type):
            own = f"{place}.{info.encode_name}" if place else info.encode_name
            _find_places(inner, f"{own}.<{_KEYED.get(inner.__name__, 'name')}>" if keyed else own, places)


_KEYED: Mapping[str, str] = {"Namespace": "namespace", "Room": "room", "Event": "key", "Command": "event"}


def _structs_in(kind: object) -> Iterator[tuple[type[Struct], bool]]:
    """Structs in a type, and whether they are the values of a mapping."""
    if isinstance(kind, type) and issubclass(kind, Struct):
        yield kind, False
    elif get_origin(kind) is dict:
        for inner, _ in _structs_in(get_args(kind)[1]):
            yield inner, True
    else:
        for part in get_args(kind):
            yield from _structs_in(part)


def _read_section(
    struct: type[Struct], place: str, places: Mapping[type, str], docs: _Docstrings
) -> SectionReference:
    keys = []
    hints = inspect.get_annotations(struct)
    for info in msgspec.structs.fields(struct):
        inner = next((inner for inner, _ in _structs_in(info.type)), None)
        keys.append(
            Key(
                name=info.encode_name,
                type=_name_alias(hints.get(info.name)) or _name_type(info.type),
                required=info.required,
                default=docs.defaults[struct.__name__].get(info.name) or _write_default(info),
                meaning=docs.fields[struct.__name__].get(info.name, ""),
                section=None if inner is None else places[inner],
            )
        )
    return SectionReference(
        place=place, struct=struct.__name__, meaning=inspect.getdoc(struct) or "", keys=tuple(keys)
    )


def _name_alias(hint: object) -> str | None:
    """`Allow` and `Emit` are named and explained once, not spelt out."""
    if hint == model.Allow:
        return "allow"
    if hint == dict[str, route_model.Emit]:
        return "mapping of emits"
    if hint in (route_model.Emit, route_model.Emit | None):
        return "emit"
    return None


def _name_type(kind: object) -> str:
    if get_origin(kind) is Annotated:
        return _name_type(get_args(kind)[0]) + _name_bounds(get_args(kind)[1])
    if get_origin(kind) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(kind))
    if get_origin(kind) in (typing.Union, types.UnionType):
        return " or ".join(_name_type(part) for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is list:
        return f"list of {_plural(_name_type(get_args(kind)[0]))}"
    if get_origin(kind) is dict:
        return f"mapping of {_plural(_name_type(get_args(kind)[1]))}"
    if isinstance(kind, type):
        if issubclass(kind, Struct):
            return "section"
        return _UNITS.get(kind) or _SCALARS[kind]
    return _SCALARS[object] if kind is typing.Any else str(kind)


def _name_bounds(meta: object) -> str:
    if not isinstance(meta, msgspec.Meta) or meta.ge is None:
        return ""
    return f", at least {meta.ge}" if meta.le is None else f", {meta.ge} to {meta.le}"


def _plural(name: str) -> str:
    return {"text": "texts", "any value": "any values"}.get(name, f"{name}s")


def _write_default(info: msgspec.structs.FieldInfo) -> str | None:
    """The default as one line of YAML; a section's default is its own keys' defaults."""
    value = info.default if info.default is not msgspec.NODEFAULT else None
    if info.default_factory is not msgspec.NODEFAULT:
        value = info.default_factory()
    if value is None:
        return None
    if isinstance(value, Struct):
        return "as below"
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...").replace("'", '"')
