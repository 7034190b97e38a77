"""How refusals look: merged from file, namespace and command."""

from pathlib import Path

import pytest

from bridge.errors import Code
from bridge.model import Refuse
from bridge.rules.command_plan import client_scope, render_refusal, render_refusal_ack
from bridge.rules.compile import Rules
from bridge.rules.namespaces import NamespaceRules
from tests.support.rules import compile_project, find_faults, sign_in, to_json

ROUTES = """
exchange: shop.events
commands_exchange: shop.commands
errors:
  always: true
  names: {FORBIDDEN: NO_ENTRY, RATE_LIMITED: TOO_FAST}
  events:
    "*": {error: {code: "{error.code}"}}
    RATE_LIMITED: {slow: {wait: "{error.retry_after}"}}
namespaces:
  /plain:
    commands: {go: {}}
  /own:
    errors:
      names: {FORBIDDEN: OWN, "*": OTHER}
      ack: {status: bad, error_code: "{error.code}", error_message: "{error.message}"}
    commands:
      go: {}
      quiet:
        errors: {always: false, events: {"*": {quiet:error: {code: "{error.code}"}}}, ack: "{error.code}"}
      named: {errors: {names: {"*": FAILED}, messages: {UNROUTABLE: Later}}}
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    """A shop that refuses in many ways."""
    return compile_project(tmp_path_factory.mktemp("shop"), ROUTES)


def find(rules: Rules, name: str) -> NamespaceRules:
    """The rules of a namespace."""
    found = rules.match_namespace(name)
    assert found is not None
    return found[0]


def look(namespace: NamespaceRules, event: str, code: Code) -> tuple[str, object, object]:
    """The event's name and payload, and the ack, of a refusal."""
    refuse = Refuse(code=code, message="No", retry_after=1.5 if code is Code.RATE_LIMITED else None)
    scope = client_scope({}, sign_in(), sid="s", now=0.0)
    name, args = render_refusal(namespace, refuse, scope, event)
    return name, to_json(args)[0], to_json(render_refusal_ack(namespace, refuse, scope, event))[0]


def test_a_file_speaks_for_its_namespaces(rules: Rules) -> None:
    """Also for events that are no commands; an ack has its usual shape, with the names of codes."""
    plain = find(rules, "/plain")
    assert plain.errors.always
    for event in ("go", "nothing", ""):
        assert look(plain, event, Code.FORBIDDEN) == (
            "error",
            {"code": "NO_ENTRY"},
            {"status": "error", "code": "NO_ENTRY", "message": "No"},
        )
    assert look(plain, "go", Code.RATE_LIMITED) == (
        "slow",
        {"wait": 1.5},
        {"status": "error", "code": "TOO_FAST", "message": "No", "retry_after": 1.5},
    )
    assert look(plain, "go", Code.UNROUTABLE)[1] == {"code": "UNROUTABLE"}


def test_a_namespace_goes_over_its_file_code_by_code(rules: Rules) -> None:
    """What it does not name stays; a code of its own wins over `*`, wherever it stands."""
    own = find(rules, "/own")
    assert own.errors_of("go").always
    ack = {"status": "bad", "error_code": "OWN", "error_message": "No"}
    assert look(own, "go", Code.FORBIDDEN) == ("error", {"code": "OWN"}, ack)
    assert look(own, "go", Code.RATE_LIMITED)[:2] == ("slow", {"wait": 1.5})
    assert look(own, "go", Code.RATE_LIMITED)[2] == {**ack, "error_code": "TOO_FAST"}
    assert look(own, "go", Code.UNROUTABLE)[1] == {"code": "OTHER"}


def test_a_command_goes_over_its_namespace(rules: Rules) -> None:
    """In each key of its own alone."""
    own = find(rules, "/own")
    assert not own.errors_of("quiet").always
    assert look(own, "quiet", Code.FORBIDDEN) == ("quiet:error", {"code": "OWN"}, "OWN")
    assert own.errors_of("named").always
    assert look(own, "named", Code.UNROUTABLE) == (
        "error",
        {"code": "FAILED"},
        {"status": "bad", "error_code": "FAILED", "error_message": "Later"},
    )


@pytest.mark.parametrize(
    ("errors", "place", "text"),
    [
        ("{names: {FORBIDEN: A}}", "names.FORBIDEN: ", 'unknown code "FORBIDEN" (known: FORBIDDEN'),
        ("{names: {FORBIDDEN: ''}}", "names.FORBIDDEN: ", "is no word for clients"),
        ("{messages: {FORBIDDEN: ''}}", "messages.FORBIDDEN: ", "is empty"),
        ("{messages: {NOPE: a}}", "messages.NOPE: ", 'unknown code "NOPE"'),
        ("{events: {NOPE: {error: 1}}}", "events.NOPE: ", 'unknown code "NOPE"'),
        ("{events: {'*': {connect: 1}}}", "events.*: ", "is reserved"),
        ("{ack: '{error.kode}'}", "ack: ", 'unknown name "kode"'),
        ("{ack: '{body.id}'}", "ack: ", 'unknown word "body"'),
    ],
)
@pytest.mark.parametrize("level", ["file", "namespace", "command"])
def test_misuse_is_told_at_every_level(
    tmp_path: Path, errors: str, place: str, text: str, level: str
) -> None:
    """Once, with its place."""
    at = {"file": "", "namespace": "namespaces./a.", "command": "namespaces./a.commands.go."}[level]
    said = {"file": "", "namespace": "", "command": ""} | {level: f"errors: {errors}"}
    routes = f"""
exchange: shop.events
{said["file"]}
namespaces:
  /a: {{commands: {{go: {{{said["command"]}}}}}{", " * (level == "namespace")}{said["namespace"]}}}
"""
    [fault] = find_faults(tmp_path, routes)
    assert f"{at}errors.{place}" in fault
    assert text in fault


def test_refusing_with_an_event_leaves_no_time_to_sign_in(tmp_path: Path) -> None:
    """`refuse_with` and `late` contradict each other; nobody's claims are known there."""
    head = "exchange: shop.events\nnamespaces: {/a: {}}\n"
    both = head + "auth: {late: {}, refuse_with: {gone: 1}}\n"
    [fault] = find_faults(tmp_path, both)
    assert "auth.refuse_with: does not go together with late" in fault
    [fault] = find_faults(tmp_path, head + "auth: {refuse_with: {gone: '{user.sub}'}}\n")
    assert 'auth.refuse_with.gone: unknown word "user"' in fault
