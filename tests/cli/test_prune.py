"""Prune: what no route needs any more is unbound, on a real broker, and nothing else."""

import asyncio
import io
import json
import sys
from pathlib import Path

import aiormq
import pytest

from bridge.cli.bindings import Binding
from bridge.cli.commands import run_command
from bridge.cli.exits import CliError, Exit
from bridge.cli.loading import load_project
from bridge.cli.prune import find_needless
from dev.broker import PrivateBroker
from tests.support.command import run_bridged
from tests.support.daemon import SECRET, Daemon, edit_config

STALE = [
    ("bridge.events", "old.events", "#"),
    ("bridge.events", "portal.events", "project.*.gone"),
    ("bridge.state", "portal.events", "project.*.gone"),
]
"""Queue, exchange and key of what an older configuration has bound."""
KEPT = [("elsewhere", "portal.events", "project.*.gone")]


def bind(url: str, *bindings: tuple[str, str, str], **arguments: str) -> None:
    """Bind what an older version, or somebody else, may have bound."""

    async def work() -> None:
        async with aiormq.connect(url) as connection:
            channel = await connection.channel()
            await channel.queue_declare("elsewhere")
            for queue, exchange, key in bindings:
                await channel.exchange_declare(exchange, exchange_type="topic", durable=True)
                await channel.queue_bind(queue, exchange, key, arguments=arguments or None)

    asyncio.run(work())


def list_bindings(broker: PrivateBroker, environ: dict[str, str]) -> str:
    """As an operator does it."""
    vhost = environ["AMQP_URL"].rpartition("/")[2]
    return broker.rabbitmqctl("list_bindings", "-p", vhost, "--formatter", "json")


def to_rows(text: str) -> set[tuple[str, str, str]]:
    """Queue, exchange and key of each."""
    return {(one["destination_name"], one["source_name"], one["routing_key"]) for one in json.loads(text)}


def test_what_no_route_needs_is_removed_and_the_rest_stays(
    environ: dict[str, str], daemon: Daemon, broker: PrivateBroker
) -> None:
    """First shown, and left as it is; a second time there is nothing to do."""
    assert daemon.started
    needed = to_rows(list_bindings(broker, environ))
    bind(environ["AMQP_URL"], *STALE, *KEPT)
    before = list_bindings(broker, environ)
    without_secret = {**environ, "JWT_SECRET": ""}
    shown = run_bridged("prune", "--dry-run", environ=without_secret, stdin=before)
    assert (shown.returncode, shown.stderr) == (Exit.OK, "")
    assert [tuple(line.split()) for line in shown.stdout.splitlines()[1:4]] == STALE
    assert shown.stdout.endswith("\n3 bindings would be removed.\n")
    assert list_bindings(broker, environ) == before
    done = run_bridged("prune", environ=without_secret, stdin=before)
    assert (done.returncode, done.stderr) == (Exit.OK, "")
    assert done.stdout.endswith("\n3 bindings removed.\n")
    after = list_bindings(broker, environ)
    assert to_rows(after) == needed | {*KEPT, ("elsewhere", "", "elsewhere")}
    assert run_bridged("prune", environ=environ, stdin=after).stdout == "0 bindings removed.\n"


def test_the_list_of_the_management_plugin_will_do(
    environ: dict[str, str], daemon: Daemon, broker: PrivateBroker, tmp_path: Path
) -> None:
    """It may name other virtual hosts, and comes from a file here; arguments are not touched."""
    assert daemon.started
    bind(environ["AMQP_URL"], *STALE)
    bind(environ["AMQP_URL"], STALE[0], for_what="test")
    vhost = environ["AMQP_URL"].rpartition("/")[2]
    listed = [
        {
            "source": one["source_name"],
            "vhost": vhost,
            "destination": one["destination_name"],
            "destination_type": one["destination_kind"],
            "routing_key": one["routing_key"],
            "arguments": {name: value for name, _, value in one["arguments"]},
            "properties_key": "x",
        }
        for one in json.loads(list_bindings(broker, environ))
    ]
    other = {**listed[0], "vhost": "other", "source": "x", "destination": "bridge.events"}
    file = tmp_path / "bindings.json"
    file.write_text(json.dumps([*listed, other]))
    done = run_bridged("prune", str(file), environ=environ)
    assert (done.returncode, done.stderr) == (Exit.OK, "")
    assert done.stdout.splitlines()[-2:] == [
        "3 bindings removed.",
        "1 binding left: it has arguments, which the bridge never gives: remove it by hand",
    ]
    left = to_rows(list_bindings(broker, environ))
    assert STALE[0] in left
    assert left.isdisjoint(STALE[1:])


@pytest.mark.parametrize(
    ("stdin", "code", "words"),
    [
        ("source_name\tsource_kind", Exit.USAGE, "this is no list of bindings in JSON"),
        ("\xff", Exit.USAGE, "this is no list of bindings in JSON"),
        ('[{"source_name": "x"}]', Exit.USAGE, "lacks its source, its destination or its routing key"),
        (" \n", Exit.USAGE, "the list of bindings is empty: did rabbitmqctl fail?"),
        ("[]", Exit.REFUSED, 'no binding of "bridge.events"'),
    ],
)
def test_a_list_of_no_use_is_refused(
    stdin: str, code: Exit, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that makes one; the broker is not asked."""
    monkeypatch.setenv("AMQP_URL", "amqp://127.0.0.1:1/a%20host")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode("latin-1"))))
    assert run_command(["prune"]) == code
    error = capsys.readouterr().err
    assert words in error
    if code is Exit.USAGE:
        assert "rabbitmqctl list_bindings -p 'a host' --formatter json | bridged prune" in error


def test_somebody_at_a_terminal_is_told_what_to_give(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instead of waiting for it to be typed."""
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert run_command(["prune"]) == Exit.USAGE
    assert "--formatter json | bridged prune" in capsys.readouterr().err


def test_a_broker_that_is_away_is_exit_code_3() -> None:
    """When there is something to remove."""
    stale = {"source_name": "old", "destination_name": "bridge.events", "routing_key": "#"}
    environ = {"AMQP_URL": "amqp://127.0.0.1:1/"}
    done = run_bridged("prune", environ=environ, stdin=json.dumps([stale]))
    assert (done.returncode, done.stdout) == (Exit.UNREACHABLE, "")
    assert "cannot be reached" in done.stderr


def test_what_is_gone_already_is_no_error(amqp_url: str) -> None:
    """The list is a little older."""
    stale = {"source_name": "old", "destination_name": "bridge.events", "routing_key": "#"}
    done = run_bridged("prune", environ={"AMQP_URL": amqp_url}, stdin=json.dumps([stale]))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (Exit.OK, "1 binding removed.")


def test_with_a_queue_for_each_instance_those_of_all_are_pruned(tmp_path: Path) -> None:
    """By their prefix; what goes round the log is none of them."""
    config = edit_config(tmp_path, bridge={"amqp.source": "queue"})
    rules = load_project(config, None, {"JWT_SECRET": SECRET}).rules
    needed = [
        Binding(queue="bridge.events.one", exchange=exchange, key=key) for exchange, key in rules.bindings
    ]
    stale = [
        Binding(queue=f"bridge.events.{name}", exchange="old.events", key="#") for name in ("one", "two")
    ]
    others = [Binding(queue="bridge.live.one.x", exchange="bridge.instances", key="all")]
    assert find_needless(rules, [*needed, *stale, *others]) == stale
    with pytest.raises(CliError, match=r'no binding of "bridge\.events\.\*"'):
        find_needless(rules, others)
