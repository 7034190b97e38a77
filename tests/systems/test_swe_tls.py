"""The SWE Agent over TLS: `https:` and `wss:` from the daemon itself, as its document asks for."""

import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import make_certificate
from tests.support.daemon import ROOT, SECRET, Daemon, edit_config, free_port
from tests.support.js_client import JsClients
from tests.support.swe import seen, visit_swe
from tests.systems.swe_events import DOCUMENTED

TLS = {"http.tls": {"certificate": "tls/certificate.pem", "key": "tls/key.pem"}}


class TlsDaemon(Daemon):
    """A daemon that speaks TLS with a certificate of the tests."""

    @property
    def url(self) -> str:
        """Where clients connect to."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def certificate(self) -> Path:
        """What clients must trust."""
        return self.config.parent / "tls" / "certificate.pem"

    @property
    def context(self) -> ssl.SSLContext:
        """Trusts that certificate alone."""
        return ssl.create_default_context(cafile=str(self.certificate))


@pytest.fixture(scope="module")
def tls_url(amqp_urls: Iterator[str]) -> str:
    """The virtual host of the daemon with TLS."""
    return next(amqp_urls)


@pytest.fixture(scope="module")
def tls_daemon(tmp_path_factory: pytest.TempPathFactory, tls_url: str) -> Iterator[TlsDaemon]:
    """The daemon as shipped, with a certificate beside its configuration."""
    folder = tmp_path_factory.mktemp("tls")
    config = edit_config(folder, bridge=TLS)
    make_certificate(config.parent / "tls")
    daemon = TlsDaemon(folder, tls_url, config)
    daemon.start()
    yield daemon
    assert daemon.stop() == 0


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]], ids=str)
async def test_events_arrive_over_tls(
    tls_daemon: TlsDaemon, tls_url: str, js: JsClients, transports: list[str]
) -> None:
    """On websocket, on polling and through the upgrade; the client trusts this certificate alone."""
    async with visit_swe(tls_daemon, tls_url, js) as swe:
        client = await js.connect(
            swe.url,
            auth={"token": swe.token()},
            transports=transports,
            ca=tls_daemon.certificate.read_text(encoding="ascii"),
        )
        example = next(example for example in DOCUMENTED if "global" in example.rooms)
        await client.wait_for("connection_established")
        if len(transports) > 1:
            await client.until(lambda: client.transport == "websocket")
        await swe.publish(example.key, example.body)
        await client.wait_for(example.event)
        assert seen(client) == [(example.event, [example.body])]


async def test_client_that_takes_nothing_is_cut_over_tls_too(
    tls_daemon: TlsDaemon, tls_url: str, js: JsClients
) -> None:
    """What waits for a frozen client is bounded, although TLS has buffers of its own."""
    async with visit_swe(tls_daemon, tls_url, js) as swe:
        options = {"ca": tls_daemon.certificate.read_text(encoding="ascii"), "reconnection": False}
        frozen, other = [
            await js.connect(swe.url, auth={"token": swe.token()}, transports=["websocket"], **options)  # type: ignore[arg-type]
            for _ in range(2)
        ]
        await frozen.wait_for("connection_established")
        await other.wait_for("connection_established")
        await frozen.freeze()
        example = next(example for example in DOCUMENTED if example.event == "ai.suggestion")
        body = example.with_data(metadata={"text": "x" * 900_000})
        for count in range(1, 21):  # at the pace of the other: it must not count as slow, too
            await swe.publish(example.key, body)
            await other.wait_for("ai.suggestion", count, timeout=20)
        sample = 'bridged_closed_total{reason="slow_client"}'
        await tls_daemon.until(lambda: tls_daemon.metrics().get(sample) == 1, 15, "the slow client's end")


def test_plain_http_is_not_answered(tls_daemon: TlsDaemon) -> None:
    """Neither is a client that trusts others; and neither leaves anything in the log."""
    before = tls_daemon.log
    for url in (f"http://127.0.0.1:{tls_daemon.port}/healthz", f"{tls_daemon.url}/healthz"):
        with pytest.raises(OSError):  # noqa: PT011  whatever way it fails
            urllib.request.urlopen(url, timeout=5)  # noqa: S310
    assert tls_daemon.get("/healthz")[0] == 200
    assert tls_daemon.log == before


def run_bridged(command: str, config: Path) -> subprocess.CompletedProcess[str]:
    """What a command says of a configuration."""
    return subprocess.run(  # noqa: S603  our own interpreter, no shell
        [sys.executable, "-m", "bridge", command, "-c", str(config)],
        cwd=ROOT,
        env={"JWT_SECRET": SECRET, "PORT": str(free_port()), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("command", ["check", "run"])
def test_missing_certificate_is_said_clearly(tmp_path: Path, command: str) -> None:
    """With the key of the configuration and the path, before anything is started."""
    config = edit_config(tmp_path, bridge=TLS)
    done = run_bridged(command, config)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert f"bridge.yaml: http.tls.certificate: {config.parent}/tls/certificate.pem: there is no such" in said
    assert "http.tls.key" in said
    assert "Traceback" not in said


def test_token_needs_no_certificate(tmp_path: Path) -> None:
    """Commands that do not serve anything do not look for it."""
    config = edit_config(tmp_path, bridge=TLS)
    done = subprocess.run(  # noqa: S603  our own interpreter, no shell
        [sys.executable, "-m", "bridge", "token", "-c", str(config), "--user", "ann"],
        cwd=ROOT,
        env={"JWT_SECRET": SECRET, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout.count(".")) == (0, 2)
