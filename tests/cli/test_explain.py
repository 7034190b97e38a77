"""Explain: what becomes of a routing key, or exactly why nothing."""

import json
from pathlib import Path

from bridge.cli.exits import Exit
from tests.support.command import run_bridged

KEY = "project.apollo.state_change"
BODY = {
    "project_name": "apollo",
    "old_state": "IDLE",
    "new_state": "PLANNING",
    "timestamp": "2026-01-01T00:00:00Z",
    "triggered_by": "ada",
    "internal": "never shown",
}


def test_it_shows_the_routes_and_the_payload_as_a_browser_gets_it(tmp_path: Path) -> None:
    """Without broker and without secret; what the schema does not name is gone."""
    file = tmp_path / "body.json"
    file.write_text(json.dumps(BODY))
    for body in (str(file), f"@{file}", json.dumps(BODY)):
        done = run_bridged("explain", KEY, "--body", body, environ={"JWT_SECRET": ""})
        assert (done.returncode, done.stderr) == (Exit.OK, "")
        out = done.stdout
        assert "binding    portal.events  project.*.state_change" in out
        assert "words      project = apollo" in out
        assert "namespace  /project/apollo" in out
        assert "rooms      project:apollo, watch:state_change:apollo, watch:state_change:*" in out
        assert "rooms      everyone in the namespace" in out
        assert '"new_state": "PLANNING"' in out
        assert "internal" not in out
        assert out.splitlines()[-1] == f"2 routes take {KEY}."


def test_it_says_what_goes_round_the_log() -> None:
    """Such as who is typing."""
    done = run_bridged("explain", "chat.apollo.typing_start")
    assert "way        live: round the log, nothing is kept" in done.stdout


def test_it_says_what_is_retained() -> None:
    """In one namespace, and not in another."""
    done = run_bridged("explain", KEY)
    assert done.stdout.count("kept       retained: the last value is for whoever joins later") == 1
    assert "live:" not in run_bridged("explain", "chat.apollo.message_received").stdout


def test_a_body_may_come_from_standard_input() -> None:
    """`-` reads it."""
    done = run_bridged("explain", KEY, "--body", "-", stdin=json.dumps(BODY))
    assert '"triggered_by": "ada"' in done.stdout


def test_without_a_body_it_shows_what_the_key_decides() -> None:
    """And says what is missing."""
    done = run_bridged("explain", "monitoring.agent_activity")
    assert done.returncode == Exit.OK
    assert "(they depend on the body) watch:agent_activity:{body.project_name}" in done.stdout
    assert "give --body" in done.stdout


def test_a_body_that_does_not_fit_is_exit_code_1_and_says_where() -> None:
    """The same words that land in bridge.invalid."""
    done = run_bridged("explain", KEY, "--body", json.dumps(BODY | {"triggered_by": 7}))
    assert done.returncode == Exit.FAULTS
    assert "$.triggered_by" in done.stdout
    assert done.stdout.splitlines()[-1] == f"2 routes take {KEY}; 2 of them cannot use it."


def test_a_key_that_no_route_takes_shows_the_nearest() -> None:
    """With the word that differs."""
    done = run_bridged("explain", "project.apollo.stat_change")
    assert done.returncode == Exit.FAULTS
    assert "No route takes project.apollo.stat_change (" in done.stdout
    assert 'word 3 is "stat_change", not "state_change"' in done.stdout


def test_an_exchange_that_nothing_is_read_from_is_said() -> None:
    """It is the first thing to get wrong."""
    done = run_bridged("explain", KEY, "--exchange", "portal.evnts")
    assert done.returncode == Exit.FAULTS
    assert "No events are read from the exchange portal.evnts." in done.stdout


def test_a_hostile_key_cannot_steer_the_terminal() -> None:
    """Escape sequences are shown, not sent."""
    done = run_bridged("explain", "a\x1b[31m.b", "--body", '{"x": "\\u001b[0m"}')
    assert "\x1b" not in done.stdout
