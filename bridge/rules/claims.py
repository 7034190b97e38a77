"""Finds which claims of a client's token a YAML value with `{user...}` in it reads."""

from collections.abc import Iterable, Mapping, Sequence

from bridge.rules.placeholders import Part, Placeholder, parse_template


def find_claims(value: object) -> frozenset[str]:
    """The names of the claims, `profile` for `{user.profile.name}`; text that is no template names none."""
    match value:
        case str():
            try:
                return frozenset(_read(parse_template(value)))
            except ValueError:  # whoever compiles it says what is wrong
                return frozenset()
        case Mapping():
            return frozenset(name for below in value.values() for name in find_claims(below))
        case Sequence():
            return frozenset(name for below in value for name in find_claims(below))
        case _:
            return frozenset()


def _read(parts: Iterable[Part]) -> Iterable[str]:
    for part in parts:
        if isinstance(part, Placeholder):
            if part.steps[0].name == "user" and len(part.steps) > 1:
                yield part.steps[1].name
            yield from _read(part.default or ())
