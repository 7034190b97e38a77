"""Invalid: what lies in bridge.invalid is shown and stays there."""

import time

from bridge.cli.exits import Exit
from tests.support.command import run_bridged
from tests.support.daemon import Daemon

BODY = '{"project_name": "apollo\\u001b[31m", "secret": "s3cret"}'


def _publish(environ: dict[str, str], *more: str) -> None:
    done = run_bridged("publish", "portal.events", "project.apollo.state_change", *more, environ=environ)
    assert done.returncode == Exit.OK, done.stderr


def _wait_for(environ: dict[str, str], words: str) -> str:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        done = run_bridged("invalid", environ={**environ, "JWT_SECRET": ""})
        if words in done.stdout:
            assert (done.returncode, done.stderr) == (Exit.OK, "")
            return done.stdout
    raise AssertionError(f"waited in vain for {words}; last: {done.stdout}{done.stderr}")


def test_before_the_daemon_ran_there_is_no_queue(environ: dict[str, str]) -> None:
    """The hint says who makes it."""
    done = run_bridged("invalid", environ=environ)
    assert done.returncode == Exit.REFUSED
    assert 'there is no queue "bridge.invalid"' in done.stderr


def test_invalid_events_are_shown_with_their_reason_and_stay(environ: dict[str, str], daemon: Daemon) -> None:
    """Bodies only on request; the count is the same afterwards, and the order too."""
    empty = run_bridged("invalid", environ=environ)
    assert empty.stdout == "bridge.invalid: 0 events\n"
    _publish(environ, "--body", BODY)
    _publish(environ, "--body", "{no json", "--content-type", "application/json")
    out = _wait_for(environ, "bridge.invalid: 2 events")
    assert "schema  portal.events  project.apollo.state_change" in out
    assert "not_json  portal.events  project.apollo.state_change" in out
    assert "  $.project_name: Expected " in out
    assert "route /portal project.{project}.state_change" in out
    assert "s3cret" not in out
    assert "\x1b" not in out
    shown = run_bridged("invalid", "--body", "--count", "1", environ=environ).stdout
    assert '"secret": "s3cret"' in shown
    assert shown.splitlines()[-1] == "bridge.invalid: 2 events, 1 shown"
    assert run_bridged("invalid", environ=environ).stdout == out
