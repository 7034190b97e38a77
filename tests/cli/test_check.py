"""Check: the tables of a configuration that is fine, and all faults of one that is not."""

import io
import re
from pathlib import Path

import pytest

from bridge.cli.check import print_rules
from bridge.cli.exits import Exit
from bridge.cli.loading import load_project
from bridge.cli.terminal import Terminal
from tests.support.command import run_bridged
from tests.support.daemon import CONFIG, SECRET, edit_config


def test_the_tables_show_each_event_and_command_in_plain_text() -> None:
    """Off a terminal: one line a row, aligned, no colour, the same on every machine."""
    done = run_bridged("check")
    assert done.returncode == Exit.OK
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["EXCHANGE", "KEY", "SCHEMA", "NAMESPACE", "ROOMS", "EVENT"]
    chat = next(line for line in lines if "chat.{project}.message_received" in line)
    assert chat.split() == [
        "portal.events",
        "chat.{project}.message_received",
        "MessageReceived",
        "/chat/{project}",
        "everyone",
        "message_received",
    ]
    assert chat.index("everyone") == lines[0].index("ROOMS")
    send = next(line for line in lines if line.startswith("send_message"))
    assert send.endswith("publishes to portal.commands")
    sync = next(line for line in lines if line.startswith("graph:sync"))
    assert sync.endswith("requests from summit.commands")
    typing = next(line for line in lines if "chat.{project}.typing_start" in line)
    assert typing.endswith("typing_start (live)")
    state = [line for line in lines if "project.{project}.state_change" in line]
    assert [line.endswith("state_change (retained)") for line in state] == [False, True]
    fine = rf"{CONFIG.relative_to(CONFIG.parents[1])} is fine: \d+ routes, \d+ commands, \d+ namespaces\."
    assert re.fullmatch(fine, lines[-1])


class _Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_the_tables_fit_any_terminal_and_are_coloured_there(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No line is longer than the terminal is wide."""
    monkeypatch.setenv("COLUMNS", str(width))
    rules = load_project(CONFIG, None, {"JWT_SECRET": SECRET}).rules
    screen = _Screen()
    print_rules(Terminal(screen, {}), rules)
    assert ("\x1b[1mEXCHANGE" in screen.getvalue()) is (width > 80)  # narrower, there is no header line
    plain = screen.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert max(map(len, plain.splitlines())) <= width
    plain_screen = _Screen()
    print_rules(Terminal(plain_screen, {"NO_COLOR": "1"}), rules)
    assert plain_screen.getvalue() == plain


def test_all_faults_are_listed_each_with_file_path_and_remedy(tmp_path: Path) -> None:
    """One run tells all; the last line counts them."""
    config = edit_config(
        tmp_path,
        portal={
            "namespaces./monitoring.allow": {"permissions": "{nobody}"},
            "errors.events": {"NO_SUCH": {"e": 1}},
        },
    )
    done = run_bridged("check", "-c", str(config), environ={"AMQP_URL": "nonsense"})
    assert done.returncode == Exit.FAULTS
    *faults, empty, summary = done.stdout.splitlines()
    assert empty == ""
    assert summary == f"{config}: {len(faults)} faults"
    assert any(fault.startswith("bridge.yaml: amqp.url: ") for fault in faults)
    assert any("routes/portal.yaml: " in fault and '"nobody"' in fault for fault in faults)
    assert any("routes/portal.yaml: errors.events" in fault and "NO_SUCH" in fault for fault in faults)


def test_a_broken_schema_is_a_fault_among_the_others(tmp_path: Path) -> None:
    """With its file and line."""
    schemas = tmp_path / "schemas"
    schemas.mkdir()
    (schemas / "portal.py").write_text("import msgspec\n\nclass Broken(msgspec.Struct)\n    x: int\n")
    done = run_bridged("check", "--schemas", str(schemas))
    assert done.returncode == Exit.FAULTS
    assert "portal.py" in done.stdout
    assert "3" in done.stdout


def test_a_folder_of_schemas_that_is_not_there_is_said(tmp_path: Path) -> None:
    """Instead of a fault for every schema."""
    done = run_bridged("check", "--schemas", str(tmp_path / "nowhere"))
    assert done.returncode == Exit.FAULTS
    assert "there is no such folder" in done.stderr
