"""`bridged check`: every fault of a configuration, or the table of what it does."""

import os
import sys

from bridge.cli.exits import Exit
from bridge.cli.faults import print_faults
from bridge.cli.loading import DEFAULT_CONFIG, ConfigPath, SchemasPath, load_project
from bridge.cli.tables import Table
from bridge.cli.terminal import Terminal
from bridge.errors import ConfigError
from bridge.rules.compile import Rules
from bridge.rules.routes import EventRoute


def check(*, config: ConfigPath = DEFAULT_CONFIG, schemas: SchemasPath = None) -> int:
    """Say whether a configuration is fine: all of its faults, or a table of its routes and commands.

    It connects to nothing. The exit code is 1 when there are faults.
    """
    terminal = Terminal(sys.stdout)
    try:
        project = load_project(config, schemas, os.environ)
    except ConfigError as error:
        print_faults(terminal, error.faults, str(config))
        return Exit.FAULTS
    print_rules(terminal, project.rules)
    terminal.print(terminal.green(f"{config} is fine: {_count(project.rules)}."))
    return Exit.OK


def print_rules(terminal: Terminal, rules: Rules) -> None:
    """Print the events in the order of the files, then the commands."""
    for table in (make_event_table(rules), make_command_table(rules)):
        table.print(terminal)


def make_event_table(rules: Rules) -> Table:
    """Where each event comes from and who receives it under which name."""
    rows = [
        (
            route.exchange,
            route.key.text,
            route.schema or "(binary)",
            route.namespace,
            ", ".join(route.rooms) or "everyone",
            route.event + _describe_way(route),
        )
        for route in rules.routes
    ]
    return Table(("EXCHANGE", "KEY", "SCHEMA", "NAMESPACE", "ROOMS", "EVENT"), rows)


def _describe_way(route: EventRoute) -> str:
    if route.live:
        return " (live)"
    return " (retained)" if route.retain else ""


def make_command_table(rules: Rules) -> Table:
    """What clients may send, and what becomes of it."""
    rows = []
    for namespace in rules.namespaces:
        for command in namespace.commands.values():
            does = [
                word
                for word, part in (
                    ("joins", command.join),
                    ("leaves", command.leave),
                    ("emits", command.emit),
                )
                if part is not None
            ]
            if command.publish is not None:
                verb = "publishes to" if command.publish.timeout is None else "requests from"
                does.insert(0, f"{verb} {command.publish.exchange}")
            rows.append(
                (command.name, command.schema or "(none)", namespace.pattern, ", ".join(does) or "acks")
            )
    return Table(("COMMAND", "SCHEMA", "NAMESPACE", "DOES"), rows)


def _count(rules: Rules) -> str:
    numbers = (
        (len(rules.routes), "route"),
        (sum(len(namespace.commands) for namespace in rules.namespaces), "command"),
        (len(rules.namespaces), "namespace"),
    )
    return ", ".join(f"{number} {noun}" if number == 1 else f"{number} {noun}s" for number, noun in numbers)
