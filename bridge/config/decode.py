"""Decodes plain values into the Structs of the configuration, and finds every fault, not only the first."""

from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Annotated, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from msgspec import NODEFAULT, Meta, ValidationError, convert
from msgspec.structs import fields

from bridge.config.model import Section
from bridge.config.route_model import Emit
from bridge.config.source import join_path
from bridge.config.units import Duration, Rate, Size
from bridge.config.variables import Substituted
from bridge.errors import Fault

S = TypeVar("S", bound=Section)

_QUANTITIES: Final = {
    Duration: "a duration such as 10s",
    Size: "a size such as 1MB",
    Rate: "a rate such as 10/s",
}
_PLAIN: Final = {str: "text", int: "a whole number", bool: "true or false", float: "a number"}
_SECRETS: Final = frozenset({"secret", "public_key", "url"})


class _Faulty:
    """Stands for a value that could not be decoded."""


FAULTY: Final = _Faulty()


def decode_section(value: object, section: type[S], file: str) -> tuple[S | None, list[Fault]]:
    """Decode a whole file; None when it has faults."""
    decoder = _Decoder(file)
    decoded = decoder.decode_struct(value, section, "")
    return (decoded if isinstance(decoded, section) else None), decoder.faults


class _Decoder:
    def __init__(self, file: str) -> None:
        self.faults: list[Fault] = []
        self._file = file

    def decode_struct(self, value: object, section: type[Section], path: str) -> object:
        """Decode a mapping into its Struct; every key is looked at, whatever the others hold."""
        if not isinstance(value, dict):
            return self._report(path, f"{_show(value)} is no mapping (write keys and values)")
        hints = get_type_hints(section, include_extras=True)
        known = {field.encode_name: field for field in fields(section)}
        decoded: dict[str, object] = {}
        before = len(self.faults)
        for key, below in value.items():
            if key not in known:
                self._report(join_path(path, key), _suggest(f'unknown key "{key}"', key, sorted(known)))
            elif below is None and hints[known[key].name] is not object:
                # Not even where None is the default: an event's empty `rooms:` must not mean everyone.
                self._report(join_path(path, key), "has no value (give it one, or leave the key out)")
            else:
                decoded[known[key].name] = self.decode(below, hints[known[key].name], join_path(path, key))
        for name, field in known.items():
            if field.default is NODEFAULT and field.default_factory is NODEFAULT and name not in value:
                self._report(path, f'the key "{name}" is missing (add it)')
        return section(**decoded) if len(self.faults) == before else FAULTY

    def decode(self, value: object, wanted: object, path: str) -> object:
        """Decode a value of any type that they use."""
        origin, arguments = get_origin(wanted), get_args(wanted)
        if wanted is object:
            return _plain(value)
        if wanted == Emit:
            return self._decode_emit(value, path)
        if isinstance(wanted, type) and issubclass(wanted, Section):
            return self.decode_struct(value, wanted, path)
        if origin in (UnionType, Union):
            return self._decode_union(value, arguments, path)
        if origin is dict:
            return self._decode_mapping(value, arguments[1], path)
        if origin is list:
            return self._decode_list(value, arguments[0], path)
        if origin is Literal:
            return self._decode_choice(value, arguments, path)
        if origin is Annotated:
            return self._decode_bounded(value, arguments, path)
        return self._decode_scalar(value, wanted, path)

    def _decode_emit(self, value: object, path: str) -> object:
        if not isinstance(value, dict) or len(value) != 1:
            found = f"{len(value)} events" if isinstance(value, dict) else _show(value)
            return self._report(path, f"{found}: exactly one event belongs here (write event: payload)")
        return _plain(value)

    def _decode_union(self, value: object, wanted: tuple[object, ...], path: str) -> object:
        if value is None and NoneType in wanted:
            return None
        options = [each for each in wanted if each is not NoneType]
        if len(options) == 1:
            return self.decode(value, options[0], path)
        # Allow and the values of Claims: a mapping or list goes to the option of its kind.
        for kind in (dict, list):
            if isinstance(value, kind):
                for option in options:
                    if get_origin(option) is kind:
                        return self.decode(value, option, path)
        plain = _plain(value)
        if type(plain) in options:
            return plain
        kinds = " or ".join(dict.fromkeys(_name(option) for option in options))
        return self._report(path, f"{_show(value)} is not {kinds}")

    def _decode_mapping(self, value: object, below: object, path: str) -> object:
        if not isinstance(value, dict):
            return self._report(path, f"{_show(value)} is no mapping (write keys and values)")
        empty = {key for key, each in value.items() if each is None and below is not object}
        for key in empty:
            # `command:` with nothing after it is how people write an entry without keys.
            if not (isinstance(below, type) and issubclass(below, Section)):
                self._report(join_path(path, key), "has no value (give it one, or leave the key out)")
        decoded = {
            key: self.decode({} if key in empty else each, below, join_path(path, key))
            for key, each in value.items()
        }
        return FAULTY if any(each is FAULTY for each in decoded.values()) else decoded

    def _decode_list(self, value: object, below: object, path: str) -> object:
        values = value if isinstance(value, list) else [value]
        single = not isinstance(value, list)
        if isinstance(value, dict):
            return self._report(path, "a mapping is no list (write one value, or a list of them)")
        decoded = [
            self.decode(each, below, path if single else f"{path}[{index}]")
            for index, each in enumerate(values)
        ]
        return FAULTY if any(each is FAULTY for each in decoded) else decoded

    def _decode_choice(self, value: object, choices: tuple[object, ...], path: str) -> object:
        plain = _plain(value)
        if plain in choices:
            return plain
        names = [str(choice) for choice in choices]
        return self._report(path, _suggest(f"{_show(value)} is not among the choices", str(value), names))

    def _decode_bounded(self, value: object, arguments: tuple[object, ...], path: str) -> object:
        decoded = self.decode(value, arguments[0], path)
        if decoded is FAULTY:
            return FAULTY
        for meta in arguments[1:]:
            if isinstance(meta, Meta) and isinstance(decoded, int):
                if meta.ge is not None and decoded < meta.ge:
                    return self._report(path, f"{decoded} is too small (at least {meta.ge})")
                if meta.le is not None and decoded > meta.le:
                    return self._report(path, f"{decoded} is too large (at most {meta.le})")
        return decoded

    def _decode_scalar(self, value: object, wanted: object, path: str) -> object:
        secret = path.rpartition(".")[2] in _SECRETS
        for quantity, kind in _QUANTITIES.items():
            if wanted is quantity:
                if not isinstance(value, str):
                    return self._report(path, f"{_show(value)} is not {kind}")
                try:
                    return quantity(str(value))
                except ValueError as error:
                    return self._report(path, str(error))
        try:
            return convert(_plain(value), wanted, strict=not isinstance(value, Substituted))
        except ValidationError:
            shown = "the value" if secret else _show(value)
            hint = _hint_at_quotes(value) if wanted is str else ""
            return self._report(path, f"{shown} is not {_name(wanted)}{hint}")

    def _report(self, path: str, message: str) -> object:
        self.faults.append(Fault(file=self._file, path=path, message=message))
        return FAULTY


def _hint_at_quotes(value: object) -> str:
    """What to do where text is wanted; `{name}` without quotes is a mapping for YAML."""
    match value:
        case dict():
            names = list(value) if list(value.values()) == [None] else []
            return f' (put a template in quotes: "{{{names[0]}}}")' if names else ""
        case list():
            return ""
        case _:
            return " (put it in quotes)"


def _plain(value: object) -> object:
    """Forget that text was substituted: from here on it is text like any other."""
    match value:
        case Substituted():
            return str(value)
        case dict():
            return {key: _plain(below) for key, below in value.items()}
        case list():
            return [_plain(each) for each in value]
        case _:
            return value


def _name(wanted: object) -> str:
    if isinstance(wanted, type) and wanted in _PLAIN:
        return _PLAIN[wanted]
    if get_origin(wanted) is list:
        return "a list"
    return "a mapping"


def _show(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case str():
            return f'"{value[:80]}"'
        case _:
            return str(value)


def _suggest(message: str, word: str, known: list[str]) -> str:
    near = get_close_matches(word, known, n=1)
    return f"{message} (did you mean {near[0]}?)" if near else f"{message} (known: {', '.join(known)})"
