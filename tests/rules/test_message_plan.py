"""What commands publish: arguments and attachments, parts of bodies, headers, requests and their replies."""

from pathlib import Path

import msgspec
import pytest

from bridge.errors import Code
from bridge.model import Delivery, PublishMessage, Refuse, Reply, Request
from bridge.rules.command_plan import CommandPlan, render_answer
from bridge.rules.compile import Rules
from bridge.rules.event_plan import plan_event
from bridge.rules.message_plan import read_reply
from tests.support.rules import compile_project, find_faults, send, sign_in, to_json

BODIES = """
    from typing import Annotated
    from msgspec import UNSET, Meta, Struct, UnsetType

    class Update(Struct, forbid_unknown_fields=True):
        id: str
        update: Annotated[bytes, Meta(max_length=8)]
        note: str | None | UnsetType = UNSET
        extra: bytes | None = None
        any: object = None

    class Note(Struct, forbid_unknown_fields=True):
        id: str
        text: str = ""
        by: str | UnsetType = UNSET
"""

ROUTES = """
exchange: shop.events
commands_exchange: shop.commands
schemas: shop
namespaces:
  /graph:
    rooms: {"graph:{id}": {}}
    events:
      graph.{id}.update: {rooms: "graph:{id}", args: ["{id}", "{body}"], except: sender}
    commands:
      update:
        schema: Update
        args: [id, update]
        publish: graph.{body.id}.update
        to: events
        body: "{body.update}"
        headers: {tenant: "{user.tenant}", floor: "{user.floor:-ground}", room: "{user.room}"}
      full: {schema: Update, args: [id, update, note, extra, any], publish: full}
      whole: {schema: Update, args: [id, update], publish: "graph.{body.id}.whole"}
      part: {schema: Note, publish: part, body: {who: "{user.sub}", text: "{body.text}", by: "{body.by}"}}
      none: {schema: Note, publish: none, body: "{body.by}"}
      stamped: {schema: Note, args: [id], publish: stamped, set: {by: "{user.sub}"}}
      sync: {schema: Update, args: [id, update], request: "graph.{body.id}.sync", body: "{body.update}"}
      title:
        schema: Note
        request: graph.{body.id}.title
        timeout: 1s
        to: events
        set: {by: "{user.sub}"}
        ack: {title: "{reply.title}", all: "{reply}", id: "{message.id}"}
        emit: {titled: "{reply.title:-none}"}
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    """Graphs that clients draw together."""
    return compile_project(tmp_path_factory.mktemp("graph"), ROUTES, bodies=BODIES)


def plan(rules: Rules, event: str, *args: object, **claims: str) -> CommandPlan:
    """The plan of a command that is no refusal."""
    found = send(rules, "/graph", event, *args, principal=sign_in(**claims))
    assert isinstance(found, CommandPlan), found
    return found


def message(rules: Rules, event: str, *args: object, **claims: str) -> PublishMessage:
    """The one message that is published."""
    (action,) = plan(rules, event, *args, **claims).actions
    assert isinstance(action, PublishMessage)
    return action


def request(found: CommandPlan) -> Request:
    """The one request that is sent."""
    (action,) = found.actions
    assert isinstance(action, Request)
    return action


def refuse(rules: Rules, event: str, *args: object) -> Refuse:
    """The refusal of a command's arguments."""
    found = send(rules, "/graph", event, *args)
    assert isinstance(found, Refuse), found
    assert found.code is Code.VALIDATION_FAILED
    return found


def test_an_attachment_is_relayed_as_it_is(rules: Rules) -> None:
    """Bytes go out as such, with the sender in the headers, so that the event spares it."""
    sent = message(rules, "update", "7", b"\x00\xff", tenant="acme")

    assert (sent.exchange, sent.routing_key) == ("shop.events", "graph.7.update")
    assert (sent.body, sent.content_type) == (b"\x00\xff", "application/octet-stream")
    assert sent.headers == {
        "tenant": "acme",
        "floor": "ground",
        "x-sid": "sid-1",
        "x-namespace": "/graph",
        "x-user": "ann",
    }
    delivery = Delivery(
        exchange=sent.exchange,
        routing_key=sent.routing_key,
        body=sent.body,
        content_type=sent.content_type,
        headers=sent.headers,
    )
    [emission] = plan_event(rules, delivery, 0.0).emissions
    assert (to_json(emission.args), emission.rooms) == (["7", b"\x00\xff"], ("graph:7",))
    assert emission.skip_sid == "sid-1"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "Expected 2 arguments (id, update), got 0"),
        (("7",), "Expected 2 arguments (id, update), got 1"),
        (("7", b"", None), "Expected 2 arguments (id, update), got 3"),
        (({"id": "7", "update": "AAE="},), "Expected 2 arguments (id, update), got 1"),
        (("7", "AAE="), "update: Expected `bytes`, got `str`"),
        (("7", None), "update: Expected `bytes`, got `null`"),
        (("7", [0, 1]), "update: Expected `bytes`, got `array`"),
        ((b"7", b"1"), "id: Expected a value, got binary data"),
        ((7, b"1"), "id: Expected `str`, got `int`"),
        (("7", b"123456789"), "update: Expected `bytes` of length <= 8"),
        (("7", msgspec.Raw(b"[" * 100_000)), "update: Expected JSON"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(rules: Rules, args: tuple[object, ...], message: str) -> None:
    """The client is told which."""
    assert refuse(rules, "update", *args).message == message


def test_optional_arguments_may_be_null(rules: Rules) -> None:
    """Bytes only where the schema says so, whatever else a field takes."""
    sent = message(rules, "full", "7", b"1", None, None, {"a": 1})
    assert msgspec.json.decode(sent.body) == {
        "id": "7",
        "update": "MQ==",
        "note": None,
        "extra": None,
        "any": {"a": 1},
    }
    assert (
        refuse(rules, "full", "7", b"1", None, None, b"2").message == "any: Expected a value, got binary data"
    )
    assert refuse(rules, "full", "7", b"1", None, "Mg==", 1).message.startswith(
        "extra: Expected `bytes | null`"
    )


def test_arguments_make_one_body(rules: Rules) -> None:
    """An object of the fields, stamped as any other; bytes in JSON are base64."""
    sent = message(rules, "whole", "7", b"1")
    assert (msgspec.json.decode(sent.body)["update"], sent.content_type) == ("MQ==", "application/json")
    assert msgspec.json.decode(message(rules, "stamped", "7").body) == {"id": "7", "text": "", "by": "ann"}


def test_a_part_of_the_body_is_published(rules: Rules) -> None:
    """A template of any shape; a key whose value is missing is left out, a whole missing value is null."""
    assert msgspec.json.decode(message(rules, "part", {"id": "7", "text": "hi"}).body) == {
        "who": "ann",
        "text": "hi",
    }
    assert message(rules, "none", {"id": "7"}).body == b"null"


def test_a_request_carries_its_time_limit(rules: Rules) -> None:
    """Five seconds unless the YAML says otherwise; all else is as in a message."""
    asked = request(plan(rules, "sync", "7", b"1"))
    assert (asked.timeout, asked.message.body) == (5.0, b"1")
    assert (asked.message.exchange, asked.message.routing_key) == ("shop.commands", "graph.7.sync")
    asked = request(plan(rules, "title", {"id": "7"}))
    assert (asked.timeout, asked.message.exchange) == (1.0, "shop.events")
    assert msgspec.json.decode(asked.message.body)["by"] == "ann"


@pytest.mark.parametrize("reply", [b"\x00\xff", None, {"a": [1]}, "text", 1.5])
def test_a_reply_is_the_one_argument_of_the_ack(rules: Rules, reply: object) -> None:
    """Of whatever kind."""
    assert to_json(render_answer(plan(rules, "sync", "7", b"1"), reply=reply).ack) == [reply]


def test_templates_read_the_reply(rules: Rules) -> None:
    """In the ack and in the event, where there are some."""
    found = plan(rules, "title", {"id": "7"})
    answer = render_answer(found, reply={"title": "Sales", "n": 1})
    assert to_json(answer.ack) == [{"title": "Sales", "all": {"title": "Sales", "n": 1}, "id": "message-1"}]
    assert answer.emit is not None
    assert to_json(answer.emit[1]) == ["Sales"]
    assert to_json(render_answer(found, reply=[]).ack) == [{"all": [], "id": "message-1"}]


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        (Reply(body=b'{"a":1}'), {"a": 1}),
        (Reply(body=b" [1] ", content_type="application/json; charset=utf-8"), [1]),
        (Reply(body=b"", content_type="application/json"), None),
        (Reply(body=b"{", content_type="application/octet-stream"), b"{"),
        (Reply(body=b"", content_type="application/octet-stream"), b""),
    ],
)
def test_a_reply_is_read_by_its_type(reply: Reply, value: object) -> None:
    """Without one it is JSON."""
    assert read_reply(reply) == value


@pytest.mark.parametrize(
    ("reply", "code", "message"),
    [
        (Reply(body=b"", error="No such graph"), Code.REJECTED, "No such graph"),
        (Reply(body=b"", error=""), Code.REJECTED, "The service refused the request"),
        (Reply(body=b"", error="x" * 5000), Code.REJECTED, "x" * 1000),
        (Reply(body=b"{"), Code.INTERNAL, "The service's answer could not be read"),
        (Reply(body=b"[" * 100_000), Code.INTERNAL, "The service's answer could not be read"),
        (Reply(body=b'"\xff"'), Code.INTERNAL, "The service's answer could not be read"),
        (Reply(body=b"1", content_type="image/png"), Code.INTERNAL, "The service's answer could not be read"),
    ],
)
def test_a_reply_may_be_a_refusal(reply: Reply, code: Code, message: str) -> None:
    """In the service's own words, or since nobody can read it."""
    assert read_reply(reply) == Refuse(code=code, message=message)


NO_EFFECT = "has no effect without publish or request"


@pytest.mark.parametrize(
    ("command", "place", "text"),
    [
        ("{request: a, publish: b}", "request: ", "does not go together with publish"),
        ("{publish: a, timeout: 5s}", "timeout: ", "has no effect without request"),
        ("{request: a, timeout: 0s}", "timeout: ", "leaves no time"),
        ("{headers: {tenant: a}}", "headers: ", NO_EFFECT),
        ("{body: 1}", "body: ", NO_EFFECT),
        ("{to: events}", "to: ", NO_EFFECT),
        ("{inside: 'graph:7'}", "inside: ", NO_EFFECT),
        ("{publish: a, headers: {x-user: a}}", "headers.x-user: ", "are the bridge's own"),
        ("{publish: a, headers: {X-Tenant: a}}", "headers.X-Tenant: ", "are the bridge's own"),
        ("{publish: a, headers: {'zoë': a}}", "headers: ", "is no name of a header"),
        ("{publish: a, headers: {'': a}}", "headers: ", "is no name of a header"),
        ("{schema: Note, publish: a, headers: {t: '{body.id}'}}", "headers.t: ", 'unknown word "body"'),
        ("{publish: a, headers: {t: '{reply}'}}", "headers.t: ", 'unknown word "reply"'),
        ("{schema: Note, publish: a, set: {by: x}, body: '{body.id}'}", "set: ", "keep one"),
        ("{schema: Note, publish: a, body: '{body.nr}'}", "body: ", 'unknown field "nr"'),
        ("{publish: a, ack: '{reply}'}", "ack: ", 'unknown word "reply"'),
        ("{args: [id]}", "args: ", "there is none (add schema"),
        ("{schema: Update, args: [id, updat]}", "args[1]: ", 'no field "updat" (known: update'),
        ("{schema: Update, args: [id, update, id]}", "args[2]: ", 'names "id" twice'),
        ("{schema: Update, args: [id]}", "args: ", 'leaves out "update", which Update requires'),
        ("{schema: Note, args: [id, by], publish: a, set: {by: x}}", "args[1]: ", '"by" is stamped'),
        ("{request: 'a.{b}'}", "request: ", 'unknown word "b"'),
    ],
)
def test_misuse_is_told(tmp_path: Path, command: str, place: str, text: str) -> None:
    """With its place and the remedy."""
    routes = ROUTES.replace("    commands:\n", f"    commands:\n      bad: {command}\n")
    faults = find_faults(tmp_path, routes, bodies=BODIES)
    assert any(f"commands.bad.{place}" in fault and text in fault for fault in faults), faults


def test_a_request_needs_an_exchange(tmp_path: Path) -> None:
    """As a message does."""
    routes = "exchange: shop.events\nnamespaces: {/a: {commands: {ask: {request: a.b}}}}\n"
    [fault] = find_faults(tmp_path, routes)
    assert "commands.ask.request: needs an exchange" in fault
