"""Compiles small configurations and the shipped one for tests of the rules, and sends commands to them."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import msgspec

from bridge.config.load import load_config
from bridge.errors import ConfigError
from bridge.model import Argument, Command, Delivery, Principal, Refuse
from bridge.rules.command_plan import CommandPlan, plan_command
from bridge.rules.compile import Rules, compile_rules
from bridge.rules.event_plan import EventPlan, plan_event, plan_live
from bridge.rules.schemas import load_schemas

ROOT = Path(__file__).parent.parent.parent
SECRET = "of-tests-and-at-least-32-bytes-long"

BODIES = """
    from msgspec import UNSET, Struct, UnsetType

    class Order(Struct):
        id: str
        lines: list[str] = []
        note: str | None | UnsetType = UNSET

    class Place(Struct, forbid_unknown_fields=True):
        name: str
        note: str | None | UnsetType = UNSET
"""
"""The module `shop` of the schemas folder, unless a test brings its own."""


def compile_project(
    folder: Path,
    routes: str | Mapping[str, str],
    *,
    bodies: str = BODIES,
    config: str = "",
    secret: str = SECRET,
) -> Rules:
    """Compile `routes/shop.yaml` (or files by name) and the module `shop` of a new folder."""
    files = {"shop": routes} if isinstance(routes, str) else routes
    (folder / "config" / "routes").mkdir(parents=True, exist_ok=True)
    (folder / "schemas").mkdir(exist_ok=True)
    auth = f"auth: {{jwt: {{secret: '{secret}'}}}}\n" if "auth:" not in config else ""
    (folder / "config" / "bridge.yaml").write_text(auth + dedent(config))
    for name, text in files.items():
        (folder / "config" / "routes" / f"{name}.yaml").write_text(dedent(text))
    (folder / "schemas" / "shop.py").write_text(dedent(bodies))
    return compile_rules(load_config(folder / "config" / "bridge.yaml", {}), load_schemas(folder / "schemas"))


def find_faults(
    folder: Path,
    routes: str | Mapping[str, str],
    *,
    bodies: str = BODIES,
    config: str = "",
    secret: str = SECRET,
) -> list[str]:
    """The faults of such a project, as `bridged check` prints them."""
    try:
        compile_project(folder, routes, bodies=bodies, config=config, secret=secret)
    except ConfigError as error:
        return [str(fault) for fault in error.faults]
    return []


def compile_shipped() -> Rules:
    """The configuration as it is shipped."""
    loaded = load_config(ROOT / "config" / "bridge.yaml", {"JWT_SECRET": SECRET})
    return compile_rules(loaded, load_schemas(ROOT / "schemas"))


def deliver(key: str, body: object = None, *, exchange: str = "shop.events", **fields: Any) -> Delivery:
    """A delivery whose body is JSON, or the bytes as they are."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return msgspec.structs.replace(Delivery(exchange=exchange, routing_key=key, body=raw), **fields)


def plan_anyhow(rules: Rules, delivery: Delivery) -> EventPlan:
    """Plan a delivery as one that came through the log, or, where no route takes it there, round it."""
    plan = plan_event(rules, delivery, 0.0)
    return plan if plan.routed else plan_live(rules, delivery, 0.0)


def to_json(args: tuple[Argument, ...]) -> list[object]:
    """What a browser makes of an event's arguments."""
    return [arg if isinstance(arg, bytes) else msgspec.json.decode(arg) for arg in args]


def sign_in(user: str = "ann", **claims: object) -> Principal:
    """A user with a verified token."""
    return Principal(user=user, claims={"sub": user, **claims})


def send(
    rules: Rules, namespace: str, event: str, *args: object, principal: Principal | None = None
) -> CommandPlan | Refuse:
    """Plan a command as the flow does; bytes are binary arguments."""
    found = rules.match_namespace(namespace)
    assert found is not None
    raw = tuple(arg if isinstance(arg, bytes) else msgspec.Raw(msgspec.json.encode(arg)) for arg in args)
    return plan_command(
        found[0],
        found[1],
        principal or sign_in(),
        Command(event=event, args=raw),
        sid="sid-1",
        now=1_700_000_000.5,
        message_id="message-1",
    )
