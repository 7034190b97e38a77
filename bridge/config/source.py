"""Reads one YAML file to plain values (mappings, lists, text, numbers, booleans, null) and its faults.

YAML's safe schema without its surprises: dates stay text, a key that stands twice is a fault, and
aliases cannot grow a small file into a large one.
"""

from pathlib import Path
from typing import Final

import yaml

from bridge.errors import Fault

MAX_NODES: Final = 100_000
MAX_FILE_BYTES: Final = 4_000_000

_MAP: Final = "tag:yaml.org,2002:map"
_SEQ: Final = "tag:yaml.org,2002:seq"
_STR: Final = "tag:yaml.org,2002:str"
_MERGE: Final = "tag:yaml.org,2002:merge"
_NULL: Final = "tag:yaml.org,2002:null"
_SCALARS: Final = frozenset({_NULL, *(f"tag:yaml.org,2002:{name}" for name in ("bool", "int", "float"))})


class _Loader(yaml.SafeLoader):
    """The safe loader, which reads neither dates nor `=`."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regex) for tag, regex in resolvers if tag in _SCALARS or tag == _MERGE]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


class _TooLargeError(Exception):
    """The file has more nodes than a configuration can need."""


def read_yaml(path: Path, file: str) -> tuple[object, list[Fault]]:
    """Read a file, named `file` in faults; returns its value (None if there is none) and all faults."""
    try:
        data = path.read_bytes()
        if len(data) > MAX_FILE_BYTES:
            return None, [_fault(file, "", f"has {len(data)} bytes (at most {MAX_FILE_BYTES})")]
        loader = _Loader(data.decode("utf-8-sig"))
    except OSError as error:
        return None, [_fault(file, "", f"cannot be read: {error.strerror} (check its name and permissions)")]
    except UnicodeDecodeError as error:
        return None, [_fault(file, "", f"is not UTF-8 (byte {error.start}; save it as UTF-8)")]
    except yaml.reader.ReaderError as error:
        return None, [_fault(file, "", f"holds the control character U+{error.character:04X} (remove it)")]
    try:
        node = loader.get_single_node()
        if node is None or node.tag == _NULL:
            return None, [_fault(file, "", "is empty")]
        return _Reader(loader, file).read(node)
    except yaml.MarkedYAMLError as error:
        return None, [_fault(file, "", _describe(error))]
    except (_TooLargeError, RecursionError) as error:
        reason = str(error) if isinstance(error, _TooLargeError) else "nests too deeply"
        return None, [_fault(file, "", reason)]
    finally:
        loader.dispose()


def _describe(error: yaml.MarkedYAMLError) -> str:
    mark, context = error.problem_mark or error.context_mark, error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    text = f"{place}{error.problem or error.context or 'is no YAML'}"
    if "'\\t'" in text:
        return f"{text} (YAML is indented with spaces)"
    if mark and context and error.context and context.line < mark.line:
        # A quote or bracket that is never closed is noticed lines later, mostly at the end of the file.
        return f"{text} ({error.context} that begins in line {context.line + 1})"
    return text


def _fault(file: str, path: str, message: str) -> Fault:
    return Fault(file=file, path=path, message=message)


class _Reader:
    """Turns the nodes of one file into values, and counts them."""

    def __init__(self, loader: _Loader, file: str) -> None:
        self._loader = loader
        self._file = file
        self._faults: list[Fault] = []
        self._nodes = 0
        self._open: set[int] = set()

    def read(self, node: yaml.Node) -> tuple[object, list[Fault]]:
        """Return the value of the whole file."""
        value = self._read_node(node, "")
        return value, self._faults

    def _read_node(self, node: yaml.Node, path: str) -> object:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _TooLargeError(f"has more than {MAX_NODES} values, its aliases resolved (split the file)")
        if id(node) in self._open:
            return self._report(node, path, "an alias stands inside its own anchor (remove the alias)")
        self._open.add(id(node))
        try:
            match node:
                case yaml.MappingNode(tag=tag) if tag == _MAP:
                    return self._read_mapping(node, path)
                case yaml.SequenceNode(tag=tag) if tag == _SEQ:
                    return [self._read_node(each, f"{path}[{i}]") for i, each in enumerate(node.value)]
                case yaml.ScalarNode(tag=tag) if tag == _STR:
                    return node.value
                case yaml.ScalarNode(tag=tag) if tag in _SCALARS:
                    return self._loader.construct_object(node)
                case _:
                    return self._report(node, path, f'the tag "{node.tag}" has no meaning here (remove it)')
        except ValueError:
            return self._report(node, path, f'"{node.value}" does not fit its tag (put it in quotes)')
        finally:
            self._open.discard(id(node))

    def _read_mapping(self, node: yaml.MappingNode, path: str) -> dict[str, object]:
        own: dict[str, object] = {}
        merged: dict[str, object] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                self._merge(merged, value_node, path)
                continue
            key = self._read_key(key_node, path)
            if key in lines:
                text = f"stands twice (lines {lines[key] + 1} and {key_node.start_mark.line + 1}; keep one)"
                self._report(key_node, join_path(path, key), text)
                continue
            lines[key] = key_node.start_mark.line
            own[key] = self._read_node(value_node, join_path(path, key))
        return merged | own

    def _read_key(self, node: yaml.Node, path: str) -> str:
        if isinstance(node, yaml.ScalarNode):
            if node.tag != _STR:
                text = f'the key "{node.value}" is not text for YAML (put it in quotes)'
                self._report(node, path, text)
            return str(node.value)
        self._report(
            node, path, "a key is text, not a mapping or list (put it in quotes if it begins with { or [)"
        )
        return f"line {node.start_mark.line + 1}"

    def _merge(self, merged: dict[str, object], node: yaml.Node, path: str) -> None:
        value = self._read_node(node, path)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                merged.update({key: below for key, below in each.items() if key not in merged})
            else:
                self._report(node, path, '"<<" merges a mapping (write <<: *name)')

    def _report(self, node: yaml.Node, path: str, message: str) -> object:
        self._faults.append(_fault(self._file, path or f"line {node.start_mark.line + 1}", message))
        return None


def join_path(path: str, name: str) -> str:
    """Append a key to a dotted path."""
    return f"{path}.{name}" if path else name
