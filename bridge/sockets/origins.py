"""Which pages may connect: the Origin check of both transports, and the CORS headers of polling."""

from collections.abc import Mapping


class Origins:
    """The origins of `http.origins`: separated by commas, `*` for any.

    Only browsers send an Origin, and they cannot leave it out of a websocket handshake or of a request to
    another origin: one without is no page of a stranger.
    """

    def __init__(self, text: str) -> None:
        self._allowed = {origin.strip().rstrip("/").lower() for origin in text.split(",") if origin.strip()}
        self._any = "*" in self._allowed

    def allows(self, origin: str | None) -> bool:
        """Whether a request with this Origin header may go on."""
        return origin is None or self._any or origin.lower() in self._allowed

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
