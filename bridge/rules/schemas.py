"""Owns the Structs of the schemas folder: loads its modules, finds a Struct by name, decodes bodies."""

import importlib
import inspect
import itertools
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Final

import msgspec
from msgspec import Struct

from bridge.errors import ConfigError, Fault

_PACKAGES: Final = itertools.count(1)
"""Each load gets a package name of its own, so that one load never sees the modules of another."""

_MAX_MESSAGE: Final = 200

_OBJECT: Final = msgspec.json.Decoder(dict[str, object])

OPEN: Final = "keep_unknown_fields"
"""The attribute by which a Struct says that fields which it does not name are kept."""


class BodyFault(Struct, frozen=True, kw_only=True):
    """Why a body could not be decoded."""

    reason: str
    """`not_json` or `schema`."""
    message: str
    """Fit for a client: names of fields and types, nothing internal."""
    path: str
    """JSON path, such as `$.attachments[1].size`; `$` is the whole body."""


class Schema:
    """One Struct with its decoder, compiled once."""

    __slots__ = ("_decoder", "_descriptions", "binary", "fields", "name", "open", "required", "type")

    def __init__(self, name: str, type_: type[Struct]) -> None:
        """Raises TypeError or NameError when msgspec cannot decode into this Struct."""
        self.name = name
        self.type = type_
        self._decoder = msgspec.json.Decoder(type_)
        self._descriptions = _find_descriptions(type_)
        fields = msgspec.structs.fields(type_)
        self.fields = frozenset(field.encode_name for field in fields)
        """Names of its fields, as they stand in JSON."""
        self.required = frozenset(field.encode_name for field in fields if field.required)
        self.binary = _find_binary(type_)
        """Names of the fields that take bytes."""
        self.open: bool = getattr(type_, OPEN, False)
        """Fields that the Struct does not name are kept: a body is a mapping then, of all that was sent."""

    def decode(self, body: bytes | memoryview | msgspec.Raw) -> object | BodyFault:
        """Decode a JSON body into the Struct; an open one is checked by it, and decoded to a mapping."""
        try:
            value = self._decoder.decode(body)
            return _OBJECT.decode(body) if self.open else value
        except msgspec.ValidationError as error:
            return self._to_fault(str(error))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return BodyFault(reason="not_json", message=_describe_decode_error(error), path="$")
        except RecursionError:
            return BodyFault(reason="not_json", message="JSON is nested too deeply", path="$")

    def decode_again(self, encoded: msgspec.Raw) -> object:
        """The value of which this is the JSON; None for what its own Struct no longer takes."""
        value = self.decode(encoded)
        return None if isinstance(value, BodyFault) else value

    def convert(self, values: Mapping[str, object]) -> object | BodyFault:
        """Make the Struct of JSON values by field, and bytes for those of `binary`, which take no text."""
        try:
            return msgspec.convert(values, self.type, builtin_types=(bytes,))
        except msgspec.ValidationError as error:
            return self._to_fault(str(error))

    def _to_fault(self, text: str) -> BodyFault:
        message, _, path = text.partition(" - at `")
        for pattern, description in self._descriptions:
            message = message.replace(f"`str` matching regex {pattern!r}", description)
        if len(message) > _MAX_MESSAGE:  # it may quote what was sent
            message = f"{message[:_MAX_MESSAGE]}..."
        return BodyFault(reason="schema", message=message, path=path.removesuffix("`") or "$")


class Schemas:
    """The Structs of a schemas folder, by module and name."""

    def __init__(self, modules: Mapping[str, Mapping[str, Schema]]) -> None:
        self._modules = modules

    def find(self, module: str, name: str) -> Schema | None:
        """The Struct of that name, or None."""
        return self._modules.get(module, {}).get(name)

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the modules."""
        return tuple(self._modules)

    def names(self, module: str) -> tuple[str, ...]:
        """Names of the Structs that a module defines, to tell people; empty when there is no such module."""
        schemas = self._modules.get(module, {})
        return tuple(
            name for name, schema in schemas.items() if schema.type.__module__.endswith(f".{module}")
        )


def load_schemas(folder: Path) -> Schemas:
    """Import every module of the folder; raises ConfigError with file and line of all that is broken.

    The folder is one package under a private name, so that `from .common import Id` works; its
    `__init__.py` is not used.
    """
    folder = folder.resolve()
    if not folder.is_dir():
        message = "no such folder; the Structs of event bodies stand in it (--schemas names another)"
        raise ConfigError([Fault(file=str(folder), path="", message=message)])
    package = ModuleType(f"bridged_schemas_{next(_PACKAGES)}")
    package.__path__ = [str(folder)]
    sys.modules[package.__name__] = package
    faults: list[Fault] = []
    modules = {}
    for file in sorted(folder.glob("*.py")):
        if file.stem == "__init__":
            continue
        try:
            module = importlib.import_module(f"{package.__name__}.{file.stem}")
        except Exception as error:  # a schema file may raise anything
            faults.append(_locate(error, folder, file))
        else:
            modules[file.stem] = _compile_module(module, folder, file, faults)
    if faults:
        raise ConfigError(list(dict.fromkeys(faults)))
    return Schemas(modules)


def _compile_module(module: ModuleType, folder: Path, file: Path, faults: list[Fault]) -> dict[str, Schema]:
    schemas = {}
    for name, value in vars(module).items():
        if not (isinstance(value, type) and issubclass(value, Struct)) or value is Struct:
            continue
        try:
            schemas[name] = Schema(name, value)
        except Exception as error:  # an annotation may raise anything
            if value.__module__ == module.__name__:
                line = inspect.getsourcelines(value)[1]
                faults.append(_to_fault(folder, file, line, f"{name}: {error}"))
    return schemas


def _locate(error: Exception, folder: Path, file: Path) -> Fault:
    """The fault of a module that cannot be imported: the innermost line that stands in the folder."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return _to_fault(folder, Path(error.filename), error.lineno, f"SyntaxError: {error.msg}")
    place, line = file, None
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename).parent == folder:
            place, line = Path(frame.filename), frame.lineno
    return _to_fault(folder, place, line, f"{type(error).__name__}: {error}")


def _to_fault(folder: Path, file: Path, line: int | None, message: str) -> Fault:
    name = f"{folder.name}/{file.name}"
    return Fault(file=name, path="" if line is None else f"line {line}", message=message)


def _describe_decode_error(error: Exception) -> str:
    return "text is no UTF-8" if isinstance(error, UnicodeDecodeError) else f"not JSON: {error}"


def _find_descriptions(type_: type[Struct]) -> tuple[tuple[str, str], ...]:
    """The patterns below a type that carry `Meta(description=...)`: people read that, not the regex."""
    found: dict[str, str] = {}
    seen: set[type] = set()
    todo: list[object] = [msgspec.inspect.type_info(type_)]
    while todo:
        node = todo.pop()
        if isinstance(node, msgspec.inspect.StructType):
            if node.cls in seen:
                continue
            seen.add(node.cls)
        if isinstance(node, msgspec.inspect.Metadata):
            description = (node.extra_json_schema or {}).get("description")
            pattern = getattr(node.type, "pattern", None)
            if description and pattern:
                found[pattern] = description
        todo.extend(_children(node))
    return tuple(found.items())


def _children(node: object) -> list[object]:
    children: list[object] = []
    if isinstance(node, msgspec.inspect.Type | msgspec.inspect.Field):
        for name in node.__struct_fields__:
            value = getattr(node, name)
            children.extend(value if isinstance(value, tuple) else [value])
    return children


def _find_binary(type_: type[Struct]) -> frozenset[str]:
    info = msgspec.inspect.type_info(type_)
    assert isinstance(info, msgspec.inspect.StructType)  # noqa: S101  it is one
    names = set()
    for field in info.fields:
        inner = field.type.type if isinstance(field.type, msgspec.inspect.Metadata) else field.type
        parts = inner.types if isinstance(inner, msgspec.inspect.UnionType) else (inner,)
        if any(isinstance(part, msgspec.inspect.BytesType) for part in parts):
            names.add(field.encode_name)
    return frozenset(names)
