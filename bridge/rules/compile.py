"""Owns `Rules`, the immutable snapshot of all that was configured, and how it is compiled."""

from collections.abc import Mapping

from msgspec import Struct

from bridge.config.load import Loaded
from bridge.config.model import Config
from bridge.rules.namespaces import NamespaceRules
from bridge.rules.routes import EventRoute
from bridge.rules.schemas import Schemas


class Rules(Struct, frozen=True, kw_only=True):
    """Everything that decides; a reload makes a new one and swaps the reference."""

    config: Config
    namespaces: tuple[NamespaceRules, ...]
    routes: tuple[EventRoute, ...]
    """In the order of the files, for tables."""
    exchanges: tuple[str, ...]
    """All exchanges that are read from or published to; each is topic and durable."""
    bindings: tuple[tuple[str, str], ...]
    """Exchange and AMQP binding key of everything that is read; each pair once."""

    def match_namespace(self, name: str) -> tuple[NamespaceRules, Mapping[str, str]] | None:
        """The rules of a concrete namespace and the words in its name; None when it does not exist."""
        raise NotImplementedError


def compile_rules(loaded: Loaded, schemas: Schemas) -> Rules:
    """Compile a configuration; raises ConfigError with all of its faults."""
    raise NotImplementedError
