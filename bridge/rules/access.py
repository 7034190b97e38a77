"""Who may: the `allow` of the configuration as a test of a token's claims."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from bridge.config.model import Allow, Claims
from bridge.rules.scope import Known, Problem, Scope, TemplateError
from bridge.rules.templates import TextTemplate, compile_text


class Wanted(Struct, frozen=True, kw_only=True):
    """One claim, and the values of which it must hold one."""

    claim: str
    constants: tuple[str | int | bool, ...]
    templates: tuple[TextTemplate, ...]

    def holds(self, claims: Mapping[str, object], scope: Scope) -> bool:
        """Tell whether the claim is there and holds one of the values."""
        held = claims.get(self.claim)
        if held is None:
            return False
        values = held if isinstance(held, list | tuple) else (held,)
        if isinstance(held, list | tuple) and "*" in values:
            return True
        rendered = (template.render(scope) for template in self.templates)
        return any(_same(value, wanted) for wanted in (*self.constants, *rendered) for value in values)


class Access(Struct, frozen=True, kw_only=True):
    """A compiled `allow`."""

    everyone: bool
    """Nothing is asked."""
    alternatives: tuple[tuple[Wanted, ...], ...]
    """Of which one must hold as a whole."""

    def permits(self, claims: Mapping[str, object], words: Mapping[str, str]) -> bool:
        """Tell whether these claims hold; `words` fill the `{words}` of the wanted values.

        Values are compared with their types: `1` is not `true` and not `"1"`. A claim that is the text
        `*` is only that text: of all values only a list may speak.
        """
        if self.everyone:
            return True
        scope = Scope(words=words)
        return any(all(wanted.holds(claims, scope) for wanted in every) for every in self.alternatives)


OPEN: Final = Access(everyone=True, alternatives=((),))
"""Where nobody is asked who they are, nobody is asked what they may."""


def compile_allow(allow: Allow, known: Known) -> Access:
    """Compile an `allow`; only `known.words` may stand in it. Raises `TemplateError` (path: the claim).

    `{}` lets everyone in; an empty list lets nobody in.
    """
    problems: list[Problem] = []
    words = Known(words=known.words)
    if isinstance(allow, dict):
        alternatives = [_compile_claims(allow, words, "", problems)]
    else:
        alternatives = [_compile_claims(claims, words, f"[{i}].", problems) for i, claims in enumerate(allow)]
    if problems:
        raise TemplateError(tuple(problems))
    return Access(everyone=() in alternatives, alternatives=tuple(alternatives))


def _compile_claims(claims: Claims, known: Known, prefix: str, problems: list[Problem]) -> tuple[Wanted, ...]:
    wanted = []
    for claim, values in claims.items():
        constants: list[str | int | bool] = []
        templates: list[TextTemplate] = []
        for value in values if isinstance(values, list) else [values]:
            if not isinstance(value, str):
                constants.append(value)
                continue
            try:
                templates.append(compile_text(value, known))
            except TemplateError as error:
                problems += [Problem(path=prefix + claim, message=p.message) for p in error.problems]
        wanted.append(Wanted(claim=claim, constants=tuple(constants), templates=tuple(templates)))
    return tuple(wanted)


def _same(held: object, wanted: object) -> bool:
    return type(held) is type(wanted) and held == wanted
