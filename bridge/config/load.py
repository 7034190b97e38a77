"""Loads the configuration: `bridge.yaml`, the route files that it includes, and all of their faults."""

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from bridge.config.model import Config, Namespace, RouteFile


class System(Struct, frozen=True, kw_only=True):
    """One route file."""

    name: str
    """The file's stem."""
    file: str
    """Relative to the configuration's folder."""
    routes: RouteFile


class NamespacePart(Struct, frozen=True, kw_only=True):
    """What one system says of a namespace."""

    system: System
    namespace: Namespace


class MergedNamespace(Struct, frozen=True, kw_only=True):
    """One namespace over all files: events, commands and rooms are of all parts, the rest is the owner's."""

    pattern: str
    owner: NamespacePart
    """The part whose auth, limits, errors, allow and on_connect hold: at most one file may state them."""
    parts: tuple[NamespacePart, ...]
    """In the order of the files, the owner among them."""


class Loaded(Struct, frozen=True, kw_only=True):
    """A configuration as written, free of faults of form."""

    config: Config
    file: str
    """The name of `bridge.yaml`, as faults name it."""
    folder: Path
    """Where it stands."""
    systems: tuple[System, ...]
    namespaces: tuple[MergedNamespace, ...]


def load_config(path: Path, environ: Mapping[str, str]) -> Loaded:
    """Read `bridge.yaml` and the files that it includes; raises ConfigError with every fault of all of them."""
    raise NotImplementedError
