"""Planning events: who receives what of a delivery, what is remembered, what is invalid or stale."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from bridge.model import EVERYONE, Emission, Invalid, Remember, RoomRef
from bridge.rules.compile import Rules
from bridge.rules.event_plan import EventPlan, plan_event, plan_live
from tests.support.rules import compile_project, compile_shipped, deliver, to_json

NOW = 1_700_000_000.0

ROUTES = """
exchange: shop.events
schemas: shop
namespaces:
  /shop:
    events:
      order.{id}.made: {schema: Order}
      order.{id}.{change:paid|sent}:
        {schema: Order, as: "order:{change}", rooms: ["order:{id}", "line:{body.lines[]}"]}
      order.{id}.note: {schema: Order, rooms: "note:{body.note}", otherwise: [notes]}
      order.{id}.closed: {schema: Order, rooms: "note:{body.note}"}
      order.{id}.typing: {schema: Order, except: sender}
      order.{id}.quick: {schema: Order, max_age: 30s, remember: "order:{id}"}
      order.{id}.lazy: {schema: Order, max_age: 30s}
      order.{id}.state: {schema: Order, retain: true}
      order.{id}.scan: {}
      order.{id}.page: {args: ["{id}", "{body}", "{header.tenant:-none}"]}
      order.{id}.pair: {schema: Order, args: ["{body}", "{body.lines}", "{message.id}"]}
  /order/{id}:
    events:
      order.{id}.state: {schema: Order}
      order.{id}.made: {schema: Order, as: created, remember: "order:{id}"}
      order.{id}.typing: {schema: Order, live: true, as: types}
      order.{id}.cursor: {live: true, except: sender}
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    """A shop with a route of every kind."""
    return compile_project(tmp_path_factory.mktemp("shop"), ROUTES)


def plan(rules: Rules, key: str, body: object = None, **fields: Any) -> EventPlan:
    """Plan one delivery of the shop."""
    return plan_event(rules, deliver(key, {"id": "7"} if body is None else body, **fields), NOW)


def only(found: EventPlan) -> Emission:
    """The one emission of a plan."""
    assert found.invalid == ()
    (emission,) = found.emissions
    return emission


def test_an_event_goes_to_every_namespace_that_has_a_route(rules: Rules) -> None:
    """The body is encoded once for both, without what the schema does not name."""
    found = plan(rules, "order.7.made", {"id": "7", "lines": ["a"], "secret": "x"})

    assert [(e.namespace, e.event, e.rooms, to_json(e.args)) for e in found.emissions] == [
        ("/shop", "made", (EVERYONE,), [{"id": "7", "lines": ["a"]}]),
        ("/order/7", "created", (EVERYONE,), [{"id": "7", "lines": ["a"]}]),
    ]
    assert found.emissions[0].args[0] is found.emissions[1].args[0]
    assert found.emissions[0].route == "/shop order.{id}.made"


def test_absent_stays_absent_and_null_stays_null(rules: Rules) -> None:
    """An optional field is neither added nor taken away."""
    without = only(plan(rules, "order.7.note", {"id": "7", "lines": []}))
    null = only(plan(rules, "order.7.note", {"id": "7", "lines": [], "note": None}))

    assert to_json(without.args) == [{"id": "7", "lines": []}]
    assert to_json(null.args) == [{"id": "7", "lines": [], "note": None}]


def test_rooms_come_from_key_and_body(rules: Rules) -> None:
    """A list in the body names a room per element; values are quoted."""
    emission = only(plan(rules, "order.7.paid", {"id": "7", "lines": ["a:b", "c"]}))

    assert emission.event == "order:paid"
    assert emission.rooms == ("order:7", "line:a%3Ab", "line:c")


def test_rooms_whose_value_is_missing_give_way_to_otherwise(rules: Rules) -> None:
    """Without an `otherwise` nobody receives the event, which is no fault of it."""
    assert only(plan(rules, "order.7.note", {"id": "7", "note": "n"})).rooms == ("note:n",)
    assert only(plan(rules, "order.7.note")).rooms == ("notes",)

    closed = plan(rules, "order.7.closed")
    assert closed == EventPlan(routed=True)


def test_what_no_route_takes_is_unrouted(rules: Rules) -> None:
    """Neither the key nor the exchange is known."""
    assert plan(rules, "order.7.gone") == EventPlan(routed=False)
    assert plan(rules, "order.7.made", exchange="other") == EventPlan(routed=False)
    assert plan(rules, "order.a b.made") == EventPlan(routed=False)


def test_a_namespace_that_no_client_can_enter_receives_nothing(rules: Rules) -> None:
    """A word with a `/` would reach over into another namespace."""
    found = plan(rules, "order.7/8.made")

    assert [emission.namespace for emission in found.emissions] == ["/shop"]


def test_the_sender_is_left_out_where_the_route_says_so(rules: Rules) -> None:
    """The header names the sender's socket; anything but text there is ignored."""
    assert only(plan(rules, "order.7.typing", headers={"x-sid": "s1"})).skip_sid == "s1"
    assert only(plan(rules, "order.7.typing", headers={"x-sid": 5})).skip_sid is None
    assert only(plan(rules, "order.7.typing")).skip_sid is None
    assert only(plan(rules, "order.7.lazy", headers={"x-sid": "s1"})).skip_sid is None


def test_an_old_event_is_stale_but_remembered(rules: Rules) -> None:
    """It still is the last one of its room; an event without a time is never old."""
    old = plan(rules, "order.7.quick", timestamp=NOW - 31)

    assert old.emissions == ()
    assert old.stale == ("/shop order.{id}.quick",)
    assert [(remember.event, remember.time) for remember in old.remembers] == [("quick", NOW - 31)]
    assert plan(rules, "order.7.lazy", b"no json", timestamp=NOW - 31).invalid == ()
    assert plan(rules, "order.7.quick", timestamp=NOW - 30).stale == ()
    assert plan(rules, "order.7.quick").stale == ()


def test_an_event_says_how_long_it_is_replayed(rules: Rules) -> None:
    """For as long as it would be sent."""
    assert only(plan(rules, "order.7.lazy", timestamp=NOW)).until == NOW + 30
    assert only(plan(rules, "order.7.lazy")).until is None
    assert only(plan(rules, "order.7.typing", timestamp=NOW)).until is None


def test_a_room_remembers_an_event_under_its_client_name(rules: Rules) -> None:
    """The body is kept as clients get it, and read as its Struct; the time is the event's, else now."""
    (remember,) = plan(rules, "order.7.made", {"id": "7"}, timestamp=5.0).remembers

    assert remember == Remember(
        rooms=(RoomRef(system="shop", room="order:7"),),
        event="created",
        body=remember.body,
        time=5.0,
        decode=remember.decode,
    )
    assert isinstance(remember.value, msgspec.Struct)
    assert msgspec.to_builtins(remember.value) == {"id": "7", "lines": []}
    assert plan(rules, "order.7.made").remembers[0].time == NOW


@pytest.mark.parametrize(
    ("body", "reason", "path"),
    [
        (b"{", "not_json", "$"),
        (b"\xff\xfe", "not_json", "$"),
        (b"[]", "schema", "$"),
        (b'{"id": 7}', "schema", "$.id"),
        (b'{"id": "7", "lines": ["a", 1]}', "schema", "$.lines[1]"),
    ],
)
def test_a_body_that_does_not_fit_is_invalid_for_each_route(
    rules: Rules, body: bytes, reason: str, path: str
) -> None:
    """Reason, error, path and route tell the service's team what to mend."""
    found = plan(rules, "order.7.made", body)

    assert (found.emissions, found.remembers) == ((), ())
    assert [(fault.route, fault.reason, fault.path) for fault in found.invalid] == [
        ("/shop order.{id}.made", reason, path),
        ("/order/{id} order.{id}.made", reason, path),
    ]
    assert all(fault.error for fault in found.invalid)


@pytest.mark.parametrize(
    ("content_type", "taken"),
    [
        (None, True),
        ("", True),
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/vnd.shop+json", True),
        ("text/plain", True),
        ("application/octet-stream", False),
        ("image/png", False),
    ],
)
def test_a_body_must_be_json_by_its_content_type(rules: Rules, content_type: str | None, taken: bool) -> None:
    """None is taken as JSON, since many tools set none; what says that it is something else is not."""
    found = plan(rules, "order.7.lazy", content_type=content_type)

    assert bool(found.emissions) is taken
    assert [fault.reason for fault in found.invalid] == ([] if taken else ["content_type"])


def test_a_binary_body_goes_on_as_it_is(rules: Rules) -> None:
    """Without a schema the bytes are the one argument, or stand where `args` says."""
    scan = only(plan(rules, "order.7.scan", b"\x00\xff", content_type="application/octet-stream"))
    page = only(plan(rules, "order.7.page", b"\x00\xff", headers={"tenant": "t1"}))

    assert scan.args == (b"\x00\xff",)
    assert to_json(page.args) == ["7", b"\x00\xff", "t1"]
    (fault,) = plan(rules, "order.7.scan", b"{}", content_type="application/json").invalid
    assert isinstance(fault, Invalid)
    assert fault.reason == "content_type"


def test_args_are_rendered_with_their_types(rules: Rules) -> None:
    """A list stays a list; what is missing is null, so that the others keep their places."""
    emission = only(plan(rules, "order.7.pair", {"id": "7", "lines": ["a"]}))

    assert to_json(emission.args) == [{"id": "7", "lines": ["a"]}, ["a"], None]


def test_the_portal_sends_a_state_change_to_all_who_asked() -> None:
    """Joined, subscribed, subscribed to all projects, and everyone of the project's own namespace."""
    body = {
        "project_name": "apollo",
        "old_state": "idle",
        "new_state": {"name": "running"},
        "timestamp": "2026-11-20T10:00:00.123456+01:00",
        "triggered_by": "ann",
    }

    found = plan_event(
        compile_shipped(), deliver("project.apollo.state_change", body, exchange="portal.events"), NOW
    )

    assert [(e.namespace, e.rooms) for e in found.emissions] == [
        ("/portal", ("project:apollo", "watch:state_change:apollo", "watch:state_change:*")),
        ("/project/apollo", (EVERYONE,)),
    ]
    assert to_json(found.emissions[0].args) == [body]
    assert [remember.rooms for remember in found.remembers] == [
        (RoomRef(system="portal", room="project:apollo"),)
    ]


def test_the_portal_sends_agent_activity_to_the_subscribers_of_its_project() -> None:
    """The project stands in the body there; joining a project is not enough."""
    body = {
        "agent_type": "qa",
        "project_name": "apollo",
        "action": "test",
        "status": "started",
        "timestamp": "2026-11-20T10:00:00Z",
    }

    found = plan_event(
        compile_shipped(), deliver("monitoring.agent_activity", body, exchange="portal.events"), NOW
    )

    assert [(e.namespace, e.rooms) for e in found.emissions] == [
        ("/portal", ("watch:agent_activity:apollo", "watch:agent_activity:*")),
        ("/monitoring", (EVERYONE,)),
    ]


def test_one_bad_route_does_not_stop_the_others(tmp_path: Path) -> None:
    """Each route judges the body by its own schema."""
    rules = compile_project(
        tmp_path,
        """
        exchange: shop.events
        schemas: shop
        namespaces:
          /a: {events: {order.made: {schema: Order}}}
          /b: {events: {order.made: {schema: Place}}}
        """,
    )

    found = plan_event(rules, deliver("order.made", {"name": "x"}), NOW)

    assert [emission.namespace for emission in found.emissions] == ["/b"]
    assert [fault.route for fault in found.invalid] == ["/a order.made"]


def test_what_is_retained_is_told_apart_from_what_is_not(rules: Rules) -> None:
    """Of one delivery, by its routes; the broker copies just their keys into the state."""
    found = plan(rules, "order.7.state")
    assert [emission.namespace for emission in found.emissions] == ["/shop", "/order/7"]
    assert found.retained == found.emissions[:1]
    assert plan(rules, "order.7.made").retained is None
    assert plan(rules, "order.7.state", b"no JSON").retained == ()
    assert rules.retained_bindings == (("shop.events", "order.*.state"),)
    assert set(rules.retained_bindings) <= set(rules.bindings)


def test_what_the_log_brings_and_what_comes_round_it_have_routes_of_their_own(rules: Rules) -> None:
    """A key may have both, each in its namespace: nobody gets an event twice."""
    typing = deliver("order.7.typing", {"id": "7"})
    assert [one.event for one in plan_event(rules, typing, NOW).emissions] == ["typing"]
    assert [one.event for one in plan_live(rules, typing, NOW).emissions] == ["types"]
    cursor = deliver("order.7.cursor", b"\0", headers={"x-sid": "s"})
    assert not plan_event(rules, cursor, NOW).routed
    assert only(plan_live(rules, cursor, NOW)).skip_sid == "s"
    assert not plan_live(rules, deliver("order.7.made", {"id": "7"}), NOW).routed


def test_the_log_is_not_bound_to_what_goes_round_it(rules: Rules) -> None:
    """Unless another route needs the same key there."""
    assert rules.live_bindings == (("shop.events", "order.*.typing"), ("shop.events", "order.*.cursor"))
    assert ("shop.events", "order.*.typing") in rules.bindings
    assert ("shop.events", "order.*.cursor") not in rules.bindings
