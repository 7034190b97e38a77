"""Logging in to RabbitMQ by a certificate (`?auth=external`), at a broker that wants one from everybody."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from msgspec import Struct

from dev.broker import PrivateBroker
from tests.support.certificates import Authority
from tests.support.daemon import Daemon, free_port
from tests.support.js_client import JsClients
from tests.support.portal import visit

USER: Final = "bridge-of-tests"
SETTINGS: Final = """\
listeners.ssl.1 = 127.0.0.1:{port}
ssl_options.cacertfile = {trusted}
ssl_options.certfile = {certificate}
ssl_options.keyfile = {key}
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
ssl_cert_login_from = common_name
auth_mechanisms.1 = EXTERNAL
auth_mechanisms.2 = PLAIN
"""


class Encrypted(Struct):
    """A broker with TLS, and the certificates of those who may come and of those who may not."""

    broker: PrivateBroker
    port: int
    authority: Authority

    def url(self, owner: str) -> str:
        """The address for whoever has a certificate with that name."""
        certificate, key = self.authority.issue(owner)
        return (
            f"amqps://127.0.0.1:{self.port}/?auth=external&cafile={self.authority.certificate}"
            f"&certfile={certificate}&keyfile={key}"
        )


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encrypted]:
    """A node of its own; the user of the certificate has no password."""
    folder = tmp_path_factory.mktemp("encrypted")
    authority = Authority(folder)
    certificate, key = authority.issue("broker")
    port = free_port()
    broker = PrivateBroker(
        folder / "node",
        settings=SETTINGS.format(port=port, trusted=authority.certificate, certificate=certificate, key=key),
        plugins=["rabbitmq_auth_mechanism_ssl"],
    )
    broker.start()
    broker.rabbitmqctl("add_user", USER, "of no use")
    broker.rabbitmqctl("clear_password", USER)
    broker.rabbitmqctl("set_permissions", USER, ".*", ".*", ".*")
    yield Encrypted(broker, port, authority)
    broker.kill()


async def test_the_daemon_logs_in_by_its_certificate(
    encrypted: Encrypted, tmp_path: Path, js: JsClients
) -> None:
    """With all of its connections; then all is as with a password."""
    daemon = Daemon(tmp_path, encrypted.url(USER))
    try:
        daemon.start()
        async with visit(daemon, f"{encrypted.broker.url}/", js) as portal:
            client = await portal.project_client(permissions=["approvals:write"])
            commands = await portal.take_commands()
            await portal.tell(client)
            ack = await client.call("resolve_approval", {"request_id": "r-1", "approved": True})
            assert isinstance(ack, dict)
            assert ack["status"] == "ok"
            assert (await commands.body())["request_id"] == "r-1"
        listed = encrypted.broker.rabbitmqctl("list_connections", "user", "auth_mechanism", "ssl")
        ours = [line.split() for line in listed.splitlines() if USER in line]
        assert ours == [[USER, "EXTERNAL", "true"]] * 3
    finally:
        assert daemon.stop() == 0


def test_a_certificate_without_a_user_is_refused(encrypted: Encrypted, tmp_path: Path) -> None:
    """The daemon says why, and goes on trying."""
    daemon = Daemon(tmp_path, encrypted.url("nobody-here"))
    try:
        daemon.start(ready=False)
        daemon.wait_until(lambda: "ACCESS_REFUSED" in daemon.log, 20, "the broker's refusal in the log")
        assert daemon.get("/readyz")[0] == 503
    finally:
        assert daemon.stop() == 0
