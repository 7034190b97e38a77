"""One instance: starts its parts, drains and stops them, and says how it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Final

import structlog
from aiohttp import web

from bridge.config.model import Config
from bridge.rules.compile import Rules
from bridge.telemetry.loop import LoopWatch
from bridge.telemetry.metrics import Metrics
from bridge.web.client_page import find_page_folder, make_page_routes
from bridge.web.handover import Handover
from bridge.web.port import Port
from bridge.web.probes import Health, make_routes
from bridge.web.siblings import Siblings
from bridge.web.stats import StatsPage
from bridge.web.tls import make_tls_context
from bridge.web.worker import Worker
from bridge.wiring import Broker, Clients, People, Reading, Shared
from bridge.workload import Workload

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
        self.rules = rules
        self.metrics = Metrics()
        self._siblings = None if worker is None else Siblings(worker)
        self._broker = Broker(rules, self.metrics)
        self.shared = Shared(self._broker)
        self._people = People(self._broker, self.shared)
        self._workload = Workload()
        sid_prefix = "" if worker is None else worker.sid_prefix
        self._clients = Clients(self._broker, self.shared, self._people, self._workload, sid_prefix)
        self.reading = Reading(
            self._broker,
            self.shared,
            self._people,
            on_caught_up=self._caught_up,
            on_new_epoch=self._begin_epoch,
        )
        self._port: Port | None = None
        self._reader_task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._warming_up = True
        self._draining = False
        self._has_gap = self._sends_away = False
        self.failed: asyncio.Future[BaseException | None] | None = None
        """Set by `start`; done when a part that must run for ever has ended."""

    @property
    def instance_id(self) -> str:
        """Its name, unlike that of any other on the same broker."""
        return self._broker.instance_id

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
        payload = self.config.limits.payload
        self._port = Port(self._make_site(), payload, self._workload, self._make_handover())
        await self._port.open(http.host, http.port, context)
        if self._siblings is not None:
            await self._siblings.open()
        broker, shared, reading = self._broker, self.shared, self.reading
        self._spawn(LoopWatch(self.metrics).run(), "loop watch")
        self._spawn(broker.publisher.run(), "publisher")
        self._spawn(broker.invalid.run(), "invalid")
        self._spawn(shared.instances.run(), "instances")
        self._spawn(shared.keeper.run(lambda: shared.instances.is_eldest), "state")
        if self.config.amqp.source == "queue":
            log.warning("state.none", reason="source: queue", meaning=_NO_STATE)
        self._spawn(reading.live_reader.run(reading.live_downlink.handle), "live")
        self._reader_task = self._spawn(reading.reader.run(reading.downlink.handle), "reader")

    async def drain(self) -> None:
        """Go in order: not ready, no new clients, no more events, commands answered, clients told to go."""
        self._draining = True
        clients = self._clients
        clients.gateway.drain()
        if self._reader_task is not None:
            self._reader_task.cancel()
        await clients.uplink.drain()
        self._people.presence.close()
        await self._hand_over()
        await asyncio.gather(clients.sockets.drain(), self._drain_invalid(), self._drain_presence())
        await self._hand_over()  # of clients that were let in meanwhile
        await self.shared.instances.say_stopped()

    async def stop(self) -> None:
        """Close what is still open; needs no `drain` before it."""
        self._draining = True
        self._clients.gateway.drain()
        await self._clients.uplink.stop()
        await self._people.replays.stop()
        await self._clients.handovers.stop()
        await self.shared.peers.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._port is not None:
            await self._port.close()
        if self._siblings is not None:
            await self._siblings.close()
        self._people.presence.stop()
        self._people.occupancy.stop()

    async def _drain_presence(self) -> None:
        """The others wait for the clients that are sent away now, so that nobody leaves meanwhile."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PRESENCE_SECONDS):
                await self._people.presence.drain()
                await self._people.occupancy.drain()

    async def _hand_over(self) -> None:
        """The others, or whoever starts after this one, go on with the sessions of its clients."""
        with suppress(TimeoutError):
            async with asyncio.timeout(HANDOVER_SECONDS):
                await self._clients.lost_and_found.hand_over()

    async def _drain_invalid(self) -> None:
        """Give what waits for bridge.invalid a chance; the broker may be away."""
        with suppress(TimeoutError):
            async with asyncio.timeout(INVALID_SECONDS):
                await self._broker.invalid.drain()

    def health(self) -> Health:
        """How the instance is, for the probes."""
        now = time.monotonic()
        down = [
            now - connection.down_since
            for connection in (
                self.reading.reader.connection,
                self._broker.publisher.connection,
                self.reading.live_reader.connection,
            )
            if connection.down_since is not None
        ]
        return Health(
            warming_up=self._warming_up,
            shutting_down=self._draining,
            broker_away=max(down) if down else None,
        )

    def _begin_epoch(self) -> None:
        self._people.window.begin_epoch()
        self.shared.keeper.begin_epoch()
        self._people.memberships.begin_log(-1)
        self.shared.instances.begin_epoch()
        self.shared.invalid.begin_epoch()
        self._people.presence.new_epoch()
        self._clients.lost_and_found.begin_epoch()
        self._has_gap = True
        if not self._sends_away:
            self._sends_away = True
            self._begin(self._send_away(), "send away")

    async def _send_away(self) -> None:
        """Send all clients away; again if an epoch has begun meanwhile, as a queue may bring many at once."""
        try:
            while self._has_gap:
                self._has_gap = False
                await self._clients.sockets.send_away()
        finally:
            self._sends_away = False

    def _caught_up(self) -> None:
        self.reading.downlink.caught_up()
        self._clients.recoveries.caught_up()
        self._clients.control.caught_up()
        self.shared.keeper.caught_up()
        self.shared.instances.caught_up()
        self._begin(self._become_ready(), "ready")

    async def _become_ready(self) -> None:
        """What the log does not tell any more, the other instances do."""
        await self.reading.live_reader.established.wait()
        await self.shared.instances.await_answers()
        self._warming_up = False

    def _make_site(self) -> web.Application:
        """All that is served over HTTP."""
        http = self.config.http
        site = web.Application()
        self._clients.sockets.attach(site)
        site.add_routes(make_routes(self, self.metrics if http.metrics else None, self._siblings))
        if http.stats is not None and self.rules.stats is not None:
            stats = StatsPage(
                http.stats,
                self.rules.stats,
                self._clients.verifier,
                self._people.memberships,
                time.time,
                self._siblings,
            )
            site.add_routes([stats.route()])
        page = find_page_folder() if http.client_page else None
        if page is not None:
            site.add_routes(make_page_routes(page))
        return site

    def _make_handover(self) -> Handover | None:
        """How connections get to the worker of several that they belong to."""
        if self._siblings is None:
            return None
        self.metrics.worker_starts.set(self._siblings.worker.starts)
        return Handover(self._siblings.worker, self.metrics)

    def _begin(self, work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _spawn(self, work: Coroutine[object, object, None], name: str) -> asyncio.Task[None]:
        """Begin a part that must run for ever."""
        task = self._begin(work, name)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A part that must run for ever has ended: the instance cannot do its work any more."""
        if not self._draining and not task.cancelled() and self.failed is not None and not self.failed.done():
            self.failed.set_result(task.exception())
