"""Where a broker is and how to log in to it, read from an AMQP URL; shows no password in any text."""

import ssl
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from msgspec import Struct
from yarl import URL

from bridge.errors import BridgeError

_PORTS: Final = {"amqp": 5672, "amqps": 5671}
_MECHANISMS: Final = ("PLAIN", "EXTERNAL")
_TLS_OPTIONS: Final = frozenset({"cafile", "capath", "certfile", "keyfile", "no_verify_ssl"})


class OptionError(BridgeError):
    """An AMQP URL has an option of no use; `words` say which, and go on from the URL."""

    def __init__(self, words: str) -> None:
        super().__init__(f"amqp.url {words}")
        self.words = words


class Login(Struct, frozen=True, kw_only=True):
    """How to authenticate, and where."""

    mechanism: str
    """PLAIN, or EXTERNAL: the broker takes the name from the client's certificate."""
    response: str
    """The SASL response: credentials, so nothing to show."""
    vhost: str

    def __repr__(self) -> str:
        return f"Login(mechanism={self.mechanism!r}, vhost={self.vhost!r})"


class Address(Struct, frozen=True, kw_only=True):
    """A broker's place; `tls` are the URL's options for TLS, None without TLS."""

    host: str
    port: int
    login: Login
    tls: Mapping[str, str] | None


def parse_address(text: str) -> Address:
    """Read `amqp://` or `amqps://user:password@host:port/vhost?option=value`.

    Options: `auth` (plain, external); with TLS `cafile`, `capath`, `certfile`, `keyfile`, and
    `no_verify_ssl=1`, which trusts everyone. BridgeError, without the text, if it is no such URL, and
    OptionError if an option is none of these: a misspelt one may be what was to protect the connection.
    """
    try:
        url = URL(text)
        valid = url.scheme in _PORTS and bool(url.host) and "@" not in url.raw_query_string
    except ValueError:
        valid = False
    if not valid:
        raise BridgeError("amqp.url is no AMQP URL (write amqp://user:password@host:port/vhost)")
    _check_options(url.query, url.scheme)
    mechanism = url.query.get("auth", "plain").upper()
    credentials = f"\0{url.user or 'guest'}\0{url.password or 'guest'}"
    login = Login(
        mechanism=mechanism,
        response=credentials if mechanism == "PLAIN" else "",
        vhost=unquote(url.raw_path[1:]) or "/",
    )
    return Address(
        host=url.host or "",
        port=url.port or _PORTS[url.scheme],
        login=login,
        tls=dict(url.query) if url.scheme == "amqps" else None,
    )


def _check_options(options: Mapping[str, str], scheme: str) -> None:
    known = {"auth", *_TLS_OPTIONS}
    for name in options:
        if name not in known:
            raise OptionError(f'has an unknown option "{name}" (known: {", ".join(sorted(known))})')
        if name in _TLS_OPTIONS and scheme != "amqps":
            raise OptionError(f"has the option {name}, which means nothing without TLS (write amqps://)")
    if options.get("auth", "plain").upper() not in _MECHANISMS:
        raise OptionError("has an option of no use (auth= is plain or external)")
    if options.get("no_verify_ssl", "0") not in ("0", "1"):
        raise OptionError("has an option of no use (no_verify_ssl= is 0, or 1 to trust everyone)")


def make_tls(options: Mapping[str, str]) -> ssl.SSLContext:
    """The context for `amqps://`; reads files. OSError when one of them is of no use."""
    context = ssl.create_default_context(cafile=options.get("cafile"), capath=options.get("capath"))
    if options.get("no_verify_ssl") == "1":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if (certificate := options.get("certfile")) is not None:
        context.load_cert_chain(certificate, options.get("keyfile"))
    return context
