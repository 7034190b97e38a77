"""Makes the parts of one instance and joins them: with app.py the only place that knows all of them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from bridge.amqp.event_reader import StreamReader
from bridge.amqp.invalid import InvalidSink
from bridge.amqp.live_reader import LiveReader
from bridge.amqp.publisher import ConfirmingPublisher
from bridge.amqp.queue_reader import QueueReader
from bridge.amqp.requests import DirectRequester
from bridge.amqp.state_reader import StateReader
from bridge.amqp.topology import Topology
from bridge.auth.tokens import TokenVerifier
from bridge.config.model import Config
from bridge.flow.admission import Admission
from bridge.flow.control import Control
from bridge.flow.door import Door
from bridge.flow.downlink import Downlink
from bridge.flow.eldest import EldestsInvalid
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
from bridge.flow.ports import Client
from bridge.flow.presence import Presence
from bridge.flow.reconnects import Reconnects
from bridge.flow.recoveries import Recoveries
from bridge.flow.replays import Replays
from bridge.flow.rooms import Rooms
from bridge.flow.session import Sessions
from bridge.flow.state_keeper import StateKeeper
from bridge.flow.uplink import Uplink
from bridge.model import CONTROL_EXCHANGE, INSTANCES_EXCHANGE, LOG_EXCHANGE, PRESENCE_EXCHANGE
from bridge.rules.compile import Rules
from bridge.rules.presence_plan import PresencePlans
from bridge.sockets.fanout import Fanout
from bridge.sockets.server import SocketServer
from bridge.state.history import History
from bridge.state.lost_sessions import LostSessions
from bridge.state.memberships import Memberships
from bridge.state.presence import PresenceTable
from bridge.state.recent_orders import RecentOrders
from bridge.state.remembered import Remembered
from bridge.state.retained import Retained
from bridge.state.verdicts import Exclusions, Revocations
from bridge.telemetry.metrics import Metrics
from bridge.workload import Workload


class Broker:
    """What is published, and what is asked of services."""

    def __init__(self, rules: Rules, metrics: Metrics) -> None:
        config = rules.config
        self.rules = rules
        self.metrics = metrics
        self.instance_id = name_instance(config)
        self.topology = Topology(
            exchanges=rules.exchanges,
            bindings=rules.bindings,
            state_bindings=rules.retained_bindings,
            live_bindings=rules.live_bindings,
        )
        self.requester = DirectRequester(metrics)
        self.publisher = ConfirmingPublisher(
            config.amqp, self.topology, self.instance_id, metrics, requester=self.requester
        )
        self.invalid = InvalidSink(
            self.publisher, config.amqp.invalid.name, _name_source(config, self.instance_id), metrics
        )


class Shared:
    """What this instance knows together with all others: who lives, orders, last values."""

    def __init__(self, broker: Broker) -> None:
        config = broker.rules.config
        log_name = self.log_name = _name_log(config)
        self.log_messages = OwnMessages(log_name)
        self.control_messages = OwnMessages(log_name, from_people=True)
        self.presence_messages, self.peer_messages = OwnMessages(log_name), OwnMessages(log_name)
        self.writer = OwnWriter(broker.publisher, log_name, time.time)
        self.instances = Instances(
            broker.instance_id, self.log_messages, self.writer, config.instances.heartbeat
        )
        broker.metrics.instances.set_function(self.instances.count)
        self.peers = Peers(self.instances, self.peer_messages, self.writer)
        self.invalid = EldestsInvalid(
            broker.invalid,
            self.instances,
            broker.invalid.find_oldest,
            shared=config.amqp.source == "stream",
        )
        self.remembered = Remembered(config.limits.remembered_rooms)
        self.retained = Retained(config.limits.remembered_rooms, config.amqp.state.max_bytes // 4)
        self.revocations, self.exclusions = Revocations(), Exclusions()
        self.keeper = StateKeeper(
            broker.rules,
            retained=self.retained,
            remembered=self.remembered,
            revocations=self.revocations,
            exclusions=self.exclusions,
            obey=self.control_messages.take,
            publisher=broker.publisher,
            clock=time.time,
        )


class People:
    """Who is in which room, here and everywhere, and how events reach those who are here."""

    def __init__(self, broker: Broker, shared: Shared) -> None:
        rules, metrics = broker.rules, broker.metrics
        self.memberships = Memberships[Client]()
        self.window = _make_window(rules.config, metrics)
        self.fanout = Fanout(self.memberships, metrics, self.window.head)
        plans, table = PresencePlans(rules), PresenceTable(shared.instances.incarnation)
        self.occupancy = Occupancy(
            plans, table, shared.instances, broker.publisher, shared.log_name, metrics, time.time
        )
        self.occupancy.register(shared.presence_messages)
        self.presence = Presence(plans, table, shared.instances, shared.writer, self.occupancy, time.time)
        self.presence.register(shared.log_messages)
        self.presence.on_read.append(shared.keeper.read_on)
        self.rooms = Rooms(rules, self.memberships, shared.remembered, shared.retained, self.presence)
        self.replays = Replays(self.window, self.memberships, rules.config.limits.outbox_bytes, metrics)
        metrics.rooms.set_function(lambda: self.memberships.room_count)
        metrics.queue_length.labels("presence").set_function(self.presence.waiting)
        metrics.queue_length.labels("occupancy").set_function(self.occupancy.waiting)


class Clients:
    """What clients may do, what they come back to, and the server that they speak with."""

    def __init__(
        self, broker: Broker, shared: Shared, people: People, workload: Workload, sid_prefix: str
    ) -> None:
        rules, metrics = broker.rules, broker.metrics
        config = rules.config
        self.uplink = Uplink(
            people.rooms,
            people.replays,
            broker.publisher,
            broker.requester,
            metrics,
            time.time,
            time.monotonic,
        )
        sessions = Sessions()
        metrics.queue_length.labels("inbox").set_function(sessions.waiting_commands)
        pace = Pace(sessions, time.monotonic)
        self.verifier = TokenVerifier(config.auth.jwt, shared.revocations.covers)
        lost = LostSessions(config.recovery.window, config.recovery.sessions)
        self.handovers = Handovers(lost, shared.peers, shared.log_messages, shared.writer)
        self.lost_and_found = LostAndFound(
            sessions=sessions,
            lost=lost,
            orders=RecentOrders(config.recovery.window),
            handovers=self.handovers,
            replays=people.replays,
            memberships=people.memberships,
            clock=time.monotonic,
        )
        self.recoveries = Recoveries(
            sessions=self.lost_and_found,
            replays=people.replays,
            rooms=people.rooms,
            memberships=people.memberships,
            wall=time.time,
        )
        admission = Admission(sessions, self.verifier, pace, shared.exclusions, time.time)
        self.gateway = BridgeGateway(
            rules,
            door=Door(
                rules,
                sessions=sessions,
                admission=admission,
                replays=people.replays,
                recoveries=self.recoveries,
                metrics=metrics,
                clock=time.time,
            ),
            sessions=sessions,
            admission=admission,
            pace=pace,
            rooms=people.rooms,
            uplink=self.uplink,
            replays=people.replays,
            recoveries=self.recoveries,
            lost_and_found=self.lost_and_found,
            reconnects=Reconnects(time.monotonic),
            metrics=metrics,
            clock=time.time,
        )
        self.control = Control(
            rules, sessions, people.rooms, self.gateway.end, shared.revocations, shared.exclusions
        )
        self.control.on_verdict = shared.keeper.note_verdict
        self.control.on_ended = self.lost_and_found.forget
        self.control.on_evicted = self.lost_and_found.evict
        self.control.register(shared.control_messages)
        self.sockets = SocketServer(
            self.gateway,
            people.memberships,
            config.http,
            config.limits,
            metrics,
            people.window.head,
            workload,
            sid_prefix,
        )


class Reading:
    """What comes from the broker: the log, or a queue, and what goes round it."""

    def __init__(
        self,
        broker: Broker,
        shared: Shared,
        people: People,
        *,
        on_caught_up: Callable[[], None],
        on_new_epoch: Callable[[], None],
    ) -> None:
        rules, metrics = broker.rules, broker.metrics
        amqp = rules.config.amqp
        oddities = Oddities(shared.invalid, metrics)
        self.downlink = Downlink(
            rules,
            remembered=shared.remembered,
            fanout=people.fanout,
            oddities=oddities,
            metrics=metrics,
            clock=time.time,
            own={
                LOG_EXCHANGE: shared.log_messages.take,
                CONTROL_EXCHANGE: shared.keeper.obey,
                PRESENCE_EXCHANGE: shared.presence_messages.take,
            },
            window=people.window,
            keep=shared.keeper.keep,
        )
        make_reader = StreamReader if amqp.source == "stream" else QueueReader
        self.reader = make_reader(
            amqp, broker.topology, broker.instance_id, metrics, on_caught_up, on_new_epoch=on_new_epoch
        )
        if isinstance(self.reader, StreamReader):
            state = StateReader(amqp, broker.topology, broker.instance_id, shared.keeper)
            self.reader.read_before = state.read
        self.live_downlink = LiveDownlink(
            rules,
            people.fanout,
            oddities,
            metrics,
            time.time,
            {INSTANCES_EXCHANGE: shared.peer_messages.take},
        )
        asked = [(INSTANCES_EXCHANGE, key) for key in shared.peers.keys]
        self.live_reader = LiveReader(amqp, broker.topology, asked, broker.instance_id, metrics)


def name_instance(config: Config) -> str:
    """The name of an instance, unlike that of any other on the same broker."""
    return config.instance or f"{socket.gethostname()}-{config.http.port}"


def _name_source(config: Config, instance_id: str) -> str:
    """The stream or queue that this instance reads."""
    amqp = config.amqp
    return amqp.stream.name if amqp.source == "stream" else f"{amqp.queue.prefix}{instance_id}"


def _name_log(config: Config) -> str:
    """What tells the instances that share a log from others on the same broker."""
    amqp = config.amqp
    return amqp.stream.name if amqp.source == "stream" else amqp.queue.prefix


def _make_window(config: Config, metrics: Metrics) -> LogWindow:
    """The history; its time goes on evenly, whatever becomes of the wall clock."""
    history = History(config.history.max_bytes, config.history.max_age)
    epoch = time.time() - time.monotonic()
    window = LogWindow(history, lambda: epoch + time.monotonic(), config.instances.heartbeat)
    metrics.history_bytes.set_function(lambda: history.bytes)
    metrics.history_events.set_function(lambda: len(history))
    metrics.history_age.set_function(window.age)
    return window
