"""One connection over a socket: TLS, heartbeats, large messages, and the end of each kind of trouble."""

import asyncio
import contextlib
import os
import random
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiormq.abc import AbstractChannel
from pamqp import commands
from structlog.testing import capture_logs

from bridge.amqp.address import parse_address
from bridge.amqp.channel import Channel, ChannelClosedError, LinkLostError
from bridge.amqp.confirms import ConfirmingChannel, to_properties
from bridge.amqp.frames import encode_heartbeat
from bridge.amqp.link import Link
from bridge.amqp.subscription import Subscription
from bridge.amqp.wire import Wire
from bridge.model import PublishMessage, PublishOutcome
from tests.support.amqp import EXCHANGE, send, until, without_debug
from tests.support.broker_bytes import LOGIN, delivery, handshake, method, returned
from tests.support.certificates import make_certificate
from tests.support.fake_broker import fake_broker


def make_message(body: bytes) -> PublishMessage:
    return PublishMessage(
        exchange=EXCHANGE, routing_key="a.b", body=body, message_id="m", type="t", timestamp=1.0
    )


async def publish(channel: ConfirmingChannel, body: bytes) -> PublishOutcome:
    message = make_message(body)
    return await channel.send(message, to_properties(message, persistent=True)).outcome


@contextlib.asynccontextmanager
async def linked(url: str) -> AsyncIterator[Link]:
    """A connection to the real broker."""
    link = await Link.connect(parse_address(url), "test", 10)
    try:
        yield link
    finally:
        await link.close()


@contextlib.asynccontextmanager
async def tls_before(url: str, certificate: Path, key: Path) -> AsyncIterator[str]:
    """Something that speaks TLS before the broker; its address as a URL without options."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    address = parse_address(url)
    tasks: set[asyncio.Task[None]] = set()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, to_broker = await asyncio.open_connection(address.host, address.port)

        async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(2**16):
                    target.write(data)
                    await target.drain()
            target.close()

        tasks.update(
            (asyncio.create_task(pump(reader, to_broker)), asyncio.create_task(pump(upstream, writer)))
        )

    server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    try:
        port = server.sockets[0].getsockname()[1]
        yield f"amqps://guest:guest@localhost:{port}/{address.login.vhost}"
    finally:
        server.close()
        await asyncio.wait(tasks, timeout=5) if tasks else None
        await server.wait_closed()


@pytest.mark.parametrize("size", [0, 1, 131_064, 131_065, 1_000_000])
async def test_messages_of_every_size(amqp_url: str, service: AbstractChannel, size: int) -> None:
    """A body over one frame is cut into several, and put together again, byte by byte."""
    await service.queue_declare("all")
    await service.queue_bind("all", EXCHANGE, "#")
    body = os.urandom(size)
    async with linked(amqp_url) as link:
        subscription = await Subscription.open(link, "all", prefetch=10)
        assert await publish(await ConfirmingChannel.open(link), body) is PublishOutcome.CONFIRMED
        [content] = await subscription.take(10)
    assert content.body == body


async def test_tls(amqp_url: str, service: AbstractChannel, tmp_path: Path) -> None:
    """`amqps://`: the broker's certificate is verified; then all is as without TLS."""
    await service.queue_declare("all")
    await service.queue_bind("all", EXCHANGE, "#")
    certificate, key = make_certificate(tmp_path)
    async with tls_before(amqp_url, certificate, key) as url:
        with pytest.raises(ssl.SSLError):
            await Link.connect(parse_address(url), "test", 10)
        async with linked(f"{url}?cafile={certificate}") as link:
            channel = await ConfirmingChannel.open(link)
            subscription = await Subscription.open(link, "all", prefetch=1000)
            bodies = [b"%d" % number * 500 for number in range(300)]
            outcomes = await asyncio.gather(*(publish(channel, body) for body in bodies))
            assert set(outcomes) == {PublishOutcome.CONFIRMED}
            found: list[bytes] = []
            while len(found) < len(bodies):
                found += [content.body for content in await subscription.take(1000)]
    assert found == bodies


async def test_heartbeats_go_both_ways() -> None:
    """We say that we are here; a broker that does not is given up after two heartbeats."""
    async with fake_broker(handshake(heartbeat=1)) as (broker, address):
        link = await Link.connect(address, "test", 10)
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(10):
            await link.until_lost()
        assert 1.5 < asyncio.get_running_loop().time() - began < 4
        assert link.lost.result() == "the broker is silent"
        assert broker.heard.count(encode_heartbeat()) >= 2


async def test_a_quiet_broker_is_kept() -> None:
    """Heartbeats alone keep the connection up."""
    async with fake_broker(handshake(heartbeat=1)) as (broker, address):
        link = await Link.connect(address, "test", 10)
        for heard in range(1, 7):
            await until(lambda heard=heard: broker.heard.count(encode_heartbeat()) >= heard)
            broker.writers[0].write(encode_heartbeat())
        assert not link.lost.done()
        link.abort()
        await link.until_lost()


async def test_a_refused_login_says_why() -> None:
    """The broker's words are the error's."""
    says = method(commands.Connection.Start()) + method(
        commands.Connection.Close(403, "ACCESS_REFUSED", 0, 0)
    )
    async with fake_broker(says) as (_, address):
        with pytest.raises(LinkLostError, match="ACCESS_REFUSED"):
            await Link.connect(address, "test", 10)


@pytest.mark.parametrize(
    "says",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"AMQP\x00\x00\x09\x01",
        handshake()[:-1] + b"\x00",
        handshake() + b"\x01\x00\x01\x00\x00\x00\x04\x00\x3c\x00\x1f\xce",
        method(commands.Connection.OpenOk()),
    ],
    ids=["http", "other version", "no frame end", "stray method", "out of turn"],
)
async def test_nonsense_ends_the_connection(says: bytes) -> None:
    """A server that speaks something else is left at once, with one exception type."""
    async with fake_broker(says) as (_, address), asyncio.timeout(5):

        async def use() -> None:
            link = await Link.connect(address, "test", 10)
            await link.channel()

        with pytest.raises(LinkLostError, match="protocol broken"):
            await use()


async def test_refused_methods_cost_the_channel_alone(amqp_url: str) -> None:
    """The error holds the broker's code and words; the connection goes on."""
    async with linked(amqp_url) as link:
        channel = await link.channel()
        with pytest.raises(ChannelClosedError, match="NOT_FOUND") as error:
            await channel.call(commands.Queue.Declare(queue="nowhere", passive=True))
        assert error.value.code == 404
        with pytest.raises(ChannelClosedError):
            await channel.call(commands.Queue.Declare(queue="nowhere", passive=True))
        again = await link.channel()
        await again.call(commands.Queue.Declare(queue="somewhere"))
        await again.close()
    assert link.lost.result() == "connection closed"


async def test_loss_ends_all_that_waits(amqp_url: str) -> None:
    """Calls, channels and those who wait to publish learn of it."""
    async with linked(amqp_url) as link:
        channel = await link.channel()
        subscription = Subscription(channel, 10)
        taking = asyncio.create_task(subscription.take(1))
        link.pause_writing()
        waiting = asyncio.create_task(link.writable())
        link.abort("test")
        async with asyncio.timeout(5):
            with pytest.raises(LinkLostError, match="test"):
                await taking
            await waiting
        with pytest.raises(LinkLostError):
            await channel.call(commands.Basic.Qos())
        with pytest.raises(LinkLostError):
            await link.channel()


async def test_slow_handler_holds_up_the_broker(amqp_url: str, service: AbstractChannel) -> None:
    """What waits is bounded in bytes: the socket is not read until it has been taken; nothing is lost."""
    without_debug()
    await service.queue_declare("all")
    await service.queue_bind("all", EXCHANGE, "#")
    bodies = [b"%04d" % number * 25_000 for number in range(200)]
    for start in range(0, 200, 50):
        await send(service, *bodies[start : start + 50])
    async with linked(amqp_url) as link:
        channel = await link.channel()
        subscription = Subscription(channel, 1000, most_bytes=1_000_000)
        await channel.call(commands.Basic.Qos(prefetch_count=1000))
        await channel.call(commands.Basic.Consume(queue="all"))
        await until(lambda: link._paused)
        assert subscription._bytes < 2_000_000
        assert link._transport is not None
        assert not link._transport.is_reading()
        found: list[bytes] = []
        async with asyncio.timeout(20):
            while len(found) < len(bodies):
                found += [content.body for content in await subscription.take(10)]
        assert found == bodies
        assert not link._paused


async def test_one_that_takes_does_not_let_on_what_another_holds_up(
    amqp_url: str, service: AbstractChannel
) -> None:
    """Two consumers of one connection: the bound of each holds, whatever the other does."""
    async with linked(amqp_url) as link:
        subscriptions = {}
        for name, most_bytes in (("slow", 1), ("quick", 1_000_000)):
            await service.queue_declare(name)
            channel = await link.channel()
            subscriptions[name] = Subscription(channel, 10, most_bytes=most_bytes)
            await channel.call(commands.Basic.Consume(queue=name))
        quick, slow = subscriptions["quick"], subscriptions["slow"]
        await service.basic_publish(b"1", exchange="", routing_key="quick")
        await until(lambda: quick._inbox)
        await service.basic_publish(b"22", exchange="", routing_key="slow")
        await until(lambda: link._paused)
        await quick.take(1)
        assert link._paused
        await slow.take(1)
        assert not link._paused


async def test_a_consumer_that_ends_lets_the_connection_go_on(
    amqp_url: str, service: AbstractChannel
) -> None:
    """Nobody takes what it held up."""
    async with linked(amqp_url) as link:
        await service.queue_declare("slow")
        await service.basic_publish(b"11", exchange="", routing_key="slow")
        channel = await link.channel()
        subscription = Subscription(channel, 10, most_bytes=1)
        await channel.call(commands.Basic.Consume(queue="slow"))
        await until(lambda: link._paused)
        async with asyncio.timeout(5):
            await subscription.close()
            await (await link.channel()).close()


async def test_a_fault_of_whoever_takes_what_comes_ends_the_connection() -> None:
    """With its reason, and a traceback in the log: what that one knows is half of what it was told."""
    async with fake_broker(handshake()) as (broker, address):
        link = await Link.connect(address, "test", 10)
        opening = asyncio.create_task(link.channel())
        await until(lambda: broker.heard.count(b"\x00\x14\x00\x0a"))
        broker.writers[0].write(method(commands.Channel.OpenOk(), 1))

        def fail(_: object) -> None:
            raise ValueError("a fault of the bridge's own")

        (await opening).on_deliveries = fail
        with capture_logs() as logs:
            broker.writers[0].write(b"".join(delivery(1, 1, b"x")))
            async with asyncio.timeout(5):
                await link.until_lost()
    assert link.lost.result() == "a fault of the bridge: ValueError"
    assert [(entry["event"], entry["exc_info"]) for entry in logs] == [("link.failed", True)]


async def test_goodbye_of_a_paused_connection(amqp_url: str, service: AbstractChannel) -> None:
    """Closing reads on, so that it does not wait for its time limit."""
    await service.queue_declare("all")
    await service.queue_bind("all", EXCHANGE, "#")
    await send(service, *(b"x" * 10_000 for _ in range(100)))
    link = await Link.connect(parse_address(amqp_url), "test", 10)
    channel = await link.channel()
    Subscription(channel, 1000, most_bytes=1)
    await channel.call(commands.Basic.Consume(queue="all"))
    await until(lambda: link._paused)
    async with asyncio.timeout(2):
        await link.close()
    assert link.lost.result() == "connection closed"


async def test_frames_of_one_turn_are_one_write(amqp_url: str) -> None:
    """Fifty messages published together reach the socket together."""
    async with linked(amqp_url) as link:
        channel = await ConfirmingChannel.open(link)
        await channel.channel.call(commands.Exchange.Declare(exchange=EXCHANGE, exchange_type="topic"))
        writes: list[int] = []
        transport = link._transport
        assert transport is not None
        link._transport = _Counting(transport, writes)  # type: ignore[assignment]
        await asyncio.gather(*(publish(channel, b"x") for _ in range(50)))
        link._transport = transport
    assert len(writes) == 1


class _Wires(asyncio.Transport):
    """A transport without a socket: it swallows what is written, and can be cut."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link
        self.cut = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return self.cut

    def abort(self) -> None:
        if not self.cut:
            self.cut = True
            self._link.connection_lost(None)

    close = abort


@pytest.mark.parametrize("seed", range(40))
async def test_mutated_traffic_loses_the_link_or_nothing(seed: int) -> None:
    """Changed bytes in what a reader and a publisher get: whoever waits has an answer, or all goes on."""
    without_debug()
    dice = random.Random(seed)  # noqa: S311  no secret
    for _ in range(10):
        link = Link(Wire(LOGIN, "test", 10))
        transport = _Wires(link)
        link.connection_made(transport)
        link.data_received(handshake())
        channels: list[Channel] = []
        for number in (1, 2):
            opening = asyncio.create_task(link.channel())
            await asyncio.sleep(0)
            link.data_received(method(commands.Channel.OpenOk(), number))
            channels.append(await opening)
        subscription, confirming = Subscription(channels[0], 100), ConfirmingChannel(channels[1])
        messages = [make_message(b"x") for _ in range(5)]
        sent = [confirming.send(message, to_properties(message, persistent=True)) for message in messages]
        frames = [frame for tag in range(1, 6) for frame in delivery(1, tag, b"%d" % tag * 50)]
        frames += [*returned(2, b"x", message_id="m"), method(commands.Basic.Ack(5, True), 2)]
        frames += [method(commands.Channel.Close(404, "NOT_FOUND", 0, 0), 2)]
        stream = bytearray(b"".join(frames))
        for _ in range(dice.randint(1, 3)):
            stream[dice.randrange(len(stream))] = dice.randrange(256)
        while stream and not transport.cut:
            size = dice.randint(1, 400)
            link.data_received(bytes(stream[:size]))
            del stream[:size]
        if transport.cut:
            assert all(one.outcome.done() for one in sent)
            with pytest.raises(LinkLostError):
                await subscription.take(1)
        link.abort()
        assert all(one.outcome.done() for one in sent)


class _Counting:
    """A transport that notes how much each write is."""

    def __init__(self, transport: asyncio.Transport, writes: list[int]) -> None:
        self._transport = transport
        self._writes = writes

    def write(self, data: bytes) -> None:
        self._writes.append(len(data))
        self._transport.write(data)

    def is_closing(self) -> bool:
        return self._transport.is_closing()
