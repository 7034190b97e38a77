"""Substitutes `${VAR}` and `${VAR:-default}` in the text of a configuration that is already parsed."""

import re
from collections.abc import Mapping
from typing import Final

from bridge.config.source import join_path
from bridge.errors import Fault

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^${}]*))?\}|\$\{[^}]*\}?")


class Substituted(str):
    """Text that is one variable's value as a whole: it may be read as a number or boolean."""

    __slots__ = ()


def substitute_variables(value: object, environ: Mapping[str, str], file: str) -> tuple[object, list[Fault]]:
    """Return the value with all variables in its text (not in its keys) replaced, and the faults.

    A variable that is set but empty counts as missing where there is a default, as in a shell. `$${`
    is the text `${`.
    """
    faults: list[Fault] = []
    return _substitute(value, environ, file, "", faults), faults


def _substitute(
    value: object, environ: Mapping[str, str], file: str, path: str, faults: list[Fault]
) -> object:
    match value:
        case dict():
            return {
                key: _substitute(below, environ, file, join_path(path, str(key)), faults)
                for key, below in value.items()
            }
        case list():
            return [_substitute(each, environ, file, f"{path}[{i}]", faults) for i, each in enumerate(value)]
        case str() if "${" in value:
            return _substitute_text(value, environ, file, path, faults)
        case _:
            return value


def _substitute_text(text: str, environ: Mapping[str, str], file: str, path: str, faults: list[Fault]) -> str:
    def replace(found: re.Match[str]) -> str:
        if found[0] == "$${":
            return "${"
        name, default = found[1], found[2]
        if name is None:
            message = (
                f'"{found[0]}" is no variable (write ${{NAME}}, ${{NAME:-default}}, or $${{ for the text)'
            )
        elif environ.get(name) or (name in environ and default is None):
            return environ[name]
        elif default is not None:
            return default
        else:
            message = f"the variable {name} is not set (set it, or write ${{{name}:-default}})"
        faults.append(Fault(file=file, path=path, message=message))
        return ""

    replaced = _REFERENCE.sub(replace, text)
    whole = _REFERENCE.fullmatch(text)
    return Substituted(replaced) if whole is not None and whole[1] is not None else replaced
