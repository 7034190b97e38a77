"""Compiling a configuration: what comes out of a right one, and every fault of a wrong one with its place."""

from pathlib import Path

import pytest

from tests.support.rules import compile_project, compile_shipped, find_faults

HEAD = "exchange: shop.events\ncommands_exchange: shop.commands\nschemas: shop\n"


def with_event(key: str, event: str, namespace: str = "/shop") -> str:
    """A file with one event."""
    return f'{HEAD}namespaces:\n  "{namespace}":\n    events:\n      "{key}": {event}\n'


def with_command(name: str, command: str, rooms: str = "{}") -> str:
    """A file with one command."""
    return f'{HEAD}namespaces:\n  "/shop":\n    rooms: {rooms}\n    commands:\n      "{name}": {command}\n'


def with_namespace(body: str) -> str:
    """A file with one namespace."""
    return f'{HEAD}namespaces:\n  "/shop": {body}\n'


def test_the_shipped_configuration_compiles() -> None:
    """Four systems, each with its exchanges; the portal reads three families of keys from one."""
    rules = compile_shipped()

    systems = ("agents", "portal", "summit", "swe")
    assert {f"{system}.events" for system in systems} <= set(rules.exchanges)
    assert len(rules.bindings) == len(set(rules.bindings))
    portal = [key for exchange, key in rules.bindings if exchange == "portal.events"]
    assert "project.*.state_change" in portal
    assert len(portal) == 17
    assert rules.live_bindings == (
        ("portal.events", "chat.*.typing_start"),
        ("portal.events", "chat.*.typing_stop"),
        ("summit.events", "investigation.*.presence.update"),
        ("summit.events", "investigation.*.graph.awareness"),
    )
    assert len([route for route in rules.routes if route.system == "portal"]) == 26
    assert [namespace.pattern for namespace in rules.namespaces if namespace.system == "portal"] == [
        "/portal",
        "/project/{project}",
        "/chat/{project}",
        "/monitoring",
        "/admin",
    ]


def test_a_namespace_is_found_by_its_concrete_name() -> None:
    """Words are captured; what no pattern names does not exist."""
    rules = compile_shipped()

    found = rules.match_namespace("/project/apollo")

    assert found is not None
    assert (found[0].pattern, found[1]) == ("/project/{project}", {"project": "apollo"})
    for name in ("/portal/", "/project", "/project/a/b", "/project/a.b", "/project/*", "portal"):
        assert rules.match_namespace(name) is None


def test_a_route_carries_what_the_table_shows(tmp_path: Path) -> None:
    """The texts are those of the YAML; the event is the key's last word unless it is named."""
    rules = compile_project(
        tmp_path,
        HEAD
        + """
namespaces:
  /shop:
    events:
      order.{id}.made: {schema: Order}
      order.{id}.{change:paid|sent}: {schema: Order, as: "order:{change}", rooms: "order:{id}"}
      scan.{id}: {as: scan}
""",
    )

    assert [(route.key.text, route.schema, route.event, route.rooms) for route in rules.routes] == [
        ("order.{id}.made", "Order", "made", ()),
        ("order.{id}.{change:paid|sent}", "Order", "order:{change}", ("order:{id}",)),
        ("scan.{id}", None, "scan", ()),
    ]
    assert rules.routes[1].events == {"order:paid", "order:sent"}
    assert rules.bindings == (
        ("shop.events", "order.*.made"),
        ("shop.events", "order.*.*"),
        ("shop.events", "scan.*"),
    )


EVENT = "routes/shop.yaml: namespaces./shop.events"
COMMAND = "routes/shop.yaml: namespaces./shop.commands"
NAMESPACE = "routes/shop.yaml: namespaces./shop"


@pytest.mark.parametrize(
    ("routes", "fault"),
    [
        (with_event("a..b", "{schema: Order}"), f"{EVENT}.a..b: "),
        (
            with_event("order.{id}.made", "{schema: Ordr}"),
            f'{EVENT}.order.{{id}}.made.schema: unknown schema "Ordr" in module shop (known: Order, Place)',
        ),
        (
            with_event("order.{id}.made", '{schema: Order, rooms: "order:{ide}"}'),
            f'{EVENT}.order.{{id}}.made.rooms[0]: unknown word "ide"',
        ),
        (
            with_event("order.{id}.made", '{schema: Order, rooms: "order:{body.ident}"}'),
            'unknown field "ident" in body (known: id, lines, note)',
        ),
        (with_event("order.{id}.made", '{rooms: "order:{body.id}"}'), ".made.rooms[0]: "),
        (with_event("order.{id}.made", '{schema: Order, rooms: "u:{user.sub}"}'), ".made.rooms[0]: "),
        (with_event("order.{id}.made", "{schema: Order, rooms: []}"), ".made.rooms: names no room"),
        (with_event("order.{id}.made", "{schema: Order, otherwise: all}"), ".otherwise: has no effect"),
        (with_event("order.{id}.made", '{schema: Order, remember: "o:{x}"}'), ".made.remember[0]: unknown"),
        (
            with_event("order.{id}.made", "{schema: Order, retain: true, max_age: 9s}"),
            ".made.retain: does not",
        ),
        (
            with_event("order.{id}.made", '{schema: Order, live: true, remember: "o:{id}"}'),
            "made.live: does not go together with remember: nothing is kept of it",
        ),
        (with_event("order.{id}.made", "{schema: Order, live: true, retain: true}"), "together with retain"),
        (with_event("order.{id}.made", '{schema: Order, args: ["{body.x}"]}'), ".made.args[0]: unknown"),
        (with_event("order.{id}", "{schema: Order}"), "ends in no fixed word, so the event has no name"),
        (
            with_event("order.{id}.made", '{schema: Order, as: "o:{id}"}'),
            'made.as: the word "id" may be anything (list its words in the key: {id:first|second})',
        ),
        (with_event("order.{id}.made", "{schema: Order, as: disconnect}"), 'as: "disconnect" is reserved'),
        (with_event("order.connect", "{schema: Order}"), '"connect" is reserved by Socket.IO'),
        (
            with_event("order.{what:made|connect_error}", '{schema: Order, as: "{what}"}'),
            '"connect_error" is reserved by Socket.IO (take another name)',
        ),
        (
            with_event("order.made", "{schema: Order}", "/shop/{shop}"),
            'the namespace needs the word "shop", which the key does not capture (write {shop}',
        ),
        (with_event("order.made", "{schema: Order}", "shop"), "routes/shop.yaml: namespaces.shop: "),
        (with_command("connect", "{}"), f'{COMMAND}.connect: "connect" is reserved'),
        (with_command("authenticate", "{}"), f'{COMMAND}.authenticate: "authenticate" is a command of the'),
        (with_command("go", "{schema: Plce}"), 'go.schema: unknown schema "Plce" in module shop (known: Pl'),
        (with_command("go", "{publish: 'a.{x}'}"), 'go.publish: unknown word "x"'),
        (with_command("go", "{publish: 'a..b'}"), ".go.publish: "),
        (with_command("go", "{to: events, ack: 1}"), "go.to: has no effect without publish"),
        (with_command("go", "{set: {a: 1}}"), "go.set: stamps a body that is not published"),
        (with_command("go", "{publish: a.b, set: {a: '{x}'}}"), 'go.set.a: unknown word "x"'),
        (
            with_command("go", "{schema: Place, publish: a.b, set: {name: x}}"),
            'go.set: "name" is required by Place, but clients need not send what is stamped',
        ),
        (
            with_command("go", "{publish: a.b, set: {idempotency_key: x}}"),
            'go: "idempotency_key" is a field of the bridge itself',
        ),
        (with_command("go", "{allow: {shops: '{x}'}}"), ".go.allow.shops: "),
        (with_command("go", "{ack: {message: '{message.id}'}}"), ".go.ack.message: "),
        (with_command("go", "{ack: {users: '{room.users}'}}"), ".go.ack.users: "),
        (with_command("go", "{emit: {disconnect: 1}}"), 'go.emit: "disconnect" is reserved'),
        (
            with_command("go", "{schema: Place, join: 'palce:{body.name}'}", "{'place:{name}': {}}"),
            'go.join: no entry of `rooms` covers "palce:{body.name}", so nobody could join it (known: place:',
        ),
        (
            with_command("go", "{join: everyone}"),
            'covers "everyone", so nobody could join it (none is known)',
        ),
        (
            with_namespace("{rooms: {'a:{x}': {}, 'a:{y}': {}}}"),
            'rooms.a:{y}: covers the same rooms as "a:{x}"',
        ),
        (with_namespace("{rooms: {'a:{x}': {allow: {p: '{y}'}}}}"), ".rooms.a:{x}.allow.p: "),
        (
            with_namespace("{rooms: {'a:{x}': {presence: {joined: {connect: 1}}}}}"),
            f'{NAMESPACE}.rooms.a:{{x}}.presence.joined: "connect" is reserved',
        ),
        (with_namespace("{allow: {shops: '{shop}'}}"), f"{NAMESPACE}.allow.shops: "),
        (with_namespace("{on_connect: {join: 'u:{body.x}'}}"), ".on_connect.join[0]: "),
        (with_namespace("{on_connect: {emit: {connect: 1}}}"), '.on_connect.emit: "connect" is reserved'),
        (
            with_namespace("{errors: {events: {RATE_LIMTED: {a: 1}}}}"),
            '.errors.events.RATE_LIMTED: unknown code "RATE_LIMTED" (known: RATE_LIMITED, ',
        ),
        (with_namespace("{auth: {failed: {connect: 1}}}"), f'{NAMESPACE}.auth.failed: "connect" is reserved'),
        (HEAD + "auth: {expired: {a: '{x}'}}\nnamespaces: {/shop: {}}", "shop.yaml: auth.expired.a: unknown"),
        ("exchange: bridge.log\nnamespaces: {/shop: {}}", 'exchange: "bridge.log" belongs to the bridge'),
        ("exchange: amq.topic\nnamespaces: {/shop: {}}", 'exchange: "amq.topic" belongs to RabbitMQ itself'),
        ("exchange: ''\nnamespaces: {/shop: {}}", 'exchange: "" is no name of an exchange'),
        (
            "exchange: a\ncommands_exchange: bridge.control\nnamespaces: {/shop: {}}",
            'commands_exchange: "bridge.control" belongs to the bridge',
        ),
        (
            "exchange: a\nnamespaces: {/shop: {commands: {go: {publish: a.b}}}}",
            "commands.go.publish: needs an exchange (name it at the top of the file",
        ),
        (
            "exchange: a\nschemas: shp\nnamespaces: {/shop: {events: {a.b: {schema: Order}}}}",
            'shop.yaml: schemas: there is no module "shp" in the schemas folder (known: shop)',
        ),
        (
            "exchange: a\nnamespaces: {/shop: {events: {a.b: {schema: Order}}}}",
            'events.a.b.schema: "Order" stands in no module (name it at the top of the file',
        ),
    ],
)
def test_a_fault_says_place_value_and_remedy(tmp_path: Path, routes: str, fault: str) -> None:
    """Each mistake is one fault, at the very key where it stands."""
    faults = find_faults(tmp_path, routes)

    assert len(faults) == 1
    assert fault in faults[0]


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """One run of `bridged check` shows everything that is wrong, each once."""
    faults = find_faults(
        tmp_path,
        HEAD
        + """
auth: {failed: {connect: 1}}
namespaces:
  /shop:
    events:
      order.{id}.made: {schema: Nope, rooms: "a:{x}"}
    commands:
      go: {publish: "{x}.b"}
  /till:
    events:
      order.{id}.paid: {schema: Nope}
""",
        secret="",
    )

    assert len(faults) == len(set(faults)) == 6


def test_two_routes_must_not_fight_over_one_event(tmp_path: Path) -> None:
    """A client would receive the event twice; other keys, names, namespaces and exchanges are no fight."""
    routes = (
        HEAD
        + """
namespaces:
  /shop:
    events:
      order.{id}.made: {schema: Order}
      order.*.made: {schema: Order}
      order.{id}.paid: {schema: Order, as: made}
      order.#: {schema: Order, as: all}
  /till:
    events:
      order.{id}.made: {schema: Order}
"""
    )

    (fault,) = find_faults(tmp_path, routes)

    assert fault.startswith("routes/shop.yaml: namespaces./shop.events.order.*.made: makes the event")
    assert '"order.{id}.made"' in fault


def test_two_files_that_fight_are_both_named(tmp_path: Path) -> None:
    """Two files may add to one namespace; the fault says where the other route stands."""
    one = "exchange: a\nschemas: shop\nnamespaces: {/shop: {events: {'order.{id}.made': {schema: Order}}}}"
    two = "exchange: a\nschemas: shop\nnamespaces: {/shop: {events: {'order.#': {schema: Order, as: made}}}}"

    (fault,) = find_faults(tmp_path, {"one": one, "two": two})

    assert fault.startswith("routes/two.yaml: ")
    assert "of routes/one.yaml" in fault


def test_a_namespace_over_two_files_has_the_routes_and_commands_of_both(tmp_path: Path) -> None:
    """Events come from each file's own exchange; presence and limits are the owner's system."""
    one = "exchange: a\nschemas: shop\nnamespaces: {/shop: {events: {'order.made': {schema: Order}}}}"
    two = "exchange: b\ncommands_exchange: c\nnamespaces: {/shop: {commands: {go: {publish: x.y}}}}"

    rules = compile_project(tmp_path, {"one": one, "two": two})

    assert rules.exchanges == ("a", "b", "c")
    found = rules.match_namespace("/shop")
    assert found is not None
    publish = found[0].commands["go"].publish
    assert (found[0].system, rules.routes[0].system) == ("one", "one")
    assert publish is not None
    assert publish.exchange == "c"


OPEN = "exchange: a\nauth: {required: false}\nnamespaces: {/shop: {}}"
SIGNED = "exchange: a\nnamespaces: {/shop: {}}"


@pytest.mark.parametrize(
    ("jwt", "fault"),
    [
        ("{}", "bridge.yaml: auth.jwt.secret: is not set, and /shop asks for a token (set JWT_SECRET"),
        ("{algorithms: [HS25]}", 'auth.jwt.algorithms: unknown algorithm "HS25" (known: HS256'),
        ("{algorithms: []}", "auth.jwt.algorithms: is empty"),
        ("{algorithms: [none]}", 'auth.jwt.algorithms: unknown algorithm "none"'),
        ("{algorithms: [HS256, RS256]}", "are of several families, HS and RS"),
        ("{algorithms: [RS256]}", "auth.jwt.public_key: is not set, and /shop asks for a token"),
    ],
)
def test_tokens_must_be_verifiable(tmp_path: Path, jwt: str, fault: str) -> None:
    """A namespace that asks for a token needs a way to verify it; an open one needs no key."""
    config = f"auth: {{jwt: {jwt}}}"

    (found,) = find_faults(tmp_path, SIGNED, config=config)

    assert fault in found
    assert find_faults(tmp_path, OPEN, config=config) == ([] if "is not set" in fault else [found])


@pytest.mark.parametrize(
    ("stats", "fault"),
    [
        ("{namespace: /shop}", None),
        ("{namespace: /shop, path: /stats, allow: [{roles: admin}, {sub: root}]}", None),
        ("{namespace: /shoop}", 'http.stats.namespace: there is no namespace "/shoop"'),
        ("{namespace: /shop, path: stats}", 'http.stats.path: "stats" is no path'),
        ('{namespace: /shop, path: "/{x}"}', 'http.stats.path: "/{x}" is no path'),
        ('{namespace: /shop, allow: {roles: "{id}"}}', "http.stats.allow.roles: "),
    ],
)
def test_statistics_are_of_a_namespace_that_exists(tmp_path: Path, stats: str, fault: str | None) -> None:
    """And no word of a key or namespace can be asked for."""
    found = find_faults(tmp_path, with_namespace("{}"), config=f"http: {{stats: {stats}}}")
    if fault is None:
        assert found == []
        assert compile_project(tmp_path, with_namespace("{}"), config=f"http: {{stats: {stats}}}").stats
    else:
        assert [text.startswith(f"bridge.yaml: {fault}") for text in found] == [True]


def test_statistics_need_a_secret_where_nothing_else_does(tmp_path: Path) -> None:
    """An open system may have a page for operators: its token must be verified."""
    config = "http: {stats: {namespace: /shop}}"
    routes = with_namespace("{auth: {required: false}}")
    (found,) = find_faults(tmp_path, routes, config=config, secret="")
    assert found.startswith("bridge.yaml: auth.jwt.secret: is not set, and http.stats asks for a token")


def test_signs_of_life_must_leave_room_for_events(tmp_path: Path) -> None:
    """A log full of heartbeats serves nobody."""
    (found,) = find_faults(tmp_path, OPEN, config="instances: {heartbeat: 0s}")
    assert found.startswith("bridge.yaml: instances.heartbeat: is less than 100ms")


def test_the_log_and_the_state_are_two_streams(tmp_path: Path) -> None:
    """Else the state would be read as events, and be bound by the bounds of the log."""
    (found,) = find_faults(tmp_path, OPEN, config="amqp: {state: {name: bridge.events}}")
    assert found.startswith('bridge.yaml: amqp.state.name: "bridge.events" is the log\'s name, too')
