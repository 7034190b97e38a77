"""A whole flow over fakes, with the rules of a small club: what the tests of bridge/flow work with."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from pathlib import Path

from bridge.auth.tokens import TokenVerifier, sign
from bridge.flow.admission import Admission
from bridge.flow.control import Control
from bridge.flow.door import Door
from bridge.flow.downlink import Downlink
from bridge.flow.gateway import BridgeGateway
from bridge.flow.handovers import Handovers
from bridge.flow.instances import Instances
from bridge.flow.live import LiveDownlink
from bridge.flow.log_window import LogWindow
from bridge.flow.lost_and_found import LostAndFound
from bridge.flow.occupancy import Occupancy
from bridge.flow.oddities import Oddities
from bridge.flow.own_messages import OwnMessages, OwnWriter
from bridge.flow.pace import Pace
from bridge.flow.peers import Peers
from bridge.flow.ports import Client, ConnectRefused, ConnectRequest, Publisher
from bridge.flow.presence import Presence
from bridge.flow.reconnects import Reconnects
from bridge.flow.recoveries import Recoveries
from bridge.flow.replays import Replays
from bridge.flow.rooms import Rooms
from bridge.flow.session import Sessions
from bridge.flow.state_keeper import StateKeeper
from bridge.flow.uplink import Uplink
from bridge.model import CONTROL_EXCHANGE, LOG_EXCHANGE, Delivery
from bridge.rules.compile import Rules
from bridge.rules.presence_plan import PresencePlans
from bridge.state.history import History
from bridge.state.lost_sessions import LostSessions
from bridge.state.memberships import Memberships
from bridge.state.presence import PresenceTable
from bridge.state.recent_orders import RecentOrders
from bridge.state.remembered import Remembered
from bridge.state.retained import Retained
from bridge.state.verdicts import Exclusions, Revocations
from bridge.telemetry.metrics import Metrics
from tests.support.fakes import (
    Clock,
    RecordingClient,
    RecordingFanout,
    RecordingInvalidSink,
    ScriptedPublisher,
    ScriptedRequester,
    settle,
)
from tests.support.house import HEARTBEAT, MemoryLog
from tests.support.rules import compile_project

CONFIG = """
    limits: {inbox: 4, payload: 2kB, rooms: 4, duplicates: 100}
"""

BODIES = """
    from msgspec import Struct

    class Table(Struct, forbid_unknown_fields=True):
        table: str
        text: str = ""

    class Said(Struct):
        text: str
"""

ROUTES = """
    exchange: club.events
    commands_exchange: club.commands
    schemas: shop
    auth:
      late: {within: 10s, hold: 3}
    limits:
      connections_per_user: 2
      ban: {after: 3, within: 60s, duration: 300s}
    errors: {always: true}

    namespaces:
      /hall:
        on_connect: {join: ["user:{user.sub}", "floor:{user.floor}"]}
        rooms:
          table:{table}: &table
            allow: {tables: "{table}"}
            presence:
              joined: {came: {user: "{user.sub}", table: "{table}"}}
              left: {went: {user: "{user.sub}", table: "{table}"}}
              grace: 5s
          quiet:{name}: {}
          guests:{table}: {}
        events:
          table.{table}.said: {schema: Said, rooms: ["table:{table}"], remember: "table:{table}"}
          table.{table}.any: {schema: Said}
          table.{table}.calls: {schema: Said, rooms: ["table:{table}"], max_age: 30s}
          tables.{one}.{other}.heard: {schema: Said, rooms: ["table:{one}", "table:{other}"]}
          table.{table}.menu: {schema: Said, rooms: ["table:{table}", "guests:{table}"], retain: true}
          house.rule: {schema: Said, retain: true, remember: house}
          floor.{floor}.plan: {schema: Said, rooms: ["floor:{floor}"], retain: true}
          table.{table}.hums: {schema: Said, rooms: ["table:{table}"], live: true, except: sender}
        commands:
          sit: &sit
            schema: Table
            join: "table:{body.table}"
            emit:
              seated: {table: "{body.table}", users: "{room.users}", last: "{room.last.said.text:-null}"}
          stand: &stand {schema: Table, leave: "table:{body.table}"}
          hide: {schema: Table, join: "quiet:{body.table}"}
          visit: {schema: Table, join: "guests:{body.table}"}
          say: {schema: Table, publish: "table.{body.table}.say", set: {by: "{user.sub}"}}
          order: {schema: Table, publish: "table.{body.table}.order", join: "table:{body.table}"}
          knock: {ack: {who: "{user.sub}"}, limit: 2/s}
      /table/{table}:
        allow: {tables: "{table}"}
        rooms:
          table:{table}: *table
        events:
          table.{table}.said: {schema: Said}
        commands: {sit: *sit, stand: *stand}
      /lobby:
        on_connect: {emit: {welcome: {user: "{user.sub}"}}}
        events:
          house.rule: {schema: Said, retain: true}
          table.{table}.any: {schema: Said}
      /bar:
        limits: {rate: [2/s, 5/min], ban: {after: 3, within: 60s, duration: 300s}}
        commands: {sip: {}}
      /garden/{bench}:
        auth: {required: false}
        limits: {rate: [1/s], ban: {after: 2}}
        commands: {rest: {}}
      /desk:
        auth: {required: true}
        commands: {ring: {}}
"""


def compile_club(folder: Path) -> Rules:
    """The rules of the club."""
    return compile_project(folder, ROUTES, bodies=BODIES, config=CONFIG)


class Club:
    """One instance without its edges; made inside the running loop, whose time is its clock's."""

    def __init__(
        self,
        rules: Rules,
        *,
        ready: bool = True,
        name: str = "club",
        clock: Clock | None = None,
        log: Publisher | None = None,
        wire: Publisher | None = None,
    ) -> None:
        """`ready` says that the log as it was at the start has been read.

        Clubs that know one another share a clock, a log, which hands over what it holds, and a wire.
        """
        self.clock = clock or Clock()
        self.clock.drive_loop()
        self.rules = rules
        self.metrics = Metrics()
        self.memberships = Memberships[Client]()
        self.remembered = Remembered(100)
        self.fanout = RecordingFanout(self.memberships)
        self.publisher = ScriptedPublisher()
        self.requester = ScriptedRequester()
        self.invalid = RecordingInvalidSink()
        self.sessions = Sessions()
        wall = self._wall
        self.pace = Pace(self.sessions, lambda: self.clock.steady)
        self.revocations, self.exclusions = Revocations(), Exclusions()
        verifier = TokenVerifier(rules.config.auth.jwt, self.revocations.covers)
        self.admission = Admission(self.sessions, verifier, self.pace, self.exclusions, wall)
        self.log = MemoryLog()
        self.log.attach(self._read)
        self.log_messages = OwnMessages("log")
        self.control_messages = OwnMessages("log", from_people=True)
        self.writer = OwnWriter(log or self.log, "log", wall)
        self.instances = Instances(name, self.log_messages, self.writer, HEARTBEAT)
        self.plans, self.table = PresencePlans(rules), PresenceTable(self.instances.incarnation)
        self.occupancy = Occupancy(
            self.plans, self.table, self.instances, log or self.log, "log", self.metrics, wall
        )
        self.presence = Presence(self.plans, self.table, self.instances, self.writer, self.occupancy, wall)
        self.presence.register(self.log_messages)
        self.retained = Retained(100, 1_000_000)
        self.keeper = StateKeeper(
            rules,
            retained=self.retained,
            remembered=self.remembered,
            revocations=self.revocations,
            exclusions=self.exclusions,
            obey=self.control_messages.take,
            publisher=self.publisher,
            clock=wall,
        )
        self.presence.on_read.append(self.keeper.read_on)
        self.rooms = Rooms(rules, self.memberships, self.remembered, self.retained, self.presence)
        self.window = LogWindow(History(10_000_000, 600.0), wall, HEARTBEAT)
        self.replays = Replays(self.window, self.memberships, rules.config.limits.outbox_bytes, self.metrics)
        self.uplink = Uplink(
            self.rooms,
            self.replays,
            self.publisher,
            self.requester,
            self.metrics,
            wall,
            lambda: self.clock.steady,
        )
        oddities = Oddities(self.invalid, self.metrics)
        self.live = LiveDownlink(rules, self.fanout, oddities, self.metrics, wall, {})
        self.downlink = Downlink(
            rules,
            remembered=self.remembered,
            fanout=self.fanout,
            oddities=oddities,
            metrics=self.metrics,
            clock=wall,
            own={LOG_EXCHANGE: self.log_messages.take, CONTROL_EXCHANGE: self.keeper.obey},
            window=self.window,
            keep=self.keeper.keep,
        )
        self.fanout.head = self.window.head
        self.lost = LostSessions(rules.config.recovery.window, rules.config.recovery.sessions)
        self.peer_messages = OwnMessages("log")
        self.peers = Peers(self.instances, self.peer_messages, OwnWriter(wire or self.log, "log", wall))
        self.handovers = Handovers(self.lost, self.peers, self.log_messages, self.writer)
        self.lost_and_found = LostAndFound(
            sessions=self.sessions,
            lost=self.lost,
            orders=RecentOrders(rules.config.recovery.window),
            handovers=self.handovers,
            replays=self.replays,
            memberships=self.memberships,
            clock=lambda: self.clock.steady,
        )
        self.recoveries = Recoveries(
            sessions=self.lost_and_found,
            replays=self.replays,
            rooms=self.rooms,
            memberships=self.memberships,
            wall=wall,
        )
        if ready:
            self.recoveries.caught_up()
        self.door = Door(
            rules,
            sessions=self.sessions,
            admission=self.admission,
            replays=self.replays,
            recoveries=self.recoveries,
            metrics=self.metrics,
            clock=wall,
        )
        self.gateway = BridgeGateway(
            rules,
            door=self.door,
            sessions=self.sessions,
            admission=self.admission,
            pace=self.pace,
            rooms=self.rooms,
            uplink=self.uplink,
            replays=self.replays,
            recoveries=self.recoveries,
            lost_and_found=self.lost_and_found,
            reconnects=Reconnects(lambda: self.clock.steady),
            metrics=self.metrics,
            clock=wall,
        )
        self.control = Control(
            rules, self.sessions, self.rooms, self.gateway.end, self.revocations, self.exclusions
        )
        self.control.on_verdict = self.keeper.note_verdict
        self.control.on_ended = self.lost_and_found.forget
        self.control.on_evicted = self.lost_and_found.evict
        self.control.register(self.control_messages)
        self.numbers = count(1)
        """Of clients and their connections."""

    def catch_up(self) -> None:
        """The log as it was at the start has been read."""
        self.downlink.caught_up()
        self.recoveries.caught_up()
        self.control.caught_up()

    def _read(self, delivery: Delivery) -> None:
        """Take a message that this instance, or another, has put into the log."""
        self.fanout.send(self.log_messages.take(delivery, self.clock.wall))

    def _wall(self) -> float:
        return self.clock.wall

    def _head(self) -> str:
        return self.fanout.head()

    def token(self, user: str = "ann", *, lifetime: float = 3600, **claims: object) -> str:
        """A token; its user may sit at tables 1 and 2 unless `claims` says otherwise."""
        given = {"sub": user, "tables": ["1", "2"], **claims}
        return sign(self.rules.config.auth.jwt, given, now=self.clock.wall, lifetime=lifetime)

    async def try_connect(
        self,
        namespace: str,
        auth: object = None,
        *,
        connection: str = "",
        bearer: str | None = None,
        query: Mapping[str, str] | None = None,
        slow: bool = False,
    ) -> RecordingClient | ConnectRefused:
        """Connect as the edge does it; a slow client takes one replay at a time."""
        number = next(self.numbers)
        client = RecordingClient(
            self.gateway,
            namespace,
            connection or f"connection-{number}",
            f"sid-{number}",
            head=self._head,
        )
        client.is_slow = slow
        headers = {} if bearer is None else {"authorization": bearer}
        request = ConnectRequest(auth=auth, headers=headers, query=query or {}, remote="192.0.2.1")
        answer = await self.gateway.connect(client, request)
        if isinstance(answer, ConnectRefused):
            return answer
        client.admit(answer, recovers=request.recovers)
        self.gateway.connected(client)
        await settle()
        return client

    async def connect(
        self, user: str = "ann", namespace: str = "/hall", *, connection: str = "", **claims: object
    ) -> RecordingClient:
        """A client that is signed in by its handshake."""
        client = await self.try_connect(
            namespace, {"token": self.token(user, **claims)}, connection=connection
        )
        assert isinstance(client, RecordingClient), client
        return client

    async def connect_unsigned(self, namespace: str = "/hall", *, connection: str = "") -> RecordingClient:
        """A client that has shown no token yet."""
        client = await self.try_connect(namespace, connection=connection)
        assert isinstance(client, RecordingClient), client
        return client

    async def seat(self, user: str = "ann", table: str = "1") -> RecordingClient:
        """A client in the hall that sits at a table, with nothing in its log."""
        client = await self.connect(user)
        client.send("sit", {"table": table})
        await settle()
        client.log.clear()
        return client

    def count(self, name: str, **labels: str) -> float:
        """The value of a metric."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def left_over(self) -> dict[str, int]:
        """What is still held for clients; all of it must be gone after everybody has left."""
        held = {
            "sessions": len(self.sessions),
            "lanes": len(self.sessions._lanes),
            "connections": len(self.sessions._connections),
            "members": len(self.memberships._marks),
            "rooms": self.memberships.room_count,
            "present": self.table.room_count,
            "presence": self.presence.left_over(),
            "workers": len(self.uplink._workers),
            "farewells": len(self.door._farewells),
            "recovering": len(self.lost_and_found.connected),
            "catching up": len(self.replays._tasks),
        }
        return {name: number for name, number in held.items() if number}
