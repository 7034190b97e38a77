"""Listen: a client in the terminal, on a real daemon."""

import asyncio
import io
import json

import pytest

from bridge.cli.exits import CliError, Exit
from bridge.cli.listen import Listener, parse_address
from bridge.cli.terminal import Terminal
from tests.support.command import RunningCommand, run_bridged
from tests.support.daemon import Daemon, free_port, make_token

EVENT = {
    "project_name": "apollo",
    "old_state": "IDLE",
    "new_state": "PLANNING",
    "timestamp": "2026-01-01T00:00:00Z",
    "triggered_by": "ada",
}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:8000/project/apollo", ("http://localhost:8000", "/project/apollo")),
        ("https://portal.example", ("https://portal.example", "/")),
        ("localhost:8000/portal/", ("http://localhost:8000", "/portal")),
        ("ws://h/chat?token=x", ("ws://h?token=x", "/chat")),
    ],
)
def test_the_path_of_the_address_is_the_namespace(url: str, expected: tuple[str, str]) -> None:
    """As in the official client."""
    assert parse_address(url) == expected


def test_another_scheme_is_no_server() -> None:
    """The hint shows one that is."""
    with pytest.raises(CliError, match="no address of a server"):
        parse_address("amqp://localhost/")


def test_it_prints_each_event_as_one_line(environ: dict[str, str], daemon: Daemon) -> None:
    """Time, name, payload; and it ends after `--count` events."""
    token = make_token("ada", projects=["apollo"])
    address = f"{daemon.url}/project/apollo"
    with RunningCommand("listen", address, "--token", token, "--count", "1") as listener:
        assert listener.read_line().split("  ")[1:] == ["connected", "/project/apollo"]
        done = run_bridged(
            "publish",
            "portal.events",
            "project.apollo.state_change",
            "--body",
            json.dumps(EVENT),
            environ=environ,
        )
        assert done.returncode == Exit.OK
        _time, name, payload = listener.read_line().split("  ")
        assert name == "state_change"
        assert json.loads(payload) == EVENT
        assert listener.wait() == Exit.OK


def test_its_help_shows_what_a_command_takes() -> None:
    """Two words, by name."""
    assert "--emit EVENT JSON: " in run_bridged("listen", "--help").stdout


def test_it_sends_commands_and_prints_their_answers(daemon: Daemon) -> None:
    """The ack, and the event that answers."""
    command = json.dumps({"project_name": "apollo"})
    token = make_token("ada", projects=["apollo"])
    done = run_bridged(
        *("listen", f"{daemon.url}/portal", "--token", token, "--count", "1"),
        *("--emit", "join_project", command, "--emit", "leave_project", command),
    )
    assert done.returncode == Exit.OK, done.stderr
    lines = {line.split("  ")[1]: line.split("  ")[2] for line in done.stdout.splitlines()}
    assert json.loads(lines["ack of join_project"])["status"] == "ok"
    assert json.loads(lines["joined_project"])["active_users"] == 1
    assert json.loads(lines["ack of leave_project"])["status"] == "ok"


def test_a_refused_namespace_is_exit_code_4_with_the_servers_words(daemon: Daemon) -> None:
    """And the code."""
    token = make_token("ada", projects=["gemini"])
    done = run_bridged("listen", f"{daemon.url}/project/apollo", "--token", token)
    assert done.returncode == Exit.REFUSED
    assert "/project/apollo is refused: " in done.stderr
    assert "(FORBIDDEN)" in done.stderr
    assert "--projects" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_namespace_that_is_not_there_is_no_matter_of_tokens(daemon: Daemon) -> None:
    """The hint names the command that lists them."""
    done = run_bridged("listen", f"{daemon.url}/nowhere", "--token", make_token("ada"))
    assert done.returncode == Exit.REFUSED
    assert "(UNKNOWN_NAMESPACE)" in done.stderr
    assert "bridged check" in done.stderr
    assert "bridged token" not in done.stderr


def test_who_forgot_the_token_is_told_so_where_one_may_sign_in_late(daemon: Daemon) -> None:
    """The connection succeeds at first; the server ends it, and the hint says what it lacked."""
    attempts = ["--emit", "authenticate", '{"token": "none"}'] * 5  # after which nobody need wait 10 s
    done = run_bridged("listen", f"{daemon.url}/project/apollo", *attempts)
    assert "connected" in done.stdout
    assert done.returncode == Exit.REFUSED
    assert "had no token" in done.stderr
    assert "bridged token" in done.stderr


def test_a_server_that_is_not_there_is_exit_code_3() -> None:
    """With the question that helps."""
    done = run_bridged("listen", f"http://127.0.0.1:{free_port()}/portal")
    assert done.returncode == Exit.UNREACHABLE
    assert "is the daemon running?" in done.stderr


def test_ctrl_c_ends_it_without_a_traceback(daemon: Daemon) -> None:
    """Exit code 130."""
    token = make_token("ada", projects=["apollo"])
    with RunningCommand("listen", f"{daemon.url}/portal", "--token", token) as listener:
        listener.read_line()
        listener.interrupt()
        assert listener.wait() == Exit.INTERRUPTED
        assert listener.read_line() == ""


@pytest.mark.parametrize("turns", range(8))
async def test_ctrl_c_just_as_it_connects(daemon: Daemon, turns: int) -> None:
    """In whatever turn of the loop it comes, once is enough."""
    loop = asyncio.get_running_loop()

    class Interrupting(io.StringIO):
        def flush(self) -> None:
            later(turns)

    def later(left: int) -> None:
        if left:
            loop.call_soon(later, left - 1)
        else:
            running.cancel()

    listener = Listener(Terminal(Interrupting()), "/portal", None)
    token = make_token("ada", projects=["apollo"])
    running = asyncio.ensure_future(listener.run(daemon.url, "/socket.io", token, []))
    async with asyncio.timeout(10):
        await asyncio.wait([running])
    assert running.cancelled()


def test_it_ends_when_nobody_reads_its_output_any_more(environ: dict[str, str], daemon: Daemon) -> None:
    """As in `bridged listen ... | head`: at the next line, with exit code 0."""
    token = make_token("ada", projects=["apollo"])
    with RunningCommand("listen", f"{daemon.url}/project/apollo", "--token", token) as listener:
        assert listener.read_line().endswith("/project/apollo")
        listener.hang_up()
        done = run_bridged(
            *("publish", "portal.events", "project.apollo.state_change", "--body", json.dumps(EVENT)),
            environ=environ,
        )
        assert done.returncode == Exit.OK
        assert listener.wait() == Exit.OK
