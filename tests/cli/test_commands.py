"""The command line as a whole: help, wrong usage, and what a newcomer meets first."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.cli import commands
from bridge.cli.commands import run_command
from bridge.cli.exits import Exit
from tests.support.command import run_bridged
from tests.support.daemon import edit_config


def test_help_lists_every_command_and_the_exit_codes() -> None:
    """Also without any argument."""
    for arguments in (["--help"], []):
        done = run_bridged(*arguments)
        assert done.returncode == 0
        for word in (
            "run",
            "check",
            "explain",
            "token",
            "publish",
            "listen",
            "invalid",
            "prune",
            "docs",
            "Exit codes",
        ):
            assert word in done.stdout


@pytest.mark.parametrize(
    "command", ["run", "check", "explain", "token", "publish", "listen", "invalid", "prune", "docs"]
)
def test_every_command_describes_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With its options."""
    assert run_command([command, "--help"]) == Exit.OK
    out = capsys.readouterr().out
    assert f"Usage: bridged {command}" in out
    assert "--" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lisen"], 'Did you mean "listen"?'),
        (["check", "--bogus"], "--bogus"),
        (["explain"], "routing-key"),
        (["listen", "ftp://x"], "no address of a server"),
        (["listen", "http://localhost/x", "--emit", "a", "{"], "--emit a"),
        (["publish", "e", "k", "--body", "{n: 1}"], "the body is no JSON"),
        (["publish", "e", "k", "--header", "tenant"], "is no header"),
        (["publish", "e", "k", "--body", "@nowhere.json"], "nowhere.json: No such file"),
        (["prune", "nowhere.json"], "nowhere.json: No such file"),
        (["token", "--expires", "soon"], '"soon" is no duration'),
        (["token", "--claim", "tenant"], "is no claim"),
    ],
)
def test_wrong_usage_is_exit_code_2_with_one_message(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On standard error, without a traceback."""
    monkeypatch.setenv("JWT_SECRET", "x" * 32)
    assert run_command(arguments) == Exit.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert "Traceback" not in captured.err


def test_a_config_that_is_not_there_names_the_one_that_is() -> None:
    """So that a typing error costs a second."""
    done = run_bridged("check", "-c", "config/brigde.yaml")
    assert done.returncode == Exit.FAULTS
    assert done.stderr.splitlines() == [
        "bridged: config/brigde.yaml: there is no such file",
        "hint: there is config/bridge.yaml: name it with -c FILE",
    ]


def test_a_folder_is_no_config() -> None:
    """The hint shows the file."""
    done = run_bridged("check", "-c", "config")
    assert (done.returncode, "name the file: -c config/bridge.yaml" in done.stderr) == (Exit.FAULTS, True)


@pytest.mark.parametrize("command", ["run", "check", "token"])
def test_without_a_secret_the_newcomer_learns_how_to_get_one(command: str) -> None:
    """The daemon does not start; the hint names the variable and `make run`."""
    done = run_bridged(command, environ={"JWT_SECRET": ""})
    assert done.returncode == Exit.FAULTS
    text = done.stdout + done.stderr
    assert "set JWT_SECRET to 32 bytes or more" in text
    assert "`make run` makes one in .run/" in text


def test_a_short_secret_is_no_fault() -> None:
    """`run` warns of it: a product that exists may have one."""
    done = run_bridged("check", environ={"JWT_SECRET": "short"})
    assert done.returncode == Exit.OK


@pytest.mark.parametrize(
    "url", ["localhost:5672", "http://localhost/", "amqp:///", "amqp://u:hun#ter2@host/"]
)
def test_a_malformed_broker_address_shows_the_form_and_no_password(url: str) -> None:
    """Before anything is connected to."""
    done = run_bridged("run", environ={"AMQP_URL": url})
    assert done.returncode == Exit.FAULTS
    assert "bridge.yaml: amqp.url:" in done.stderr
    assert "amqp://user:password@host:5672/vhost" in done.stderr or "%23 for #" in done.stderr
    assert "ter2" not in done.stderr


def test_a_syntax_error_names_the_line(tmp_path: Path) -> None:
    """Of the file that holds it."""
    config = edit_config(tmp_path)
    config.write_text("amqp:\n  url: [\nhttp: {port: 1}\n")
    done = run_bridged("check", "-c", str(config))
    assert done.returncode == Exit.FAULTS
    assert "bridge.yaml" in done.stdout
    assert "line 4" in done.stdout


def test_a_port_in_use_is_exit_code_5_and_names_another() -> None:
    """The daemon says which address, and ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = run_bridged(
            "run", environ={"PORT": str(port), "HOST": "127.0.0.1", "AMQP_URL": "amqp://localhost:1/"}
        )
    assert done.returncode == Exit.ADDRESS
    assert f"cannot listen on 127.0.0.1:{port}: the port is in use" in done.stderr
    assert f"PORT={port + 1}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_enough_is_no_error() -> None:
    """`bridged check | head -1` ends without a word on standard error."""
    command = f"{sys.executable} -m bridge docs --output - | head -1"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.stdout == "# Configuration\n"
    assert done.stderr == ""


def test_ctrl_c_while_it_is_loaded_is_exit_code_130() -> None:
    """Without a traceback of imports, which take some tenths of a second."""
    script = """
import os, signal, sys

class CtrlC:
    def find_spec(self, name, path=None, target=None):
        if name == "cyclopts":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, CtrlC())
sys.argv = ["bridged", "--version"]
from bridge.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stdout, done.stderr) == (Exit.INTERRUPTED, "", "")


def test_a_fault_of_the_bridge_is_exit_code_70(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the traceback for the report."""

    def fail(_called: str | None) -> object:
        raise RuntimeError("broken")

    monkeypatch.setattr(commands, "make_app", fail)
    assert run_command([]) == Exit.INTERNAL
    error = capsys.readouterr().err
    assert "RuntimeError: broken" in error
    assert "please report it" in error
