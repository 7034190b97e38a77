"""AMQP URLs: where the broker is and who logs in, with no password in any text."""

import ssl
from pathlib import Path

import pytest

from bridge.amqp.address import OptionError, make_tls, parse_address
from bridge.errors import BridgeError
from tests.support.certificates import make_certificate


@pytest.mark.parametrize(
    ("url", "host", "port", "vhost", "response"),
    [
        ("amqp://localhost", "localhost", 5672, "/", "\0guest\0guest"),
        ("amqp://u:p@broker:5673/", "broker", 5673, "/", "\0u\0p"),
        ("amqps://u:p@broker/team", "broker", 5671, "team", "\0u\0p"),
        ("amqp://u%40x:p%2F%C3%BC@broker/%2F", "broker", 5672, "/", "\0u@x\0p/ü"),
        ("amqp://[::1]/a%2Fb", "::1", 5672, "a/b", "\0guest\0guest"),
    ],
)
def test_parts_of_a_url(url: str, host: str, port: int, vhost: str, response: str) -> None:
    """Defaults are those of every AMQP client; what is quoted is unquoted."""
    address = parse_address(url)
    assert (address.host, address.port) == (host, port)
    assert (address.login.vhost, address.login.mechanism, address.login.response) == (
        vhost,
        "PLAIN",
        response,
    )
    assert (address.tls is None) == url.startswith("amqp:")


def test_external_login() -> None:
    """`auth=external` sends no credentials, even if the URL has some."""
    login = parse_address("amqps://u:p@broker/?auth=external").login
    assert (login.mechanism, login.response) == ("EXTERNAL", "")


@pytest.mark.parametrize(
    "url", ["http://u:s3cret@h/", "amqp:///v", "h:5672", "amqp://u:s3cret@h/?auth=magic"]
)
def test_no_amqp_url(url: str) -> None:
    """The error names no part of it."""
    with pytest.raises(BridgeError) as error:
        parse_address(url)
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("value", ["false", "no", "true", "", "00"])
def test_verification_is_switched_off_by_1_alone(value: str) -> None:
    """What reads as "no" to somebody must not mean yes."""
    with pytest.raises(OptionError, match="no_verify_ssl= is 0, or 1"):
        parse_address(f"amqps://h/?no_verify_ssl={value}")
    for accepted, mode in (("0", ssl.CERT_REQUIRED), ("1", ssl.CERT_NONE)):
        address = parse_address(f"amqps://h/?no_verify_ssl={accepted}")
        assert address.tls is not None
        assert make_tls(address.tls).verify_mode == mode


@pytest.mark.parametrize("option", ["cafle=/x", "heartbeat=5", "verify=no", "NO_VERIFY_SSL=1"])
def test_unknown_options_are_refused(option: str) -> None:
    """With those that there are: a misspelt one may be what was to protect the connection."""
    with pytest.raises(OptionError, match=r"unknown option .* \(known: auth, cafile, capath, certfile, "):
        parse_address(f"amqps://h/?{option}")


def test_options_of_tls_need_tls() -> None:
    """Whoever names an authority expects to be protected by it."""
    with pytest.raises(OptionError, match="cafile, which means nothing without TLS"):
        parse_address("amqp://h/?cafile=/x")


def test_password_is_not_shown() -> None:
    """Not even where an address is printed whole."""
    assert "s3cret" not in repr(parse_address("amqp://u:s3cret@h/"))


def test_tls_options(tmp_path: Path) -> None:
    """By default the broker must show a certificate that is trusted for its name."""
    context = make_tls({})
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)
    certificate, key = make_certificate(tmp_path)
    context = make_tls({"cafile": str(certificate), "certfile": str(certificate), "keyfile": str(key)})
    assert len(context.get_ca_certs()) == 1
    assert make_tls({"no_verify_ssl": "1"}).verify_mode == ssl.CERT_NONE
    with pytest.raises(OSError, match="No such file"):
        make_tls({"cafile": "/nowhere.pem"})
