"""Wires one instance together: the only place that knows all parts."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Final

import structlog
from aiohttp import web

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
from bridge.flow.downlink import Downlink
from bridge.flow.eldest import EldestsInvalid
from bridge.flow.gateway import BridgeGateway
from bridge.flow.handovers import Handovers
from bridge.flow.instances import Instances
from bridge.flow.live import LiveDownlink
from bridge.flow.log_window import LogWindow
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
from bridge.state.remembered import Remembered
from bridge.state.retained import Retained
from bridge.state.verdicts import Exclusions, Revocations
from bridge.telemetry.metrics import Metrics
from bridge.web.client_page import find_page_folder, make_page_routes
from bridge.web.handover import Handover
from bridge.web.port import Port
from bridge.web.probes import Health, make_routes
from bridge.web.siblings import Siblings
from bridge.web.stats import StatsPage
from bridge.web.tls import make_tls_context
from bridge.web.worker import Worker

log = structlog.get_logger()

_NO_STATE: Final = "revocations, bans and retained values end with the instances that have seen them"
INVALID_SECONDS: Final = 5.0
"""How long a drain waits for events that are on their way to bridge.invalid."""
HANDOVER_SECONDS: Final = 5.0
"""How long a drain may take to give its lost sessions to the others."""
PRESENCE_SECONDS: Final = 5.0
"""How long a drain waits until the log knows who came and went before it."""


class App:
    """One instance: built from rules, started, drained, stopped."""

    def __init__(self, rules: Rules, worker: Worker | None = None) -> None:
        """`worker` says which of several processes on one port it is."""
        config = rules.config
        self.rules = rules
        self.metrics = Metrics()
        self.instance_id = name_instance(config)
        self._siblings = None if worker is None else Siblings(worker)
        topology = Topology(
            exchanges=rules.exchanges,
            bindings=rules.bindings,
            state_bindings=rules.retained_bindings,
            live_bindings=rules.live_bindings,
        )
        requester = DirectRequester(self.metrics)
        self._publisher = ConfirmingPublisher(
            config.amqp, topology, self.instance_id, self.metrics, requester=requester
        )
        source = config.amqp.stream.name if config.amqp.source == "stream" else self._queue_name()
        self._invalid = InvalidSink(self._publisher, config.amqp.invalid.name, source, self.metrics)
        self._memberships = memberships = Memberships[Client]()
        self._window = _make_window(config, self.metrics)
        fanout = Fanout(memberships, self.metrics, self._window.head)
        remembered = Remembered(config.limits.remembered_rooms)
        log_name = _name_log(config)
        log_messages, control_messages = OwnMessages(log_name), OwnMessages(log_name)
        presence_messages = OwnMessages(log_name)
        revocations, exclusions = Revocations(), Exclusions()
        retained = Retained(config.limits.remembered_rooms, config.amqp.state.max_bytes // 4)
        self._keeper = StateKeeper(
            rules,
            retained,
            remembered,
            revocations,
            exclusions,
            control_messages.take,
            self._publisher,
            time.time,
        )
        self._writer = OwnWriter(self._publisher, log_name, time.time)
        self._instances = Instances(self.instance_id, log_messages, self._writer, config.instances.heartbeat)
        self.metrics.instances.set_function(self._instances.count)
        peer_messages = OwnMessages(log_name)
        self._peers = Peers(self._instances, peer_messages, self._writer)
        shared = config.amqp.source == "stream"
        self._eldests_invalid = EldestsInvalid(
            self._invalid, self._instances, self._invalid.find_oldest, shared=shared
        )
        oddities = Oddities(self._eldests_invalid, self.metrics)
        self._live_downlink = LiveDownlink(
            rules, fanout, oddities, self.metrics, time.time, {INSTANCES_EXCHANGE: peer_messages.take}
        )
        asked = [(INSTANCES_EXCHANGE, key) for key in self._peers.keys]
        self._live_reader = LiveReader(config.amqp, topology, asked, self.instance_id, self.metrics)
        plans, table = PresencePlans(rules), PresenceTable(self._instances.incarnation)
        self._occupancy = Occupancy(plans, table, self._instances, self._publisher, log_name, time.time)
        self._occupancy.register(presence_messages)
        self._presence = Presence(plans, table, self._instances, self._writer, self._occupancy, time.time)
        self._presence.register(log_messages)
        self._downlink = Downlink(
            rules,
            remembered,
            fanout,
            oddities,
            self.metrics,
            time.time,
            {
                LOG_EXCHANGE: log_messages.take,
                CONTROL_EXCHANGE: control_messages.take,
                PRESENCE_EXCHANGE: presence_messages.take,
            },
            self._window,
            self._keeper.keep,
        )
        make_reader = StreamReader if config.amqp.source == "stream" else QueueReader
        self._reader = make_reader(
            config.amqp,
            topology,
            self.instance_id,
            self.metrics,
            self._caught_up,
            on_new_epoch=self._begin_epoch,
        )
        if isinstance(self._reader, StreamReader):
            self._reader.read_before = StateReader(config.amqp, topology, self.instance_id, self._keeper).read
        self._rooms = Rooms(rules, memberships, remembered, retained, self._presence)
        self._replays = Replays(self._window, memberships, config.limits.outbox_bytes, self.metrics)
        self._uplink = Uplink(self._rooms, self._replays, self._publisher, requester, self.metrics, time.time)
        sessions = Sessions()
        pace = Pace(sessions, time.monotonic)
        verifier = TokenVerifier(config.auth.jwt, revocations.covers)
        admission = Admission(sessions, verifier, pace, exclusions, time.time)
        lost = LostSessions(config.recovery.window, config.recovery.sessions)
        self._handovers = Handovers(lost, self._peers, log_messages, self._writer, time.monotonic)
        self._recoveries = Recoveries(
            lost,
            self._handovers,
            self._replays,
            self._rooms,
            memberships,
            time.monotonic,
            time.time,
        )
        self._gateway = BridgeGateway(
            rules,
            sessions,
            admission,
            pace,
            self._rooms,
            self._uplink,
            self._replays,
            self._recoveries,
            Reconnects(time.monotonic),
            self.metrics,
            time.time,
        )
        self._control = Control(rules, sessions, self._rooms, self._gateway.end, revocations, exclusions)
        self._control.on_verdict = self._keeper.note_verdict
        self._control.on_ended = self._recoveries.forget
        self._control.on_evicted = self._recoveries.evict
        self._control.register(control_messages)
        self._sockets = SocketServer(
            self._gateway,
            memberships,
            config.http,
            config.limits,
            self.metrics,
            self._window.head,
            "" if worker is None else worker.sid_prefix,
        )
        self.metrics.queue_length.labels("presence").set_function(self._presence.waiting)
        self.metrics.queue_length.labels("occupancy").set_function(self._occupancy.waiting)
        self.metrics.queue_length.labels("inbox").set_function(sessions.waiting_commands)
        self._stats: StatsPage | None = None
        if config.http.stats is not None and rules.stats is not None:
            self._stats = StatsPage(
                config.http.stats, rules.stats, verifier, memberships, time.time, self._siblings
            )
        self._port: Port | None = None
        self._reading: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._warming_up = True
        self._draining = False
        self.failed: asyncio.Future[BaseException | None] | None = None
        """Set by `start`; done when a part that must run for ever has ended."""

    @property
    def config(self) -> Config:
        """The configuration that it was built from."""
        return self.rules.config

    async def start(self) -> None:
        """Listen, then connect to the broker.

        Raises OSError when the address cannot be had, ConfigError when the files of `http.tls` are of no use.
        """
        http = self.config.http
        context = make_tls_context(http.tls, self.rules.file) if http.tls is not None else None
        self.failed = asyncio.get_running_loop().create_future()
        application = web.Application()
        self._sockets.attach(application)
        application.add_routes(make_routes(self, self.metrics if http.metrics else None, self._siblings))
        if self._stats is not None:
            application.add_routes([self._stats.route()])
        page = find_page_folder() if http.client_page else None
        if page is not None:
            application.add_routes(make_page_routes(page))
        self._port = Port(application, self.config.limits.payload, self._make_handover())
        await self._port.open(http.host, http.port, context)
        if self._siblings is not None:
            await self._siblings.open()
        self._spawn(self._publisher.run(), "publisher")
        self._spawn(self._invalid.run(), "invalid")
        self._spawn(self._instances.run(), "instances")
        self._spawn(self._keeper.run(lambda: self._instances.is_eldest), "state")
        if self.config.amqp.source == "queue":
            log.warning("state.none", reason="source: queue", meaning=_NO_STATE)
        self._spawn(self._live_reader.run(self._live_downlink.handle), "live")
        self._reading = self._spawn(self._reader.run(self._downlink.handle), "reader")

    async def drain(self) -> None:
        """Go in order: not ready, no new clients, no more events, commands answered, clients told to go."""
        self._draining = True
        self._gateway.drain()
        if self._reading is not None:
            self._reading.cancel()
        await self._uplink.drain()
        self._presence.close()
        await asyncio.gather(self._sockets.drain(), self._drain_invalid(), self._drain_presence())
        await self._hand_over()
        await self._instances.say_stopped()

    async def stop(self) -> None:
        """Close what is still open; needs no `drain` before it."""
        self._draining = True
        self._gateway.drain()
        await self._uplink.stop()
        await self._replays.stop()
        await self._handovers.stop()
        await self._peers.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._port is not None:
            await self._port.close()
        if self._siblings is not None:
            await self._siblings.close()
        self._presence.stop()
        self._occupancy.stop()

    async def _drain_presence(self) -> None:
        """The others wait for the clients that are sent away now, so that nobody leaves meanwhile."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PRESENCE_SECONDS):
                await self._presence.drain()
                await self._occupancy.drain()

    async def _hand_over(self) -> None:
        """The others, or whoever starts after this one, go on with the sessions of its clients."""
        with suppress(TimeoutError):
            async with asyncio.timeout(HANDOVER_SECONDS):
                await self._handovers.hand_over()

    async def _drain_invalid(self) -> None:
        """Give what waits for bridge.invalid a chance; the broker may be away."""
        with suppress(TimeoutError):
            async with asyncio.timeout(INVALID_SECONDS):
                await self._invalid.drain()

    def health(self) -> Health:
        """How the instance is, for the probes."""
        now = time.monotonic()
        down = [
            now - connection.down_since
            for connection in (
                self._reader.connection,
                self._publisher.connection,
                self._live_reader.connection,
            )
            if connection.down_since is not None
        ]
        return Health(
            warming_up=self._warming_up,
            shutting_down=self._draining,
            broker_away=max(down) if down else None,
        )

    def _begin_epoch(self) -> None:
        self._window.begin_epoch()
        self._keeper.begin_epoch()
        self._memberships.begin_log(-1)
        self._instances.begin_epoch()
        self._eldests_invalid.begin_epoch()
        self._presence.new_epoch()
        self._recoveries.forget_all()

    def _caught_up(self) -> None:
        self._downlink.caught_up()
        self._recoveries.caught_up()
        self._control.caught_up()
        self._keeper.caught_up()
        self._instances.caught_up()
        self._tasks.append(asyncio.create_task(self._become_ready(), name="ready"))

    async def _become_ready(self) -> None:
        """What the log does not tell any more, the other instances do."""
        await self._live_reader.established.wait()
        await self._instances.await_answers()
        self._warming_up = False

    def _make_handover(self) -> Handover | None:
        """How connections get to the worker of several that they belong to."""
        if self._siblings is None:
            return None
        self.metrics.worker_starts.set(self._siblings.worker.starts)
        return Handover(self._siblings.worker, self.metrics)

    def _queue_name(self) -> str:
        return f"{self.config.amqp.queue.prefix}{self.instance_id}"

    def _spawn(self, work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A part that must run for ever has ended: the instance cannot do its work any more."""
        if not self._draining and not task.cancelled() and self.failed is not None and not self.failed.done():
            self.failed.set_result(task.exception())


def _name_log(config: Config) -> str:
    """What tells the instances that share a log from others on the same broker."""
    amqp = config.amqp
    return amqp.stream.name if amqp.source == "stream" else amqp.queue.prefix


def name_instance(config: Config) -> str:
    """The name of an instance, unlike that of any other on the same broker."""
    return config.instance or f"{socket.gethostname()}-{config.http.port}"


def _make_window(config: Config, metrics: Metrics) -> LogWindow:
    """The history; its time goes on evenly, whatever becomes of the wall clock."""
    history = History(config.history.max_bytes, config.history.max_age)
    epoch = time.time() - time.monotonic()
    window = LogWindow(history, lambda: epoch + time.monotonic())
    metrics.history_bytes.set_function(lambda: history.bytes)
    metrics.history_events.set_function(lambda: len(history))
    metrics.history_age.set_function(window.age)
    return window
