"""Which pages may connect: the Origin check of both transports, and the CORS headers of polling."""

from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit


class Origins:
    """The origins of `http.origins`: separated by commas, `*` for any.

    Only browsers send an Origin, and they cannot leave it out of a websocket handshake or of a request to
    another origin: one without is no page of a stranger.
    """

    def __init__(self, text: str) -> None:
        self._allowed = {origin.strip().rstrip("/").lower() for origin in text.split(",") if origin.strip()}
        self._any = "*" in self._allowed

    def allows(self, origin: str | None, host: str | None = None) -> bool:
        """Whether a request with these Origin and Host headers may go on."""
        if origin is None or self._any or origin.lower() in self._allowed:
            return True
        return host is not None and _is_own(origin.lower(), host.lower())

    def headers(self, origin: str | None) -> Mapping[str, str]:
        """The CORS headers of an answer to an allowed request; never with credentials."""
        if origin is None:
            return {"Vary": "Origin"}
        return {"Vary": "Origin", "Access-Control-Allow-Origin": "*" if self._any else origin}

    def preflight_headers(self, origin: str | None) -> Mapping[str, str]:
        """The headers of the answer to a browser's OPTIONS."""
        return {
            **self.headers(origin),
            "Access-Control-Allow-Methods": "GET, POST",
            "Access-Control-Allow-Headers": "Authorization, Content-Type",
            "Access-Control-Max-Age": "600",
        }


def _is_own(origin: str, host: str) -> bool:
    """Whether the page came from this very server, as `/client` does, by an address that no stranger can own.

    Some clients that are no browsers (websocket-client of Python) send such an Origin as well. Of a name
    with a dot, a stranger's DNS may say that it is the stranger's server, and then that it is this one.
    """
    try:
        parts = urlsplit(origin)
        name = parts.hostname
    except ValueError:
        return False
    if not name or parts.scheme not in {"http", "https"} or parts.netloc != host:
        return False
    return "." not in name or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
