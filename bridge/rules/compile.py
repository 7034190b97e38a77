"""Owns `Rules`, the immutable snapshot of all that was configured, and how it is compiled."""

from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from bridge.auth.settings import find_jwt_faults, is_shared
from bridge.config.load import Loaded
from bridge.config.merge import MergedNamespace, System
from bridge.config.model import Config, Http
from bridge.errors import ConfigError
from bridge.rules.access import Access, compile_allow
from bridge.rules.faults import Spot, suggest
from bridge.rules.key_index import KeyIndex
from bridge.rules.names import NameIndex, NamespacePattern, parse_namespace_pattern
from bridge.rules.namespaces import NamespaceRules, compile_namespace
from bridge.rules.routes import EventRoute, RoutePlace, compile_event
from bridge.rules.schemas import Schemas
from bridge.rules.scope import Known
from bridge.rules.ways import Ways

_OWN_EXCHANGES: Final = "bridge."
_BROKER_EXCHANGES: Final = "amq."
_MAX_EXCHANGE: Final = 127
_SHORTEST_HEARTBEAT: Final = 0.1


class Rules(Struct, frozen=True, kw_only=True):
    """Everything that decides, and never changes."""

    config: Config
    file: str
    """The name of the configuration's file, as faults show it."""
    namespaces: tuple[NamespaceRules, ...]
    routes: tuple[EventRoute, ...]
    """In the order of the files, for tables."""
    exchanges: tuple[str, ...]
    """All exchanges that are read from or published to; each is topic and durable."""
    bindings: tuple[tuple[str, str], ...]
    """Exchange and AMQP binding key of everything that is read from the log; each pair once."""
    retained_bindings: tuple[tuple[str, str], ...]
    """Those of them whose last values are kept."""
    live_bindings: tuple[tuple[str, str], ...]
    """The same of what goes round the log."""
    route_index: Mapping[str, KeyIndex[EventRoute]]
    """By exchange, those round the log among them."""
    ways: Ways
    """What each key leads to, of what the log brings."""
    live_ways: Ways
    """The same of what comes round the log."""
    namespace_index: NameIndex[NamespacePattern, NamespaceRules]
    stats: Access | None
    """Who may see `http.stats`; None where there is no such page."""

    def match_namespace(self, name: str) -> tuple[NamespaceRules, Mapping[str, str]] | None:
        """The rules of a concrete namespace and the words in its name; None when it does not exist."""
        return self.namespace_index.find(name)


def compile_rules(loaded: Loaded, schemas: Schemas) -> Rules:
    """Compile a configuration; raises ConfigError with all of its faults."""
    root = Spot([], loaded.file)
    for system in loaded.systems:
        _check_system(Spot(root.faults, system.file), system, schemas)
    namespaces: list[tuple[NamespacePattern, NamespaceRules]] = []
    routes: list[EventRoute] = []
    for merged in loaded.namespaces:
        spot = Spot(root.faults, merged.owner.system.file, f"namespaces.{merged.pattern}")
        pattern = spot.attempt(parse_namespace_pattern, merged.pattern)
        if pattern is None:
            continue
        rules = compile_namespace(merged, pattern, root, schemas)
        if rules is not None:
            namespaces.append((pattern, rules))
        routes += _compile_routes(root, merged, pattern, schemas)
    _check_fights(root, routes)
    if loaded.config.instances.heartbeat < _SHORTEST_HEARTBEAT:
        root.at("instances", "heartbeat").add(
            f"is less than {_SHORTEST_HEARTBEAT * 1000:.0f}ms: the log would hold little else (10s is meant)"
        )
    amqp = loaded.config.amqp
    if amqp.state.name == amqp.stream.name:
        root.at("amqp", "state", "name").add(
            f'"{amqp.state.name}" is the log\'s name, too: two streams need two names (write another one)'
        )
    _check_jwt(root.at("auth", "jwt"), loaded.config, loaded.namespaces)
    index = NameIndex(namespaces)
    logged = [route for route in routes if not route.live]
    live = [route for route in routes if route.live]
    stats = _compile_stats(root.at("http", "stats"), loaded.config.http, index)
    if root.faults:
        raise ConfigError(list(dict.fromkeys(root.faults)))
    return Rules(
        config=loaded.config,
        file=loaded.file,
        namespaces=tuple(rules for _, rules in namespaces),
        routes=tuple(routes),
        exchanges=_collect_exchanges(loaded.systems),
        bindings=_collect_bindings(logged),
        retained_bindings=_collect_bindings(route for route in logged if route.retain),
        live_bindings=_collect_bindings(live),
        route_index=_index_routes(routes),
        ways=Ways(_index_routes(logged)),
        live_ways=Ways(_index_routes(live)),
        namespace_index=index,
        stats=stats,
    )


def _compile_routes(
    root: Spot, merged: MergedNamespace, pattern: NamespacePattern, schemas: Schemas
) -> list[EventRoute]:
    routes = []
    for part in merged.parts:
        around = RoutePlace(
            spot=Spot(root.faults, part.system.file, f"namespaces.{merged.pattern}"),
            system=part.system,
            owner=merged.owner.system.name,
            namespace=pattern,
            schemas=schemas,
        )
        for key, event in part.namespace.events.items():
            route = compile_event(around, key, event)
            if route is not None:
                routes.append(route)
    return routes


def _index_routes(routes: list[EventRoute]) -> dict[str, KeyIndex[EventRoute]]:
    by_exchange: dict[str, list[EventRoute]] = {}
    for route in routes:
        by_exchange.setdefault(route.exchange, []).append(route)
    return {
        exchange: KeyIndex([(route.key, route) for route in some]) for exchange, some in by_exchange.items()
    }


def _collect_exchanges(systems: Iterable[System]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for system in systems:
        names[system.routes.exchange] = None
        if system.routes.commands_exchange is not None:
            names[system.routes.commands_exchange] = None
    return tuple(names)


def _collect_bindings(routes: Iterable[EventRoute]) -> tuple[tuple[str, str], ...]:
    return tuple(dict.fromkeys((route.exchange, route.key.binding) for route in routes))


def _check_system(spot: Spot, system: System, schemas: Schemas) -> None:
    routes = system.routes
    _check_exchange(spot.at("exchange"), routes.exchange)
    if routes.commands_exchange is not None:
        _check_exchange(spot.at("commands_exchange"), routes.commands_exchange)
    if routes.schemas is not None and routes.schemas not in schemas.modules:
        known = suggest(routes.schemas, schemas.modules)
        spot.at("schemas").add(f'there is no module "{routes.schemas}" in the schemas folder ({known})')


def _check_exchange(spot: Spot, name: str) -> None:
    if name.startswith((_OWN_EXCHANGES, _BROKER_EXCHANGES)):
        owner = "the bridge" if name.startswith(_OWN_EXCHANGES) else "RabbitMQ"
        spot.add(f'"{name}" belongs to {owner} itself (take a name of your own)')
    elif not name or len(name.encode()) > _MAX_EXCHANGE or not name.isprintable():
        spot.add(f'"{name[:32]}" is no name of an exchange (1-{_MAX_EXCHANGE} bytes, printable)')


def _check_fights(root: Spot, routes: list[EventRoute]) -> None:
    """Two routes of one namespace must not make one event of one message: a client would get it twice."""
    groups: dict[tuple[str, str], list[EventRoute]] = {}
    for route in routes:
        for other in groups.setdefault((route.namespace, route.exchange), []):
            both = route.events & other.events
            if both and route.key.overlaps(other.key):
                spot = Spot(root.faults, route.file, f"namespaces.{route.namespace}.events.{route.key.text}")
                where = f'"{other.key.text}"' + (f" of {other.file}" if other.file != route.file else "")
                spot.add(
                    f'makes the event "{min(both)}" of messages that {where} takes too (join them, or name '
                    "one of the events otherwise with `as`)"
                )
        groups[route.namespace, route.exchange].append(route)


def _compile_stats(
    spot: Spot, http: Http, index: NameIndex[NamespacePattern, NamespaceRules]
) -> Access | None:
    stats = http.stats
    if stats is None:
        return None
    if not stats.path.startswith("/") or not stats.path.isprintable() or set(stats.path) & set("{}?# "):
        spot.at("path").add(f'"{stats.path}" is no path (write /api/v1/websocket/stats)')
    if index.find(stats.namespace) is None:
        spot.at("namespace").add(f'there is no namespace "{stats.namespace}" (name one of the route files)')
    return spot.at("allow").attempt(compile_allow, stats.allow, Known())


def _check_jwt(spot: Spot, config: Config, namespaces: Iterable[MergedNamespace]) -> None:
    asking = [
        merged.pattern
        for merged in namespaces
        if (merged.owner.namespace.auth or merged.owner.system.routes.auth).required
    ]
    if config.http.stats is not None:
        asking.append("http.stats")
    jwt = config.auth.jwt
    faults = list(find_jwt_faults(jwt))
    for key, message in faults:
        spot.at(key).add(message)
    if faults or not asking:
        return
    if is_shared(jwt) and not jwt.secret:
        spot.at("secret").add(
            f"is not set, and {asking[0]} asks for a token (set JWT_SECRET in the environment, such as "
            "`openssl rand -hex 32` prints, or write `auth: {required: false}` for an open namespace)"
        )
    elif not is_shared(jwt) and not jwt.public_key:
        spot.at("public_key").add(f"is not set, and {asking[0]} asks for a token (put the PEM text here)")
