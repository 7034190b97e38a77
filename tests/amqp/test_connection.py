"""The supervised connection: what it says, what it keeps to itself, and how it waits."""

import asyncio
import logging

import pytest
from structlog.testing import capture_logs

from bridge.amqp.connection import BrokerConnection, Link, _delay
from bridge.config.units import Duration
from bridge.errors import BridgeError
from bridge.telemetry.metrics import Metrics
from tests.support.amqp import make_config, running, until
from tests.support.proxy import Proxy


async def test_password_is_in_no_log(amqp_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a refused login nor an unreachable broker writes the password anywhere."""
    caplog.set_level(logging.INFO)

    async def serve(link: Link) -> None:
        await link.until_lost()

    wrong = amqp_url.replace("guest:guest@", "guest:s3cret@")
    nowhere = "amqp://guest:s3cret@127.0.0.1:1/"
    for url, reason in ((wrong, "ACCESS_REFUSED"), (nowhere, "ConnectionRefusedError")):
        connection = BrokerConnection(make_config(url), "read", Metrics())
        with capture_logs() as logs:
            async with running(connection.run(serve)):
                await until(lambda logs=logs: logs)
        assert reason in str(logs)
        assert "s3cret" not in str(logs)
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("url", ["http://guest:s3cret@localhost/", "localhost:5672", "amqp://u:s3cret@[::1/"])
def test_url_that_is_none_is_refused_without_showing_it(url: str) -> None:
    """A URL that cannot be used is named by its key, not shown: it may hold a password."""
    with pytest.raises(BridgeError) as error:
        BrokerConnection(make_config(url), "read", Metrics())
    assert "amqp.url" in str(error.value)
    assert "s3cret" not in repr(error.value)


async def test_connection_that_does_nothing_useful_is_down(amqp_url: str) -> None:
    """Only `mark_up` makes a connection count as up, and its loss as down."""
    metrics = Metrics()
    connection = BrokerConnection(make_config(amqp_url), "publish", metrics)
    links: list[Link] = []

    async def serve(link: Link) -> None:
        links.append(link)
        await link.until_lost()

    def gauge() -> float | None:
        return metrics.registry.get_sample_value("bridged_broker_up", {"connection": "publish"})

    async with running(connection.run(serve)):
        await until(lambda: links)
        assert (connection.up_since, gauge()) == (None, 0.0)
        assert connection.down_since is not None
        connection.mark_up()
        assert (connection.down_since, gauge()) == (None, 1.0)
        await links[0].close()
        await until(lambda: len(links) == 2)
        assert (connection.up_since, gauge()) == (None, 0.0)
        assert connection.generation == 2


async def test_broker_that_accepts_and_says_nothing_is_given_up(amqp_url: str) -> None:
    """An attempt to connect is bounded; the next one may succeed."""
    async with Proxy.before(amqp_url) as proxy:
        proxy.hold()
        config = make_config(proxy.url(amqp_url), connect_timeout=Duration("200ms"))
        connection = BrokerConnection(config, "read", Metrics())

        async def serve(link: Link) -> None:
            connection.mark_up()
            await link.until_lost()

        async with running(connection.run(serve)):
            await until(lambda: proxy.accepted >= 2)
            proxy.pass_on()
            await until(lambda: connection.up_since)


async def test_work_begun_is_finished_when_the_connection_breaks(amqp_url: str) -> None:
    """The loss of the link does not cancel what uses it; cancelling the supervisor does."""
    finished = asyncio.Event()
    async with Proxy.before(amqp_url) as proxy:
        connection = BrokerConnection(make_config(proxy.url(amqp_url)), "read", Metrics())

        async def serve(link: Link) -> None:
            proxy.reset()
            await link.until_lost()
            await asyncio.sleep(0)
            finished.set()
            await asyncio.Event().wait()

        async with running(connection.run(serve)) as task:
            await asyncio.wait_for(finished.wait(), 5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task


def test_back_off_grows_to_a_second_and_is_jittered() -> None:
    """The first attempts come quickly; later ones at most a second apart, never in step."""
    assert all(0.05 <= _delay(1) <= 0.1 for _ in range(100))
    late = {_delay(50) for _ in range(100)}
    assert all(0.5 <= delay <= 1.0 for delay in late)
    assert len(late) > 50
