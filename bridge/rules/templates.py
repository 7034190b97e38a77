"""Templates of payloads and names: any YAML value with `{placeholders}`, compiled once, rendered often."""

from msgspec import Struct

from bridge.rules.scope import Known, Missing, Scope


class ValueTemplate(Struct, frozen=True, kw_only=True):
    """A YAML value with placeholders; a string that is one placeholder keeps the value's type."""

    roots: frozenset[str]
    """First names of its placeholders, `words` for captures; empty for a constant."""

    def render(self, scope: Scope) -> object:
        """Return the value, or `MISSING`; a missing value drops its key from a mapping, is null in a list."""
        raise NotImplementedError


class TextTemplate(Struct, frozen=True, kw_only=True):
    """A string with placeholders that always renders to text."""

    roots: frozenset[str]

    def render(self, scope: Scope) -> str | Missing:
        """Return the text; `MISSING` when a value that it names is missing and has no default."""
        raise NotImplementedError


def compile_value(value: object, known: Known) -> ValueTemplate:
    """Compile any YAML value; raises `TemplateError` with every problem in it."""
    raise NotImplementedError


def compile_text(text: str, known: Known) -> TextTemplate:
    """Compile a string, such as an event's name; raises `TemplateError`."""
    raise NotImplementedError
