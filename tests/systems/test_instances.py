"""Two daemons around one log: they know of one another, do once what is to be done once, and lose nothing."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest_asyncio

from tests.support.daemon import Daemon, edit_config
from tests.support.js_client import JsClient, JsClients
from tests.support.portal import Portal
from tests.support.services import Services


class Pair:
    """The elder and the younger daemon, and a portal's clients at each."""

    def __init__(self, elder: Portal, younger: Portal) -> None:
        self.elder = elder
        self.younger = younger
        younger.project = elder.project


@pytest_asyncio.fixture(loop_scope="session")
async def pair(tmp_path: Path, amqp_urls: Iterator[str], js: JsClients) -> AsyncIterator[Pair]:
    """Two daemons with quick heartbeats, on a broker of their own."""
    url = next(amqp_urls)
    config = edit_config(tmp_path, bridge={"instances": {"heartbeat": "300ms"}})
    daemons = [Daemon(tmp_path / name, url, config) for name in ("elder", "younger")]
    for daemon in daemons:
        await asyncio.to_thread(daemon.start)
    async with Services(url) as services:
        yield Pair(*(Portal(daemon, js, services) for daemon in daemons))
        await js.close_all()
    for daemon in daemons:
        await asyncio.to_thread(daemon.stop)


async def count_living(daemon: Daemon, number: int) -> None:
    """Wait until a daemon knows of so many."""
    await daemon.until(lambda: daemon.metrics().get("bridged_instances") == number, 20, f"{number} instances")


async def take_invalid(pair: Pair) -> list[tuple[str, bytes]]:
    """All that lies on `bridge.invalid`, as (message id, body)."""
    queue = await pair.elder.services.channel.get_queue("bridge.invalid", ensure=True)
    taken = []
    while (message := await queue.get(no_ack=True, fail=False)) is not None:
        taken.append((str(message.message_id), message.body))
    return taken


async def spoil(pair: Pair, client: JsClient, *bodies: bytes) -> None:
    """Publish events that no schema fits, and wait until a client's daemon has passed them."""
    for body in bodies:
        await pair.elder.publish("state_change", body)
    await pair.elder.tell(client)


async def test_daemons_know_when_one_stops_and_when_one_starts_again(pair: Pair) -> None:
    """In good order at once."""
    await count_living(pair.elder.daemon, 2)
    await count_living(pair.younger.daemon, 2)
    assert await asyncio.to_thread(pair.younger.daemon.stop) == 0
    await count_living(pair.elder.daemon, 1)
    await asyncio.to_thread(pair.younger.daemon.start)
    await count_living(pair.elder.daemon, 2)


async def test_an_invalid_event_is_kept_once(pair: Pair) -> None:
    """Under its place in the log, by whichever daemon."""
    clients = [await portal.project_client() for portal in (pair.elder, pair.younger)]
    for client in clients:
        await spoil(pair, client, b"1", b"2", b"3")
    await asyncio.to_thread(pair.elder.daemon.stop)  # an end in good order has published all it saw
    await pair.elder.publish("state_change", b"4")
    await pair.elder.tell(clients[1])
    await asyncio.to_thread(pair.younger.daemon.stop)
    taken = await take_invalid(pair)
    assert [body for _, body in taken] == [b"1", b"2", b"3"] * 2 + [b"4"]
    ids = [message_id for message_id, _ in taken]
    assert len(set(ids)) == len(ids)
    assert all(one.startswith("bridge.events:") for one in ids)


async def test_an_invalid_event_is_not_lost_with_the_daemon_that_should_have_kept_it(pair: Pair) -> None:
    """The other one notices that it is dead, and keeps what it left: at most twice, under the same id."""
    client = await pair.younger.project_client()
    await spoil(pair, client, b"1")
    pair.elder.daemon.kill()
    await spoil(pair, client, b"2", b"3")
    await count_living(pair.younger.daemon, 1)
    await spoil(pair, client, b"4")
    await asyncio.to_thread(pair.younger.daemon.stop)
    taken = await take_invalid(pair)
    assert {body for _, body in taken} >= {b"2", b"3", b"4"}
    assert len(set(taken)) == len({body for _, body in taken})


async def test_one_that_stood_still_is_missed_and_comes_back(pair: Pair) -> None:
    """As the youngest: what the eldest does is done by the other one from then on."""
    client = await pair.younger.project_client()
    os.kill(pair.elder.daemon.pid, signal.SIGSTOP)
    try:
        await count_living(pair.younger.daemon, 1)
        await spoil(pair, client, b"1")
    finally:
        os.kill(pair.elder.daemon.pid, signal.SIGCONT)
    await count_living(pair.younger.daemon, 2)
    await count_living(pair.elder.daemon, 2)
    await pair.elder.daemon.until(lambda: "instance.held_for_dead" in pair.elder.daemon.log, 20, "its word")
    await spoil(pair, client, b"2")
    for portal in (pair.elder, pair.younger):
        await asyncio.to_thread(portal.daemon.stop)
    taken = await take_invalid(pair)
    assert [body for _, body in sorted(set(taken), key=lambda one: one[1])] == [b"1", b"2"]


async def test_who_types_at_one_daemon_is_seen_at_the_other(pair: Pair) -> None:
    """Round the log, and not by the one who types."""
    ann = await pair.elder.chat_client()
    bob = await pair.younger.chat_client(user="bob")
    await ann.emit("typing_start")
    await bob.wait_for("typing_start")
    await bob.emit("typing_stop")
    await ann.wait_for("typing_stop")
    assert [name for name, _ in ann.events] == ["typing_stop"]
    assert [name for name, _ in bob.events] == ["typing_start"]
