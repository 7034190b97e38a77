"""Hostile clients at the door of a namespace, one attack per test: not yet let in, or gone already."""

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from bridge.config.model import Http, Limits
from bridge.config.units import Size
from bridge.model import EVERYONE
from tests.support.echo_gateway import Running, serve
from tests.support.hostile import read_until_closed, websocket


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """A server with small bounds and an echo gateway."""
    async with serve(Http(), Limits(payload=Size("100kB"), namespaces=4)) as running:
        yield running


async def test_a_second_connect_to_a_namespace_is_refused(running: Running) -> None:
    """The client stays what it was."""
    async with websocket(running) as socket:
        await socket.send_str("40")
        assert "VALIDATION_FAILED" in await socket.receive_str()
        await socket.send_str('421["still"]')
        assert await socket.receive_str() == "431[]"
    assert len(running.gateway.requests) == 1


async def test_namespaces_of_a_connection_are_bounded(running: Running) -> None:
    """A thousand CONNECTs are refused at the bound, and disconnected in the end."""
    async with websocket(running, connected=False) as socket:
        for number in range(1000):
            await socket.send_str(f"40/n{number},")
        got = await read_until_closed(socket)
        assert 0 < len(got) <= 104
        assert all(str(answer).startswith("44/n") for answer in got)
    assert len(running.gateway.requests) <= 100


async def test_a_client_that_is_never_let_in_is_disconnected(running: Running) -> None:
    """Refusals by an event are counted as those by CONNECT_ERROR are."""
    async with websocket(running, connected=False) as socket:
        for _ in range(100):
            await socket.send_str('40{"dismiss":"no"}')
            assert (await socket.receive_str()).startswith("40{")
            assert [await socket.receive_str() for _ in range(2)] == ['42["no"]', "41"]
        assert await read_until_closed(socket) == []
    assert len(running.gateway.requests) == 100
    assert running.gateway.clients == {}


async def test_an_event_before_the_connect_is_answered_closes_the_connection(running: Running) -> None:
    """Nothing reaches the gateway from a client that it has not admitted."""
    async with websocket(running, connected=False) as socket:
        await socket.send_str('40{"wait":true}')
        await socket.send_str('42["message"]')
        assert await read_until_closed(socket) == []
    assert running.gateway.received_events == []
    assert running.gateway.ended == []


@pytest.mark.parametrize("recover", ["false", "true"])
async def test_a_client_that_is_not_let_in_hears_nothing(running: Running, recover: str) -> None:
    """Not even in a room, by a fault of whoever put it there; what comes first is that it is let in."""
    async with websocket(running, connected=False) as socket, websocket(running) as other:
        await socket.send_str(f'40{{"early":true,"wait":true,"recover":{recover}}}')
        await running.gateway.until(lambda: len(running.gateway.requests) == 2)
        running.send("secret", 1)
        assert await other.receive_str() == '42["secret",1]'
        running.gateway.let_in.set()
        assert (await socket.receive_str()).startswith("40{")
        running.send("news", 2)
        assert (await socket.receive_str()).startswith('42["news",2')


async def test_a_client_that_has_left_hears_nothing(running: Running) -> None:
    """The connection goes on in another namespace; the gateway may not have noticed yet."""
    async with websocket(running) as socket:
        await socket.send_str("40/other,")
        await socket.receive_str()
        (client, _) = running.gateway.clients.values()
        await socket.send_str("41")
        await running.gateway.until(lambda: running.gateway.ended == [("client_disconnect", False)])
        running.memberships.join("/", EVERYONE, client)
        running.send("secret", 1)
        running.send("news", 2, namespace="/other")
        assert await socket.receive_str() == '42/other,["news",2]'
        running.memberships.leave_all(client)


async def test_a_client_that_goes_while_it_is_admitted_leaves_nothing(running: Running) -> None:
    """The gateway learns of the end, once, though the client never had its CONNECT."""
    async with websocket(running, connected=False) as socket:
        await socket.send_str('40{"wait":true}')
        await running.gateway.until(lambda: len(running.gateway.requests) == 1)
    await running.gateway.until(lambda: bool(running.gateway.ended))
    running.gateway.let_in.set()
    assert running.gateway.ended == [("transport_close", True)]
    assert running.gateway.clients == {}
    assert running.count("bridged_connections") == 0


async def test_a_fault_of_the_gateway_ends_one_connection(running: Running) -> None:
    """Nothing of it reaches the client, and others do not notice."""
    async with websocket(running) as socket, websocket(running) as other:
        with capture_logs() as logs:
            await socket.send_str('42["fail"]')
            assert await read_until_closed(socket) == []
        await other.send_str('421["still"]')
        assert await other.receive_str() == "431[]"
    assert [entry["event"] for entry in logs] == ["connection.failed"]


async def test_a_fault_of_the_gateway_in_the_last_step_ends_the_connection(running: Running) -> None:
    """A client that is in, and of which the flow knows nothing, would stay for ever."""
    async with websocket(running, connected=False) as socket:
        with capture_logs() as logs:
            await socket.send_str('40{"stumble":true}')
            assert [str(answer)[:3] for answer in await read_until_closed(socket)] == ["40{"]
            assert socket.close_code == 1011
    assert [entry["event"] for entry in logs] == ["connect.failed"]
    assert running.gateway.ended == [("internal_error", True)]
