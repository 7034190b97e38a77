"""Every key is decoded by its type, and every fault is told at once with its place and remedy."""

import pytest
from msgspec.structs import fields

from bridge.config.decode import decode_section
from bridge.config.model import Config, Section
from bridge.config.route_model import RouteFile
from bridge.config.units import Duration, Rate, Size
from bridge.config.variables import Substituted


def faults_of(value: object, section: type[Section] = Config) -> list[str]:
    """Decode and return the faults as text."""
    decoded, faults = decode_section(value, section, "f.yaml")
    assert (decoded is None) == bool(faults)
    return [str(fault).removeprefix("f.yaml: ") for fault in faults]


def decode_namespace(namespace: object) -> tuple[RouteFile | None, list[str]]:
    """Decode a route file with one namespace."""
    decoded, faults = decode_section({"exchange": "e", "namespaces": {"/n": namespace}}, RouteFile, "f.yaml")
    return decoded, [str(fault).removeprefix("f.yaml: namespaces./n.") for fault in faults]


def test_an_empty_mapping_is_all_defaults() -> None:
    """Every key of `bridge.yaml` has a default."""
    assert decode_section({}, Config, "f.yaml") == (Config(), [])


def test_quantities_are_read_from_text() -> None:
    """Durations, sizes and rates are written as people write them."""
    config, faults = decode_section(
        {"shutdown_timeout": "250ms", "limits": {"payload": "2kB"}, "http": {"port": 0}}, Config, "f.yaml"
    )
    assert faults == []
    assert config is not None
    assert (config.shutdown_timeout, config.limits.payload) == (Duration("250ms"), Size("2kB"))
    routes, faults_ = decode_namespace(
        {"limits": {"rate": "10/s"}, "commands": {"c": {"limit": ["1/s", "2/h"]}}}
    )
    assert faults_ == []
    assert routes is not None
    assert routes.namespaces["/n"].limits is not None
    assert routes.namespaces["/n"].limits.rate == [Rate("10/s")]
    assert routes.namespaces["/n"].commands["c"].limit == [Rate("1/s"), Rate("2/h")]


def test_a_single_value_is_a_list_of_one() -> None:
    """Wherever a list belongs, one value may stand without brackets."""
    routes, faults = decode_namespace(
        {
            "on_connect": {"join": "a"},
            "events": {"a.b": {"rooms": "r", "otherwise": "o", "args": "{body}"}},
            "commands": {"c": {"join": "r", "leave": "l"}},
        }
    )
    assert faults == []
    assert routes is not None
    namespace = routes.namespaces["/n"]
    assert namespace.on_connect.join == ["a"]
    event, command = namespace.events["a.b"], namespace.commands["c"]
    assert (event.rooms, event.otherwise, event.args) == (["r"], ["o"], ["{body}"])
    assert (command.join, command.leave) == (["r"], ["l"])


def test_an_entry_without_keys_may_be_left_empty() -> None:
    """`ping:` with nothing after it is a command with all defaults."""
    routes, faults = decode_namespace({"commands": {"ping": None}, "rooms": {"global": None}})
    assert faults == []
    assert routes is not None
    assert routes.namespaces["/n"].commands["ping"].publish is None


def test_variables_are_retyped() -> None:
    """A variable's text becomes a number or boolean where the key wants one, and stays text elsewhere."""
    config, faults = decode_section(
        {
            "http": {"port": Substituted("8001"), "metrics": Substituted("false"), "host": Substituted("1")},
            "auth": {"jwt": {"secret": Substituted("12345"), "defaults": {"tenant": Substituted("7")}}},
            "shutdown_timeout": Substituted("5s"),
            "log": {"level": Substituted("debug")},
        },
        Config,
        "f.yaml",
    )
    assert faults == []
    assert config is not None
    assert (config.http.port, config.http.metrics, config.http.host) == (8001, False, "1")
    assert config.auth.jwt.secret == "12345"
    assert type(config.auth.jwt.defaults["tenant"]) is str
    assert type(config.auth.jwt.secret) is str
    assert type(config.log.level) is str
    assert config.shutdown_timeout == 5.0
    assert faults_of({"http": {"port": "8001"}}) == ['http.port: "8001" is not a whole number']


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ([], "a list is no mapping (write keys and values)"),
        ({"htpp": {}}, 'htpp: unknown key "htpp" (did you mean http?)'),
        ({"log": {"zzz": 1}}, 'log.zzz: unknown key "zzz" (known: format, level)'),
        ({"http": []}, "http: a list is no mapping (write keys and values)"),
        ({"http": None}, "http: has no value (give it one, or leave the key out)"),
        ({"http": {"port": "x"}}, 'http.port: "x" is not a whole number'),
        ({"http": {"port": True}}, "http.port: true is not a whole number"),
        ({"http": {"port": 70000}}, "http.port: 70000 is too large (at most 65535)"),
        ({"limits": {"rooms": 0}}, "limits.rooms: 0 is too small (at least 1)"),
        ({"http": {"metrics": "yes"}}, 'http.metrics: "yes" is not true or false'),
        ({"http": {"host": 5}}, "http.host: 5 is not text (put it in quotes)"),
        ({"http": {"paths": {"a": 1}}}, "http.paths: a mapping is no list"),
        ({"http": {"paths": ["/a", 5]}}, "http.paths[1]: 5 is not text"),
        ({"amqp": {"heartbeat": 10}}, "amqp.heartbeat: 10 is not a duration such as 10s"),
        ({"amqp": {"heartbeat": "10"}}, 'amqp.heartbeat: "10" is no duration'),
        ({"limits": {"payload": "1 MB"}}, 'limits.payload: "1 MB" is no size'),
        ({"log": {"format": "jsn"}}, 'log.format: "jsn" is not among the choices (did you mean json?)'),
        ({"amqp": {"source": 5}}, "amqp.source: 5 is not among the choices (known: stream, queue)"),
        ({"auth": {"jwt": {"aliases": {"a": 5}}}}, "auth.jwt.aliases.a: 5 is not text"),
        ({"auth": {"jwt": {"aliases": "a"}}}, 'auth.jwt.aliases: "a" is no mapping'),
        ({"auth": {"jwt": {"secret": 12345}}}, "auth.jwt.secret: the value is not text (put it in quotes)"),
        ({"amqp": {"url": ["amqp://u:p@h/"]}}, "amqp.url: the value is not text"),
    ],
)
def test_faults_of_bridge_yaml(value: object, fault: str) -> None:
    """The value, the place and the remedy; never a secret."""
    faults = faults_of(value)
    assert len(faults) == 1
    assert faults[0].startswith(fault)


@pytest.mark.parametrize(
    ("namespace", "fault"),
    [
        ({"allow": {"a": 1.5}}, "allow.a: 1.5 is not text or a whole number or true or false or a list"),
        ({"allow": {"a": {"b": 1}}}, "allow.a: a mapping is not text"),
        ({"allow": [{"a": [1]}]}, "allow[0].a[0]: 1 is not text"),
        ({"allow": "x"}, 'allow: "x" is not a mapping or a list'),
        ({"commands": {"c": {"emit": {"a": 1, "b": 2}}}}, "commands.c.emit: 2 events: exactly one event"),
        (
            {"events": {"a.{b}": {"as": {"b": None}}}},
            'events.a.{b}.as: a mapping is not text (put a template in quotes: "{b}")',
        ),
        ({"commands": {"c": {"emit": {}}}}, "commands.c.emit: 0 events: exactly one event"),
        ({"commands": {"c": {"emit": "a"}}}, 'commands.c.emit: "a": exactly one event'),
        ({"errors": {"events": {"*": {}}}}, "errors.events.*: 0 events"),
        ({"commands": {"c": {"limit": "fast"}}}, 'commands.c.limit: "fast" is no rate'),
        ({"commands": {"c": {"limit": ["1/s", "0/s"]}}}, 'commands.c.limit[1]: "0/s" is no rate'),
        ({"events": {"a": {"rooms": None}}}, "events.a.rooms: has no value"),
        ({"events": {"a": {"except": "all"}}}, 'events.a.except: "all" is not among the choices'),
        ({"events": {"a": {"event": "x"}}}, 'events.a.event: unknown key "event"'),
        ({"limits": {"connections_per_user": 0}}, "limits.connections_per_user: 0 is too small"),
        ({"limits": {"ban": {"after": 0}}}, "limits.ban.after: 0 is too small"),
    ],
)
def test_faults_of_route_files(namespace: object, fault: str) -> None:
    """Paths name the namespace and the entry."""
    _, faults = decode_namespace(namespace)
    assert len(faults) == 1
    assert faults[0].startswith(fault)


def test_all_faults_are_told_at_once() -> None:
    """One mistake does not hide the next, at any depth."""
    value = {"http": {"port": "x", "prot": 1}, "log": {"level": "loud"}, "include": [1, 2], "zzz": 1}
    assert [fault.partition(":")[0] for fault in faults_of(value)] == [
        "http.port", "http.prot", "log.level", "include[0]", "include[1]", "zzz",
    ]  # fmt: skip


def test_missing_keys_are_named() -> None:
    """What has no default must be there."""
    assert faults_of({"exchage": "a"}, RouteFile) == [
        'exchage: unknown key "exchage" (did you mean exchange?)',
        'the key "exchange" is missing (add it)',
        'the key "namespaces" is missing (add it)',
    ]


def test_payloads_keep_their_shape() -> None:
    """Templates are any YAML value."""
    payload = {"a": [1, None, {"b": "{body.x}"}], "c": True}
    routes, faults = decode_namespace(
        {"commands": {"c": {"emit": {"done": payload}, "ack": [], "set": {"x": None}}}}
    )
    assert faults == []
    assert routes is not None
    command = routes.namespaces["/n"].commands["c"]
    assert (command.emit, command.ack, command.set) == ({"done": payload}, [], {"x": None})


def test_every_key_of_the_model_can_be_decoded() -> None:
    """Writing out all defaults as they stand in the model gives the same configuration."""
    for field in fields(Config):
        assert faults_of({field.encode_name: {}} if isinstance(field.default, Section) else {}) == []
