"""Planning commands: who may, what fits, what is stamped, which rooms; and the answers that clients get."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import Code
from bridge.model import Command, Join, Leave, Principal, PublishMessage, Refuse, RoomRef
from bridge.rules.command_plan import (
    CommandPlan,
    client_scope,
    plan_command,
    plan_connect,
    render_answer,
    render_refusal,
    render_refusal_ack,
)
from bridge.rules.compile import Rules
from bridge.rules.scope import RoomView
from tests.support.rules import compile_project, compile_shipped, send, sign_in, to_json

ROUTES = """
exchange: shop.events
commands_exchange: shop.commands
schemas: shop
namespaces:
  /shop/{shop}:
    rooms:
      place:{name}: {allow: {places: "{name}"}}
      shop:{shop}:
        presence: {joined: {came: {user: "{user.sub}", shop: "{shop}"}}, grace: 2s}
      hall: {allow: {roles: staff}}
    on_connect:
      join: ["shop:{shop}", hall, "own:{user.sub}"]
      emit: {welcome: {user: "{user.sub}", sid: "{sid}", at: "{now}"}}
    commands:
      order:
        schema: Place
        publish: shop.{shop}.order.{body.name}
        set: {by: "{user.sub}", note: stamped, at: "{now.ms}", id: "{message.id}", ref: "{uuid}"}
      ask: {schema: Place, publish: "shop.{shop}.ask"}
      wave: {publish: "shop.{shop}.wave", to: events, set: {by: "{user.sub}"}}
      staff: {allow: {roles: staff}, publish: "shop.{shop}.staff"}
      enter:
        schema: Place
        join: ["place:{body.name}", "shop:{shop}"]
        emit: {entered: {users: "{room.users}", last: "{room.last.made.id:-null}"}}
        ack: {in: "{body.name}", users: "{room.users}"}
      hop: {join: "shop:{body.name}", schema: Place}
      leave: {schema: Place, leave: "place:{body.name}", ack: {left: "{room.users}"}}
      mine: {join: "place:{user.places[]}"}
      ping: {ack: pong}
  /open:
    auth: {required: false}
    commands:
      tell: {publish: told}
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    """A shop with a command of every kind."""
    return compile_project(tmp_path_factory.mktemp("shop"), ROUTES)


def plan(found: CommandPlan | Refuse) -> CommandPlan:
    """The plan, which is no refusal."""
    assert isinstance(found, CommandPlan), found
    return found


def message(found: CommandPlan | Refuse) -> PublishMessage:
    """The one message that is published."""
    (action,) = plan(found).actions
    assert isinstance(action, PublishMessage)
    return action


def refuse(found: CommandPlan | Refuse) -> Refuse:
    """The refusal."""
    assert isinstance(found, Refuse), found
    return found


def test_a_command_becomes_a_stamped_message(rules: Rules) -> None:
    """What the bridge stamps wins; headers and properties are the bridge's own."""
    sent = message(
        send(rules, "/shop/north", "order", {"name": "lamp", "note": 5, "by": "eve", "id": "mine", "ref": 1})
    )

    assert (sent.exchange, sent.routing_key) == ("shop.commands", "shop.north.order.lamp")
    assert (sent.message_id, sent.type, sent.timestamp) == ("message-1", "order", 1_700_000_000.5)
    assert sent.headers == {"x-user": "ann", "x-sid": "sid-1", "x-namespace": "/shop/north"}
    body = msgspec.json.decode(sent.body)
    assert body.pop("ref") == msgspec.json.decode(
        message(send(rules, "/shop/north", "order", {"name": "lamp"})).body
    ).pop("ref")
    assert body == {
        "name": "lamp",
        "by": "ann",
        "note": "stamped",
        "at": 1_700_000_000_500,
        "id": "message-1",
    }


def test_fields_that_are_not_stamped_must_be_known(rules: Rules) -> None:
    """A field of the schema passes as it came; any other is refused by name."""
    body = {"name": "x", "note": None}
    assert msgspec.json.decode(message(send(rules, "/shop/n", "ask", body)).body) == body

    refusal = refuse(send(rules, "/shop/n", "ask", {"name": "x", "admin": True}))

    assert refusal.code is Code.VALIDATION_FAILED
    assert refusal.message == "Object contains unknown field `admin`"
    assert refusal.details == ({"message": "Object contains unknown field `admin`", "path": ["admin"]},)


@pytest.mark.parametrize("args", [(), (None,), ({},), ({"by": "eve"},)])
def test_a_command_without_payload_takes_nothing(rules: Rules, args: tuple[object, ...]) -> None:
    """No argument, null and an empty object are the same; a stamped field is dropped."""
    sent = message(send(rules, "/shop/n", "wave", *args))

    assert sent.exchange == "shop.events"
    assert msgspec.json.decode(sent.body) == {"by": "ann"}


@pytest.mark.parametrize(
    ("args", "path"),
    [
        ((), ["name"]),
        ((None,), ["name"]),
        (({"name": 5},), ["name"]),
        (({"name": "x", "by": 1, "extra": 1},), ["extra"]),
        (([],), []),
        (("text",), []),
        ((5,), []),
        ((b"bytes",), []),
        (({"name": "x"}, {}), []),
        (({"name": "x", "idempotency_key": ""},), ["idempotency_key"]),
        (({"name": "x", "idempotency_key": 5},), ["idempotency_key"]),
        (({"name": "x", "idempotency_key": "a b"},), ["idempotency_key"]),
        (({"name": "x", "idempotency_key": "a" * 129},), ["idempotency_key"]),
    ],
)
def test_bad_input_is_refused_with_its_place(rules: Rules, args: tuple[object, ...], path: list[str]) -> None:
    """The message is fit for a client, and the details name the field."""
    refusal = refuse(send(rules, "/shop/n", "order", *args))

    assert refusal.code is Code.VALIDATION_FAILED
    assert refusal.details is not None
    assert refusal.details[0]["path"] == path
    assert refusal.details[0]["message"]


@pytest.mark.parametrize(
    "raw",
    [b"{", b'{"name":"\xff"}', b'{"name":"\\ud800"}', b'{"name":' + b"[" * 100_000 + b"]" * 100_000 + b"}"],
)
def test_what_is_no_json_is_refused(rules: Rules, raw: bytes) -> None:
    """Broken text, a lone surrogate and endless nesting raise nothing."""
    found = rules.match_namespace("/shop/n")
    assert found is not None

    refusal = plan_command(
        found[0],
        found[1],
        sign_in(),
        Command(event="order", args=(msgspec.Raw(raw),)),
        sid="s",
        now=0.0,
        message_id="m",
    )

    assert refuse(refusal).code is Code.VALIDATION_FAILED


def test_a_value_that_is_no_key_word_never_reaches_a_key(rules: Rules) -> None:
    """Dots and wildcards would reach other queues; a long value could not be sent."""
    for name in ("a.b", "#", "*", "a b", "a\nb", "", "x" * 129, "ü" * 128):
        refusal = refuse(send(rules, "/shop/n", "order", {"name": name}))
        assert refusal.code is Code.VALIDATION_FAILED


@given(st.text())
def test_any_name_is_refused_or_one_word(rules: Rules, name: str) -> None:
    """Whatever a client sends, the key has as many words as the configuration says."""
    found = send(rules, "/shop/n", "order", {"name": name.encode(errors="replace").decode()})
    if isinstance(found, CommandPlan):
        assert message(found).routing_key.count(".") == 3


def test_an_idempotency_key_is_handed_on_and_not_published(rules: Rules) -> None:
    """Any command takes one."""
    found = plan(send(rules, "/shop/n", "ask", {"name": "x", "idempotency_key": "k-1"}))

    assert found.idempotency_key == "k-1"
    assert msgspec.json.decode(message(found).body) == {"name": "x"}
    assert plan(send(rules, "/shop/n", "ping", {"idempotency_key": "k-2"})).idempotency_key == "k-2"
    assert plan(send(rules, "/shop/n", "ping")).idempotency_key is None


def test_unknown_commands_and_missing_claims_are_refused(rules: Rules) -> None:
    """Access is asked before the input is looked at."""
    assert refuse(send(rules, "/shop/n", "nope")).code is Code.UNKNOWN_COMMAND
    assert len(refuse(send(rules, "/shop/n", "n" * 100_000)).message) < 200
    assert refuse(send(rules, "/shop/n", "staff", "bad input")).code is Code.FORBIDDEN
    assert message(send(rules, "/shop/n", "staff", principal=sign_in(roles=["staff"])))


def test_rooms_are_joined_by_those_who_may(rules: Rules) -> None:
    """All rooms of a command, or none of them."""
    ann = sign_in(places=["desk"])

    found = plan(send(rules, "/shop/n", "enter", {"name": "desk"}, principal=ann))

    assert found.actions == (Join(rooms=("place:desk", "shop:n")),)
    assert refuse(send(rules, "/shop/n", "enter", {"name": "safe"}, principal=ann)).code is Code.FORBIDDEN


def test_a_room_with_a_word_of_the_namespace_is_that_of_the_namespace(rules: Rules) -> None:
    """From `/shop/n` nobody joins the room of another shop."""
    assert plan(send(rules, "/shop/n", "hop", {"name": "n"})).actions == (Join(rooms=("shop:n",)),)
    assert refuse(send(rules, "/shop/n", "hop", {"name": "m"})).code is Code.FORBIDDEN


def test_a_separator_in_a_value_stays_in_its_word(rules: Rules) -> None:
    """`a:b` is one place, and a claim for `a` says nothing of it."""
    assert (
        refuse(send(rules, "/shop/n", "enter", {"name": "a:b"}, principal=sign_in(places=["a"]))).code
        is Code.FORBIDDEN
    )
    found = plan(send(rules, "/shop/n", "enter", {"name": "a:b"}, principal=sign_in(places=["a:b"])))
    assert found.actions == (Join(rooms=("place:a%3Ab", "shop:n")),)


def test_rooms_of_a_claim_are_joined_all(rules: Rules) -> None:
    """A join that names no room at all is no success."""
    found = plan(send(rules, "/shop/n", "mine", principal=sign_in(places=["a", "b"])))

    assert found.actions == (Join(rooms=("place:a", "place:b")),)
    assert refuse(send(rules, "/shop/n", "mine")).code is Code.FORBIDDEN


def test_the_answer_reads_the_room(rules: Rules) -> None:
    """The first room that is joined, or left, is the one that `{room...}` means."""
    found = plan(send(rules, "/shop/n", "enter", {"name": "desk"}, principal=sign_in(places=["desk"])))
    assert found.room == RoomRef(system="shop", room="place:desk")

    answer = render_answer(found, RoomView(users=3, last={"made": {"id": "7"}}))

    assert answer.emit is not None
    assert (answer.emit[0], to_json(answer.emit[1])) == ("entered", [{"users": 3, "last": "7"}])
    assert to_json(answer.ack) == [{"in": "desk", "users": 3}]
    left = plan(send(rules, "/shop/n", "leave", {"name": "desk"}))
    assert left.actions == (Leave(rooms=("place:desk",)),)
    assert to_json(render_answer(left, RoomView(users=2)).ack) == [{"left": 2}]
    assert plan(send(rules, "/shop/n", "hop", {"name": "n"})).room is None


def test_the_default_ack_names_the_message_if_there_is_one(rules: Rules) -> None:
    """A client can tell its message by the id that the service sees."""
    ask, hop, ping = (
        plan(send(rules, "/shop/n", name, *args))
        for name, args in (("ask", ({"name": "x"},)), ("hop", ({"name": "n"},)), ("ping", ()))
    )

    assert to_json(render_answer(ask).ack) == [{"status": "ok", "message_id": "message-1"}]
    assert to_json(render_answer(hop).ack) == [{"status": "ok"}]
    assert to_json(render_answer(ping).ack) == ["pong"]


def test_a_nobody_has_no_user_header(rules: Rules) -> None:
    """An open namespace has clients without a name."""
    sent = message(send(rules, "/open", "tell", principal=Principal(user="", claims={})))

    assert sent.headers == {"x-sid": "sid-1", "x-namespace": "/open"}


def test_a_new_client_joins_what_it_may_and_is_greeted(rules: Rules) -> None:
    """A room that no entry covers is the configuration's to give; a guarded one asks the claims."""
    found = rules.match_namespace("/shop/n")
    assert found is not None

    ann = plan_connect(found[0], found[1], sign_in(), "s1", 0.0)
    bob = plan_connect(found[0], found[1], sign_in("bob", roles=["staff"]), "s2", 0.0)

    assert ann.rooms == ("shop:n", "own:ann")
    assert bob.rooms == ("shop:n", "hall", "own:bob")
    assert ann.emit is not None
    assert (ann.emit[0], to_json(ann.emit[1])) == (
        "welcome",
        [{"user": "ann", "sid": "s1", "at": "1970-01-01T00:00:00.000Z"}],
    )


def test_a_room_tells_the_others_who_came(rules: Rules) -> None:
    """Presence reads the words of the room and of the namespace."""
    found = rules.match_namespace("/shop/n")
    assert found is not None
    room = found[0].find_room("shop:n", found[1])
    assert room is not None
    presence = room[0].presence
    assert presence is not None
    assert presence.joined is not None

    event, args = presence.joined.render(client_scope(room[1], sign_in(), sid="s", now=0.0))

    assert (event, to_json(args)) == ("came", [{"user": "ann", "shop": "n"}])
    assert (presence.left, presence.grace) == (None, 2.0)
    assert found[0].find_room("shop:m", found[1]) is None
    assert found[0].find_room("attic", found[1]) is None


LIMITED = Refuse(code=Code.RATE_LIMITED, message="Too fast", retry_after=0.251)
INVALID = Refuse(code=Code.VALIDATION_FAILED, message="Bad", details=({"message": "Bad", "path": ["a"]},))


def test_a_refusal_is_an_event_error_by_default(rules: Rules) -> None:
    """Its type is the family of its code; details only where there are some."""
    found = rules.match_namespace("/shop/n")
    assert found is not None
    scope = client_scope(found[1], sign_in(), sid="s", now=0.0)
    at = "1970-01-01T00:00:00.000Z"

    limited, invalid = (render_refusal(found[0], one, scope) for one in (LIMITED, INVALID))

    assert (limited[0], to_json(limited[1])) == (
        "error",
        [{"type": "validation", "message": "Too fast", "code": "RATE_LIMITED", "timestamp": at}],
    )
    assert to_json(invalid[1]) == [
        {
            "type": "validation",
            "message": "Bad",
            "code": "VALIDATION_FAILED",
            "details": [{"message": "Bad", "path": ["a"]}],
            "timestamp": at,
        }
    ]


def test_a_refusal_in_an_ack_says_when_to_try_again(rules: Rules) -> None:
    """A client that waits so long is let through: the time is rounded up."""
    found = rules.match_namespace("/shop/n")
    assert found is not None
    scope = client_scope(found[1], sign_in(), sid="s", now=0.0)

    assert to_json(render_refusal_ack(found[0], LIMITED, scope)) == [
        {"status": "error", "code": "RATE_LIMITED", "message": "Too fast", "retry_after": 0.251}
    ]
    assert to_json(render_refusal_ack(found[0], INVALID, scope)) == [
        {"status": "error", "code": "VALIDATION_FAILED", "message": "Bad"}
    ]


def test_the_portal_tells_refusals_by_events_of_their_own() -> None:
    """`validation_error`, `rate_limited` and `error`, whether an ack was asked for or not."""
    found = compile_shipped().match_namespace("/portal")
    assert found is not None
    scope = client_scope(found[1], sign_in(), sid="s", now=0.0)

    limited = render_refusal(found[0], LIMITED, scope)
    invalid = render_refusal(found[0], INVALID, scope)
    other = render_refusal(found[0], Refuse(code=Code.UNROUTABLE, message="Nobody"), scope)

    assert found[0].errors.always
    assert (limited[0], to_json(limited[1])) == (
        "rate_limited",
        [{"message": "Too fast", "retry_after": 0.251}],
    )
    assert (invalid[0], to_json(invalid[1])) == (
        "validation_error",
        [{"message": "Bad", "details": [{"message": "Bad", "path": ["a"]}]}],
    )
    assert (other[0], to_json(other[1])) == (
        "error",
        [
            {
                "type": "server",
                "message": "Nobody",
                "code": "UNROUTABLE",
                "timestamp": "1970-01-01T00:00:00.000Z",
            }
        ],
    )


def test_the_portal_subscribes_to_all_projects_of_the_token() -> None:
    """Or to the one that is named; events times projects, and `*` for a token of all projects."""
    rules = compile_shipped()
    ann = sign_in(projects=["apollo", "zeus"])

    def rooms(principal: Principal, **body: object) -> tuple[str, ...]:
        found = plan(send(rules, "/portal", "subscribe_to_events", body, principal=principal))
        (action,) = found.actions
        assert isinstance(action, Join)
        return action.rooms

    assert rooms(ann, events=["state_change", "task_update"]) == (
        "watch:state_change:apollo",
        "watch:state_change:zeus",
        "watch:task_update:apollo",
        "watch:task_update:zeus",
    )
    assert rooms(ann, events=["state_change"], project_name="zeus") == ("watch:state_change:zeus",)
    assert rooms(sign_in(projects=["*"]), events=["state_change"]) == ("watch:state_change:*",)
    bodies: list[dict[str, object]] = [
        {"events": ["state_change"], "project_name": "hera"},
        {"events": ["state_change"], "project_name": "*"},
        {"events": []},
        {"events": ["a:b", "c.d"]},
    ]
    for body in bodies:
        assert refuse(send(rules, "/portal", "subscribe_to_events", body, principal=ann))


def test_the_portal_answers_a_join_with_the_project(tmp_path: Path) -> None:
    """Nulls where nothing is known yet; the same room from both namespaces."""
    rules = compile_shipped()
    ann = sign_in(projects=["apollo"])
    for namespace in ("/portal", "/project/apollo"):
        found = plan(
            send(
                rules, namespace, "join_project", {"project_name": "apollo", "user_id": "eve"}, principal=ann
            )
        )
        assert found.room == RoomRef(system="portal", room="project:apollo")

        new = render_answer(found, RoomView(users=1)).emit
        known = render_answer(
            found, RoomView(users=2, last={"state_change": {"new_state": {"s": 1}}}, last_activity=0.0)
        ).emit

        assert new is not None
        assert known is not None
        assert (new[0], to_json(new[1])) == (
            "joined_project",
            [{"project_name": "apollo", "current_state": None, "active_users": 1, "last_activity": None}],
        )
        assert to_json(known[1]) == [
            {
                "project_name": "apollo",
                "current_state": {"s": 1},
                "active_users": 2,
                "last_activity": "1970-01-01T00:00:00.000Z",
            }
        ]
