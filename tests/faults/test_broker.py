"""The broker dies, freezes, is out of reach, throws all out, takes nothing: no client loses anything."""

import asyncio
import json
import time
from typing import Final

import pytest

from tests.support.broker import memory_alarm
from tests.support.daemon import Daemon
from tests.support.js_client import JsClient, JsClients
from tests.support.portal import Portal
from tests.support.proxy import Proxy
from tests.support.services import Services
from tests.support.stage import Stage, memory, pick, until_up, up

OUTAGE: Final = pick(6.0, 60.0)
"""Seconds; over 30 of them readiness fails."""
_HEARTBEAT: Final = pick("2s", "10s")
_NOTICED: Final = pick(8.0, 25.0)
"""Seconds within which a connection that says nothing is given up: two heartbeats and a little."""
_MESSAGE: Final = {"content": "hello", "type": "message"}
_PRESSURE: Final = {"content": "x" * 2000, "type": "message"}


@pytest.mark.timeout(pick(180, 600))
async def test_a_broker_that_is_killed_under_load_loses_nothing(stage: Stage) -> None:
    """SIGKILL at 2,000 events a second: clients stay, and go on soon after it is back."""
    daemon = await stage.start_daemon()
    await stage.follow(daemon.url, pick(6, 20))
    try:
        async with stage.load(2000) as load:
            await load.wait_for(2000)
            stage.broker.kill()
            await daemon.until(lambda: up(daemon) == {0.0}, 10, "the daemon to notice")
            await _be_without_broker(stage, daemon)
            await asyncio.to_thread(stage.broker.start)
            await stage.swarm.mark()
            accepting = time.monotonic()
            await load.wait_for(load.confirmed + 1, 60)
            taking = time.monotonic() - accepting
            await load.wait_for(load.confirmed + 4000, 60)
            await stage.swarm.wait_for(load.confirmed - 1)
    finally:
        await asyncio.to_thread(stage.broker.start)
    first = (await stage.swarm.report()).first_after_mark()
    note = f"away {OUTAGE:g} s; first event {first:.2f} s after AMQP accepted, {taking:.2f} s the broker's"
    report = await stage.conclude("broker killed (SIGKILL)", load, note=note)
    assert not report.disconnects
    # Until it has opened its streams the broker gives events back (load.py): nobody can have them sooner.
    assert first - taking < 3
    await until_up(daemon)
    assert daemon.metrics().get('bridged_reader_restarts_total{how="new_epoch"}', 0) == 0


async def _be_without_broker(stage: Stage, daemon: Daemon) -> None:
    """Commands are refused at once, liveness stays, readiness only so long as it may come back soon."""
    ends = time.monotonic() + OUTAGE
    async with JsClients() as js:
        portal = Portal(daemon, js, Services(stage.amqp_url))
        portal.project = stage.project
        chat = await portal.chat_client()
        answer = await chat.call("send_message", _MESSAGE)
        assert isinstance(answer, dict)
        assert answer["code"] == "BROKER_UNAVAILABLE"
    await asyncio.sleep(ends - time.monotonic())
    assert (await asyncio.to_thread(daemon.get, "/healthz"))[0] == 200
    assert (await asyncio.to_thread(daemon.get, "/readyz"))[0] == (503 if OUTAGE > 30 else 200)


@pytest.mark.timeout(180)
async def test_a_frozen_broker_is_noticed(stage: Stage) -> None:
    """SIGSTOP: its connections stay open and say nothing."""
    daemon = await stage.start_daemon(amqp__heartbeat=_HEARTBEAT)
    await stage.follow(daemon.url, 20)
    try:
        async with stage.load(200) as load:
            await load.wait_for(200)
            stage.broker.pause()
            noticed = await _time_to_notice(daemon)
            stage.broker.resume()
            await load.wait_for(load.confirmed + 400)
    finally:
        stage.broker.resume()
    report = await stage.conclude("broker frozen (SIGSTOP)", load, note=f"noticed after {noticed:.1f} s")
    assert not report.disconnects


@pytest.mark.timeout(180)
async def test_a_half_open_connection_to_the_broker_is_noticed(stage: Stage) -> None:
    """What either side sends is swallowed on its way, on the open connections and on new ones."""
    async with Proxy.before(stage.amqp_url) as proxy:
        daemon = await stage.start_daemon(amqp_url=proxy.url(stage.amqp_url), amqp__heartbeat=_HEARTBEAT)
        await stage.follow(daemon.url, 20)
        async with stage.load(200) as load:
            await load.wait_for(200)
            proxy.drop()
            noticed = await _time_to_notice(daemon)
            proxy.pass_on()
            proxy.reset()  # connections on which something is missing are of no use
            await load.wait_for(load.confirmed + 400)
        note = f"noticed after {noticed:.1f} s"
        report = await stage.conclude("half-open to the broker", load, note=note)
        assert not report.disconnects


async def _time_to_notice(daemon: Daemon) -> float:
    began = time.monotonic()
    await daemon.until(lambda: up(daemon) == {0.0}, _NOTICED, "the daemon to notice")
    return time.monotonic() - began


@pytest.mark.timeout(pick(120, 600))
async def test_connections_that_are_closed_again_and_again_lose_nothing(stage: Stage) -> None:
    """`rabbitmqctl close_all_connections` in a loop: each reader has one consumer then, and no more."""
    daemon = await stage.start_daemon()
    await until_up(daemon)
    consumers = await _count_consumers(stage)
    await stage.follow(daemon.url, 20)
    rounds = pick(4, 60)
    async with stage.load(200) as load:
        for _ in range(rounds):
            await asyncio.to_thread(
                stage.broker.rabbitmqctl, "close_all_connections", "--vhost", stage.vhost, "test"
            )
            await load.wait_for(load.confirmed + pick(200, 1000), 60)
    report = await stage.conclude("connections closed in a loop", load, note=f"{rounds} times")
    assert not report.disconnects
    await until_up(daemon)
    assert await _count_consumers(stage) == consumers
    assert consumers[-2:] == [1, 1]  # of the log, and of what goes round it
    assert daemon.metrics()['bridged_reader_restarts_total{how="resumed"}'] >= rounds / 2


async def _count_consumers(stage: Stage) -> list[int]:
    """Of each channel; `list_consumers` leaves those of streams out."""
    answer = await asyncio.to_thread(
        stage.broker.rabbitmqctl, "list_channels", "vhost", "consumer_count", "--formatter", "json"
    )
    return sorted(one["consumer_count"] for one in json.loads(answer) if one["vhost"] == stage.vhost)


@pytest.mark.timeout(120)
async def test_a_memory_alarm_stops_commands_and_nothing_else(stage: Stage) -> None:
    """Commands fail in time, the log can be read, memory stays, and the end of it is noticed at once."""
    daemon = await stage.start_daemon()
    await stage.follow(daemon.url, 20)
    async with JsClients() as js, Services(stage.amqp_url) as services:
        portal = Portal(daemon, js, services)
        portal.project = stage.project
        await portal.take_commands()
        writers = [await portal.chat_client(user=f"writer-{number}") for number in range(30)]
        async with stage.load(200) as load:
            await load.wait_for(600)
        before = memory(daemon.pid)
        with_alarm = memory_alarm(stage.broker)
        await asyncio.to_thread(with_alarm.__enter__)
        try:
            slowest = await _press(writers)
            await stage.swarm.cut([0.2] * 20)
            await stage.swarm.wait_joined(10)
            reader = await portal.connect("/portal", user="reader")
            since = {"events": ["task_update"], "project_name": stage.project, "since": "60s"}
            answer = await reader.call("subscribe_to_events", since)
            assert isinstance(answer, dict)
            assert answer["recovered"] is True
            assert len(reader.received("task_update")) == load.confirmed
            assert (await asyncio.to_thread(daemon.get, "/readyz"))[0] == 200
            grown = memory(daemon.pid) - before
        finally:
            await asyncio.to_thread(with_alarm.__exit__, None, None, None)
        back = await _time_to_normal(writers[0])
    note = f"commands fail within {slowest:.1f} s; RSS {grown:+.1f} MB; normal {back:.2f} s after its end"
    report = await stage.conclude("memory alarm", load, note=note)
    assert report.judge(load.confirmed).recovered == 20
    assert grown < 20
    assert back < 2


async def _press(writers: list[JsClient]) -> float:
    """Commands upon commands for 15 s: all fail, within their limit; the longest time that one took."""
    ends = time.monotonic() + 15
    slowest = 0.0

    async def write(client: JsClient) -> None:
        nonlocal slowest
        while time.monotonic() < ends:
            began = time.monotonic()
            answer = await client.call("send_message", _PRESSURE, timeout=20)
            slowest = max(slowest, time.monotonic() - began)
            assert isinstance(answer, dict)
            assert answer["code"] in ("UNKNOWN_OUTCOME", "BROKER_UNAVAILABLE")

    await asyncio.gather(*map(write, writers))
    return slowest


async def _time_to_normal(client: JsClient) -> float:
    began = time.monotonic()
    while True:
        answer = await client.call("send_message", _MESSAGE, timeout=20)
        assert isinstance(answer, dict)
        if answer["status"] == "ok":
            return time.monotonic() - began
