"""Owns `Spot`: somewhere in the configuration; it collects the faults found there and below."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import ParamSpec, TypeVar

from msgspec import Struct

from bridge.errors import Fault
from bridge.rules.scope import TemplateError

P = ParamSpec("P")
T = TypeVar("T")


class Spot(Struct, frozen=True):
    """A key of a file; all spots of one compile share one list of faults."""

    faults: list[Fault]
    file: str
    path: str = ""

    def at(self, *keys: str) -> "Spot":
        """The spot below, by its keys."""
        return Spot(self.faults, self.file, ".".join(key for key in (self.path, *keys) if key))

    def add(self, message: str, inner: str = "") -> None:
        """Note a fault here, or at `inner` below: `data.id` or `[2]`."""
        dot = "." if self.path and inner and not inner.startswith("[") else ""
        self.faults.append(Fault(file=self.file, path=f"{self.path}{dot}{inner}", message=message))

    def attempt(self, compile_: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Compile something; what is wrong with it becomes faults of this spot, and None is returned."""
        try:
            return compile_(*args, **kwargs)
        except TemplateError as error:
            for problem in error.problems:
                self.add(problem.message, problem.path)
        except ValueError as error:
            self.add(str(error))
        return None


def suggest(word: str, known: Iterable[str]) -> str:
    """The words that are known, the nearest first: `known: a, b`."""
    rest = sorted(known)
    near = get_close_matches(word, rest, n=1)
    names = near + [name for name in rest if name not in near]
    return f"known: {', '.join(names)}" if names else "none is known"
