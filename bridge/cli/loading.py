"""Loads what the commands work on: the configuration, its schemas and the compiled rules, with all faults."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from cyclopts import Parameter
from msgspec import Struct

from bridge.amqp.address import OptionError, parse_address
from bridge.auth.settings import find_jwt_faults
from bridge.cli.exits import CliError, Exit
from bridge.config.load import Loaded, load_config
from bridge.config.model import Config
from bridge.errors import BridgeError, ConfigError, Fault
from bridge.rules.compile import Rules, compile_rules
from bridge.rules.schemas import Schemas, load_schemas
from bridge.sockets.trusted_proxies import find_proxy_faults
from bridge.web.client_page import find_page_faults
from bridge.web.tls import make_tls_context

DEFAULT_CONFIG: Final = Path("config/bridge.yaml")

ConfigPath = Annotated[Path, Parameter(name=["--config", "-c"], help="The file bridge.yaml.")]
SchemasPath = Annotated[
    Path | None,
    Parameter(
        name="--schemas", help="Folder of the schemas; without it, `schemas` beside the config's folder."
    ),
]

_STAND_IN: Final = "stands in where no token is verified"


class Project(Struct, frozen=True, kw_only=True):
    """A configuration without faults, ready to run."""

    loaded: Loaded
    rules: Rules


def load_project(config: Path, schemas: Path | None, environ: Mapping[str, str]) -> Project:
    """Load and compile everything; raises ConfigError with all faults, those of the schemas among them."""
    _require_file(config)
    faults: list[Fault] = []
    loaded: Loaded | None = None
    found: Schemas | None = None
    try:
        loaded = load_config(config, environ)
    except ConfigError as error:
        faults += error.faults
    try:
        found = load_schemas(find_schemas(config, schemas))
    except ConfigError as error:
        faults += error.faults
    rules: Rules | None = None
    if loaded is not None:
        faults += find_setting_faults(loaded.config, loaded.file)
        faults += _find_tls_faults(loaded.config, loaded.file)
        faults += find_page_faults(loaded.config.http, loaded.file)
        faults += find_proxy_faults(loaded.config.http, loaded.file)
    if loaded is not None and found is not None:
        try:
            rules = compile_rules(loaded, found)
        except ConfigError as error:
            faults += error.faults
    if faults or loaded is None or rules is None:
        raise ConfigError(list(dict.fromkeys(faults)))  # two checks may have found the same one
    return Project(loaded=loaded, rules=rules)


def load_settings(config: Path, environ: Mapping[str, str]) -> Config:
    """Load the configuration for a command that needs no rules; raises ConfigError."""
    _require_file(config)
    loaded = load_config(config, environ)
    faults = find_setting_faults(loaded.config, loaded.file)
    if faults:
        raise ConfigError(faults)
    return loaded.config


def without_secret(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment for commands that verify no token: they need no `JWT_SECRET`."""
    return {**environ, "JWT_SECRET": environ.get("JWT_SECRET") or _STAND_IN}


def find_schemas(config: Path, schemas: Path | None) -> Path:
    """The folder of the schemas: the one named, else beside the config's folder, else `./schemas`."""
    if schemas is not None:
        if not schemas.is_dir():
            raise CliError(Exit.FAULTS, f"{schemas}: there is no such folder", "--schemas names the folder")
        return schemas
    beside = config.resolve().parent.parent / "schemas"
    return beside if beside.is_dir() else Path("schemas")


def find_setting_faults(config: Config, file: str) -> list[Fault]:
    """What is wrong with values that no type describes: the broker's address and the keys of tokens."""
    faults = []
    message = explain_bad_url(config.amqp.url)
    if message is not None:
        faults.append(Fault(file=file, path="amqp.url", message=message))
    for key, message in find_jwt_faults(config.auth.jwt):
        faults.append(Fault(file=file, path=f"auth.jwt.{key}", message=message))
    return faults


def _find_tls_faults(config: Config, file: str) -> list[Fault]:
    if config.http.tls is not None:
        try:
            make_tls_context(config.http.tls, file)
        except ConfigError as error:
            return error.faults
    return []


def explain_bad_url(url: str) -> str | None:
    """Why this is no AMQP address, without showing its password; None when it is one."""
    shown = re.sub(r"(?<=://).*@", "***@", url)
    form = "write amqp://user:password@host:5672/vhost"
    if "#" in url or "?" in url.rpartition("@")[0]:
        return f'"{shown}" holds a raw # or ? (in a password, write %23 for # and %3F for ?)'
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # What stands where the port should be may be a password.
        shown = shown if "@" in url else f"{url.partition('://')[0]}://..."
        return f'"{shown}" has no valid port ({form}; in a password, write %2F for /)'
    if parts.scheme not in {"amqp", "amqps"} or not url.startswith(f"{parts.scheme}://"):
        return f'"{shown}" is no address of a broker ({form})'
    if not parts.hostname or port == 0:
        return f'"{shown}" names no host ({form})'
    try:
        parse_address(url)
    except OptionError as error:
        return f'"{shown}" {error.words}'
    except BridgeError:
        return f'"{shown}" is no address of a broker ({form})'
    return None


def _require_file(config: Path) -> None:
    if config.is_file():
        return
    if config.is_dir():
        raise CliError(Exit.FAULTS, f"{config} is a folder", f"name the file: -c {config / 'bridge.yaml'}")
    near = sorted(
        {str(path) for folder in (config.parent, Path("config")) for path in folder.glob("bridge*.y*ml")}
    )
    hint = f"there is {', '.join(near)}: name it with -c FILE" if near else "name the file with -c FILE"
    raise CliError(Exit.FAULTS, f"{config}: there is no such file", hint)
