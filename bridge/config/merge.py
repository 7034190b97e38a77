"""Merges the namespaces of all route files: files may share a namespace, but not contradict each other."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from bridge.config.route_model import Namespace, OnConnect, RouteFile
from bridge.errors import Fault


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


_WORD: Final = re.compile(r"\{[^{}]*\}")


def merge_namespaces(systems: Sequence[System]) -> tuple[tuple[MergedNamespace, ...], list[Fault]]:
    """Group the namespaces of all systems by pattern; a clash is a fault that names both files."""
    parts: dict[str, list[NamespacePart]] = {}
    patterns: dict[str, tuple[str, str]] = {}
    faults: list[Fault] = []
    for system in systems:
        for pattern, namespace in system.routes.namespaces.items():
            other, file = patterns.setdefault(_WORD.sub("{}", pattern), (pattern, system.file))
            if other != pattern:
                message = f'means the same namespaces as "{other}" in {file} (give the words the same names)'
                faults.append(_fault(system, pattern, message))
                continue
            parts.setdefault(pattern, []).append(NamespacePart(system=system, namespace=namespace))
    merged = []
    for pattern, found in parts.items():
        faults += _find_clashes(pattern, found)
        stating = [part for part in found if next(_stated(part.namespace), None) is not None]
        merged.append(MergedNamespace(pattern=pattern, owner=(stating or found)[0], parts=tuple(found)))
    return tuple(merged), faults


def _stated(namespace: Namespace) -> Iterator[str]:
    """Yield the keys, of those that only one file may state, that this file states."""
    if namespace.auth is not None:
        yield "auth"
    if namespace.limits is not None:
        yield "limits"
    if namespace.errors is not None:
        yield "errors"
    if namespace.allow != {}:
        yield "allow"
    if namespace.on_connect != OnConnect():
        yield "on_connect"


def _find_clashes(pattern: str, parts: list[NamespacePart]) -> Iterator[Fault]:
    owner: NamespacePart | None = None
    entries: dict[tuple[str, ...], str] = {}
    for part in parts:
        file = part.system.file
        stated = list(_stated(part.namespace))
        if stated and owner is not None:
            for key in stated:
                message = (
                    f"{owner.system.file} already says who may use this namespace (write it in one file)"
                )
                yield _fault(part.system, f"{pattern}.{key}", message)
        elif stated:
            owner = part
        for entry in _entries(part):
            other = entries.setdefault(entry, file)
            if other != file:
                message = f"stands in {other} too (keep one of them)"
                yield _fault(part.system, f"{pattern}.{entry[0]}.{entry[-1]}", message)


def _entries(part: NamespacePart) -> Iterator[tuple[str, ...]]:
    namespace = part.namespace
    yield from (("commands", command) for command in namespace.commands)
    yield from (("rooms", room) for room in namespace.rooms)
    yield from (("events", part.system.routes.exchange, key) for key in namespace.events)


def _fault(system: System, path: str, message: str) -> Fault:
    return Fault(file=system.file, path=f"namespaces.{path}", message=message)
