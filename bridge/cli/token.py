"""`bridged token`: makes a token for trying things out."""

import os
import sys
import time
from typing import Annotated

import msgspec
from cyclopts import Parameter

from bridge.auth.tokens import sign
from bridge.cli.exits import CliError, Exit
from bridge.cli.faults import SIGNING_KEY_HINT
from bridge.cli.loading import DEFAULT_CONFIG, ConfigPath, load_settings
from bridge.cli.terminal import Terminal
from bridge.config.units import Duration

_List = Annotated[list[str] | None, Parameter(negative=(), consume_multiple=True)]


def token(
    *,
    user: str = "me",
    projects: _List = None,
    permissions: _List = None,
    roles: _List = None,
    claim: Annotated[list[str] | None, Parameter(negative=())] = None,
    expires: str = "1h",
    config: ConfigPath = DEFAULT_CONFIG,
) -> int:
    """Print a token, signed with the secret of the configuration (`JWT_SECRET`), and nothing else.

    Lists are given one by one or with commas: `--projects apollo,gemini`, or `--projects '*'` for all.

    Parameters
    ----------
    user
        The user that the token names.
    projects
        The claim `projects`: what the user may see.
    permissions
        The claim `permissions`, such as `approvals:write`.
    roles
        The claim `roles`, such as `admin`.
    claim
        Any other claim, as `name=value`; a value that is JSON is taken as JSON.
    expires
        How long it holds: `10s`, `5m`, `2h`, `1d`.
    """
    jwt = load_settings(config, os.environ).auth.jwt
    claims: dict[str, object] = {jwt.user: user}
    for name, values in (("projects", projects), ("permissions", permissions), ("roles", roles)):
        if values:
            claims[name] = [part for value in values for part in value.split(",") if part]
    claims |= dict(parse_claim(text) for text in claim or [])
    lifetime = _parse_lifetime(expires)
    try:
        signed = sign(jwt, claims, now=time.time(), lifetime=lifetime)
    except ValueError as error:
        raise CliError(Exit.FAULTS, str(error), SIGNING_KEY_HINT) from error
    Terminal(sys.stdout).print(signed)
    return Exit.OK


def parse_claim(text: str) -> tuple[str, object]:
    """Take `name=value` apart; the value is JSON if it reads as JSON, else text."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise CliError(Exit.USAGE, f'"{text}" is no claim', "write --claim tenant=acme")
    try:
        return name, msgspec.json.decode(value)
    except ValueError:
        return name, value


def _parse_lifetime(text: str) -> Duration:
    try:
        return Duration(text)
    except ValueError as error:
        raise CliError(Exit.USAGE, f"--expires: {error}") from error
