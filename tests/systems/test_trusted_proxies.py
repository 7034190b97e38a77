"""Behind a proxy: the audit log of the daemon names the client."""

from pathlib import Path

import pytest
import socketio  # type: ignore[import-untyped]  # it ships no types

from tests.support.daemon import Daemon, make_token


@pytest.mark.parametrize(
    ("trusted", "address"), [("127.0.0.0/8", "203.0.113.7"), ("192.0.2.0/24", "127.0.0.1")]
)
async def test_the_log_names_the_client_of_a_trusted_proxy(
    amqp_url: str, tmp_path: Path, trusted: str, address: str
) -> None:
    """Anybody else's header is passed over."""
    daemon = Daemon(tmp_path, amqp_url, environ={"TRUSTED_PROXIES": trusted})
    daemon.start()
    try:
        client = socketio.AsyncClient()
        await client.connect(
            daemon.url,
            headers={"X-Forwarded-For": "198.51.100.1, 203.0.113.7"},
            auth={"token": make_token("ada")},
            namespaces=["/portal"],
        )
        await client.disconnect()
    finally:
        daemon.stop()
    opened = [line for line in daemon.log.splitlines() if "connection.opened" in line]
    assert len(opened) == 1
    assert f"address={address} " in opened[0]
