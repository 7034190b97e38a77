"""Loads the configuration: `bridge.yaml`, the route files that it includes, and all of their faults."""

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from msgspec import Struct, structs

from bridge.config.decode import decode_section
from bridge.config.merge import MergedNamespace, System, merge_namespaces
from bridge.config.model import Config, Section
from bridge.config.route_model import RouteFile
from bridge.config.source import read_yaml
from bridge.config.variables import substitute_variables
from bridge.errors import ConfigError, Fault

S = TypeVar("S", bound=Section)


class Loaded(Struct, frozen=True, kw_only=True):
    """A configuration as written, free of faults of form."""

    config: Config
    file: str
    """The name of `bridge.yaml`, as faults name it."""
    folder: Path
    """Where it stands."""
    systems: tuple[System, ...]
    """In the order of `include`, each pattern's files sorted by name."""
    namespaces: tuple[MergedNamespace, ...]
    """The namespaces of all systems, merged."""


def load_config(path: Path, environ: Mapping[str, str]) -> Loaded:
    """Read `bridge.yaml` and the files that it includes; raises ConfigError with all faults of all."""
    config, include, faults = _read_config(path, environ)
    files, include_faults = _find_files(path.parent, path.name, include)
    faults += include_faults
    systems: list[System] = []
    for file in files:
        routes, route_faults = _read_section(path.parent / file, file, environ, RouteFile)
        faults += route_faults
        if routes is not None:
            systems.append(System(name=Path(file).stem, file=file, routes=routes))
    faults += _find_equal_names(files)
    namespaces, merge_faults = merge_namespaces(systems)
    faults += merge_faults
    if config is None or faults:
        raise ConfigError(faults)
    return Loaded(
        config=_resolve_paths(config, path.parent),
        file=path.name,
        folder=path.parent,
        systems=tuple(systems),
        namespaces=namespaces,
    )


def _read_config(path: Path, environ: Mapping[str, str]) -> tuple[Config | None, list[str], list[Fault]]:
    """Read `bridge.yaml`; `include` is told apart so that the files are looked at whatever else is wrong."""
    value, faults = read_yaml(path, path.name)
    if value is None:
        return None, [], faults
    value, variable_faults = substitute_variables(value, environ, path.name)
    config, config_faults = decode_section(value, Config, path.name)
    faults += [*variable_faults, *config_faults]
    if config is not None:
        return config, config.include, faults
    include = value.get("include", Config().include) if isinstance(value, dict) else []
    texts = include if isinstance(include, list) else [include]
    return None, [text for text in texts if isinstance(text, str)], faults


def _resolve_paths(config: Config, folder: Path) -> Config:
    """Read the paths of `http.tls` from the configuration's folder, as `include` is read."""
    tls = config.http.tls
    if tls is None:
        return config
    found = structs.replace(tls, certificate=str(folder / tls.certificate), key=str(folder / tls.key))
    return structs.replace(config, http=structs.replace(config.http, tls=found))


def _read_section(
    path: Path, file: str, environ: Mapping[str, str], section: type[S]
) -> tuple[S | None, list[Fault]]:
    value, faults = read_yaml(path, file)
    if value is None:
        return None, faults
    value, variable_faults = substitute_variables(value, environ, file)
    decoded, decode_faults = decode_section(value, section, file)
    return decoded, [*faults, *variable_faults, *decode_faults]


def _find_files(folder: Path, file: str, include: Sequence[str]) -> tuple[list[str], list[Fault]]:
    """Resolve the globs; a file that several of them match is read once."""
    found: dict[str, None] = {}
    faults = []
    for index, pattern in enumerate(include):
        matches = sorted(glob.glob(pattern, root_dir=folder, recursive=True))
        files = [match for match in matches if (folder / match).is_file()]
        if not files:
            message = f'"{pattern}" matches no file in {folder} (correct the pattern, or add the file)'
            faults.append(Fault(file=file, path=f"include[{index}]", message=message))
        found.update(dict.fromkeys(files))
    return list(found), faults


def _find_equal_names(files: Sequence[str]) -> list[Fault]:
    """Find files of one stem: the stem is the system's name, by which its clients are counted."""
    first: dict[str, str] = {}
    faults = []
    for file in files:
        other = first.setdefault(Path(file).stem, file)
        if other != file:
            message = f"has the same name as {other}: a system's name is its file's (rename one)"
            faults.append(Fault(file=file, path="", message=message))
    return faults
