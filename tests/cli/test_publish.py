"""Publish: the truth about one message, on a real broker."""

import json

from bridge.cli.exits import Exit
from tests.support.command import run_bridged
from tests.support.daemon import Daemon, free_port

EVENT = json.dumps({"project_name": "apollo"})


def test_before_the_daemon_ran_there_is_no_exchange(environ: dict[str, str]) -> None:
    """The hint says who makes it."""
    done = run_bridged("publish", "portal.events", "project.apollo.x", environ=environ)
    assert done.returncode == Exit.REFUSED
    assert 'there is no exchange "portal.events"' in done.stderr
    assert "the daemon declares" in done.stderr


def test_a_message_is_confirmed_with_its_id(environ: dict[str, str], daemon: Daemon) -> None:
    """Once a daemon listens; no secret is needed."""
    done = run_bridged(
        *("publish", "portal.events", "project.apollo.state_change", "--body", EVENT, "--message-id", "m-1"),
        *("--header", "tenant=acme"),
        environ={**environ, "JWT_SECRET": ""},
    )
    assert (done.returncode, done.stderr) == (Exit.OK, "")
    assert done.stdout == "confirmed: portal.events project.apollo.state_change (message id m-1)\n"


def test_a_key_that_nobody_listens_to_is_refused(environ: dict[str, str], daemon: Daemon) -> None:
    """Mandatory: the message does not vanish silently."""
    done = run_bridged("publish", "portal.events", "nobody.listens", environ=environ)
    assert done.returncode == Exit.REFUSED
    assert "nobody listens to nobody.listens" in done.stderr


def test_a_broker_that_is_away_is_exit_code_3_without_a_password() -> None:
    """The message names host and port, and no library adds its own."""
    port = free_port()
    url = f"amqp://user:hunter2@127.0.0.1:{port}/"
    done = run_bridged("publish", "portal.events", "a.b", environ={"AMQP_URL": url})
    assert done.returncode == Exit.UNREACHABLE
    assert done.stderr.splitlines() == [
        f"bridged: RabbitMQ on 127.0.0.1:{port} cannot be reached",
        "hint: is it running? AMQP_URL says where it is",
    ]


def test_a_wrong_password_is_refused(environ: dict[str, str]) -> None:
    """And told apart from a broker that is away."""
    scheme, _, rest = environ["AMQP_URL"].partition("://")
    url = f"{scheme}://guest:wrong@{rest.partition('@')[2] or rest}"
    done = run_bridged("publish", "portal.events", "a.b", environ={"AMQP_URL": url})
    assert done.returncode == Exit.REFUSED
    assert "refuses the user or the password" in done.stderr
    assert "wrong@" not in done.stderr


def test_a_virtual_host_that_is_not_there_is_said(environ: dict[str, str]) -> None:
    """By its name."""
    done = run_bridged("publish", "e", "k", environ={"AMQP_URL": environ["AMQP_URL"] + "-nowhere"})
    assert done.returncode == Exit.REFUSED
    assert "has no virtual host" in done.stderr
    assert "-nowhere" in done.stderr
