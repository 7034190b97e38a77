"""Templates of payloads and names: any YAML value with `{placeholders}`, compiled once, rendered often."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import DecodeError, Struct, json, to_builtins

from bridge.rules.placeholders import Part, Placeholder, parse_template
from bridge.rules.scope import MISSING, Known, Missing, Problem, Scope, TemplateError
from bridge.rules.sources import Read, compile_source

_NOTHING: Final[frozenset[str]] = frozenset()


class ValueTemplate(Struct, frozen=True, kw_only=True):
    """A YAML value with placeholders; a string that is one placeholder keeps the value's type."""

    roots: frozenset[str]
    """First names of its placeholders, `words` for captures; empty for a constant."""
    render: Callable[[Scope], object]
    """Returns the value, or `MISSING`; a missing value drops its key from a mapping, is null in a list."""


class TextTemplate(Struct, frozen=True, kw_only=True):
    """A string with placeholders that always renders to text."""

    roots: frozenset[str]
    render: Callable[[Scope], str | Missing]
    """Returns the text; `MISSING` when a value that it names is missing or null and has no default."""


class Compiled(Struct, frozen=True):
    """A part of a template: a constant, or a way to read its value."""

    constant: object = MISSING
    read: Read | None = None
    roots: frozenset[str] = _NOTHING


def compile_value(value: object, known: Known) -> ValueTemplate:
    """Compile any YAML value; raises `TemplateError` with every problem in it."""
    problems: list[Problem] = []
    compiled = _compile_node(value, known, "", problems)
    if problems:
        raise TemplateError(tuple(problems))
    return ValueTemplate(roots=compiled.roots, render=_reader(compiled))


def compile_text(text: str, known: Known) -> TextTemplate:
    """Compile a string, such as an event's name; raises `TemplateError`."""
    try:
        compiled = _compile_joined(parse_template(text), known)
    except ValueError as error:
        raise TemplateError((Problem(path="", message=str(error)),)) from error
    constant, read = compiled.constant, compiled.read
    if read is None:
        return TextTemplate(roots=_NOTHING, render=lambda _: str(constant))

    def render(scope: Scope) -> str | Missing:
        value = read(scope)
        if type(value) is str:
            return value
        return MISSING if value is MISSING or value is None else to_text(value)

    return TextTemplate(roots=compiled.roots, render=render)


def to_text(value: object) -> str:
    """Write a value as it stands inside a longer text: strings as they are, all else as in JSON."""
    if type(value) is str:
        return value
    plain = to_builtins(value)
    return plain if isinstance(plain, str) else json.encode(plain).decode()


def _reader(compiled: Compiled) -> Read:
    constant = compiled.constant
    return compiled.read or (lambda _: constant)


def _compile_node(value: object, known: Known, path: str, problems: list[Problem]) -> Compiled:
    match value:
        case str():
            try:
                return _compile_string(value, known)
            except ValueError as error:
                problems.append(Problem(path=path, message=str(error)))
                return Compiled(None)
        case Mapping():
            return _compile_mapping(value, known, path, problems)
        case Sequence() if not isinstance(value, bytes):
            return _compile_list(value, known, path, problems)
        case _:
            return Compiled(value)


def _compile_mapping(
    value: Mapping[object, object], known: Known, path: str, problems: list[Problem]
) -> Compiled:
    items: list[tuple[str, Compiled]] = []
    for key, below in value.items():
        place = f"{path}.{key}" if path else str(key)
        if not isinstance(key, str):
            problems.append(Problem(path=place, message=f"the key {key} is not text (put it in quotes)"))
            continue
        items.append((key, _compile_node(below, known, place, problems)))
    if all(compiled.read is None for _, compiled in items):
        return Compiled({key: compiled.constant for key, compiled in items})
    readers = tuple((key, _reader(compiled)) for key, compiled in items)

    def read(scope: Scope) -> object:
        rendered = {}
        for key, read_below in readers:
            below = read_below(scope)
            if below is not MISSING:
                rendered[key] = below
        return rendered

    return Compiled(MISSING, read, _join_roots([compiled for _, compiled in items]))


def _compile_list(value: Sequence[object], known: Known, path: str, problems: list[Problem]) -> Compiled:
    items = [_compile_node(below, known, f"{path}[{i}]", problems) for i, below in enumerate(value)]
    if all(compiled.read is None for compiled in items):
        return Compiled([compiled.constant for compiled in items])
    readers = tuple(_reader(compiled) for compiled in items)

    def read(scope: Scope) -> object:
        rendered = [read_below(scope) for read_below in readers]
        return [None if below is MISSING else below for below in rendered]

    return Compiled(MISSING, read, _join_roots(items))


def _compile_string(text: str, known: Known) -> Compiled:
    parts = parse_template(text)
    if len(parts) == 1 and isinstance(parts[0], Placeholder):
        return _compile_typed(parts[0], known)
    return _compile_joined(parts, known)


def _compile_typed(placeholder: Placeholder, known: Known) -> Compiled:
    """Compile a template that is one placeholder: the value as it is, a default read as JSON."""
    default = placeholder.default
    if default is None:
        below = None
    elif len(default) == 1 and isinstance(default[0], Placeholder):
        below = _compile_typed(default[0], known)
    elif all(isinstance(part, str) for part in default):
        below = Compiled(_parse_default("".join(map(str, default))))
    else:
        below = _compile_joined(default, known)
    return _compile_placeholder(placeholder, below, known)


def _compile_joined(parts: Sequence[Part], known: Known) -> Compiled:
    """Compile to text: missing, as a whole, when one of its values is."""
    if all(isinstance(part, str) for part in parts):
        return Compiled("".join(map(str, parts)))
    compiled = [Compiled(part) if isinstance(part, str) else _compile_in_text(part, known) for part in parts]
    roots = _join_roots(compiled)
    if len(compiled) == 1:
        return Compiled(MISSING, compiled[0].read, roots)
    readers = tuple(part.constant if part.read is None else part.read for part in compiled)

    def read(scope: Scope) -> object:
        texts = []
        for reader in readers:
            if not callable(reader):
                texts.append(str(reader))
                continue
            value = reader(scope)
            if value is MISSING or value is None:
                return MISSING
            texts.append(value if type(value) is str else to_text(value))
        return "".join(texts)

    return Compiled(MISSING, read, roots)


def _compile_in_text(placeholder: Placeholder, known: Known) -> Compiled:
    default = placeholder.default
    below = None if default is None else _compile_joined(default, known)
    return _compile_placeholder(placeholder, below, known)


def _compile_placeholder(placeholder: Placeholder, default: Compiled | None, known: Known) -> Compiled:
    source = compile_source(placeholder, known)
    if source.each:
        raise ValueError(f'"{{{placeholder.path}}}": "[]" is for rooms (leave it out, the list stays a list)')
    roots = frozenset((source.root,))
    read = source.read
    if default is None:
        return Compiled(MISSING, read, roots)
    otherwise = _reader(default)

    def read_or_default(scope: Scope) -> object:
        value = read(scope)
        return otherwise(scope) if value is MISSING or value is None else value

    return Compiled(MISSING, read_or_default, roots | default.roots)


def _parse_default(text: str) -> object:
    try:
        value: object = json.decode(text)
    except DecodeError:
        return text
    return value


def _join_roots(parts: Sequence[Compiled]) -> frozenset[str]:
    return frozenset(root for part in parts for root in part.roots)
