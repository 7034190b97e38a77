"""The grammar of templates: text with `{path}` and `{path:-default}` in it, parsed to a small tree.

`{{` and `}}` are single braces. A default is a template of its own, so defaults nest.
"""

import re
from typing import Final

from msgspec import Struct


class Step(Struct, frozen=True):
    """One name of a path; `each` for `name[]`, every element of a list."""

    name: str
    each: bool = False


class Placeholder(Struct, frozen=True):
    """`{path}` or `{path:-default}`."""

    steps: tuple[Step, ...]
    default: "tuple[Part, ...] | None" = None

    @property
    def path(self) -> str:
        """The path as it is written."""
        return ".".join(step.name + ("[]" if step.each else "") for step in self.steps)


Part = str | Placeholder

_TEXT: Final = re.compile(r"[^{}]+")
_PATH: Final = re.compile(r"(?:[^{}:]|:(?!-))*")
_STEP: Final = re.compile(r"[^\s{}\[\]]+")
_MAX_DEPTH: Final = 8


def parse_template(text: str) -> tuple[Part, ...]:
    """Parse a template, literal text joined; ValueError says what is wrong and the remedy."""
    parts, end = _parse_parts(text, 0, depth=0)
    if end < len(text):
        raise ValueError(f'"{text}": "}}" without "{{" (write "}}}}" for a brace)')
    return parts


def _parse_parts(text: str, at: int, *, depth: int) -> tuple[tuple[Part, ...], int]:
    """Parse up to the end, or (inside a placeholder) up to its closing brace."""
    parts: list[Part] = []
    literal = ""
    opened = 0
    while at < len(text):
        if text.startswith("{{", at):
            literal, at, opened = literal + "{", at + 2, opened + 1
        elif text.startswith("}}", at) and (depth == 0 or opened):
            # In a default `}}` is a brace only after `{{`: else it closes two nested placeholders.
            literal, at, opened = literal + "}", at + 2, opened - 1
        elif text[at] == "{":
            placeholder, at = _parse_placeholder(text, at, depth=depth + 1)
            parts += [literal, placeholder] if literal else [placeholder]
            literal = ""
        elif text[at] == "}":
            break
        else:
            found = _TEXT.match(text, at)
            assert found is not None  # noqa: S101  neither brace stands here
            literal, at = literal + found[0], found.end()
    return (*parts, literal) if literal else tuple(parts), at


def _parse_placeholder(text: str, at: int, *, depth: int) -> tuple[Placeholder, int]:
    if depth > _MAX_DEPTH:
        raise ValueError(f'"{text[:40]}...": defaults nest more than {_MAX_DEPTH} deep')
    found = _PATH.match(text, at + 1)
    assert found is not None  # noqa: S101  the pattern also matches nothing
    steps, end = _parse_path(found[0]), found.end()
    default: tuple[Part, ...] | None = None
    if text.startswith(":-", end):
        default, end = _parse_parts(text, end + 2, depth=depth)
    if not text.startswith("}", end):
        raise ValueError(f'"{text}": "{{{found[0]}" is not closed (write "{{{{" for a brace)')
    return Placeholder(steps, default), end + 1


def _parse_path(path: str) -> tuple[Step, ...]:
    steps = []
    for name in path.split("."):
        each = name.endswith("[]")
        bare = name[:-2] if each else name
        if _STEP.fullmatch(bare) is None:
            raise ValueError(
                f'"{{{path}}}" is no placeholder (write names with dots between, "{{{{" for a brace)'
            )
        steps.append(Step(bare, each))
    return tuple(steps)
