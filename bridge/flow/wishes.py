"""What a client that connects says of what it had before, and what is made of it."""

from __future__ import annotations

import hashlib

from msgspec import Struct

from bridge.errors import Code
from bridge.flow.ports import ConnectRequest
from bridge.model import Refuse
from bridge.rules.since import Since, parse_since
from bridge.state.cursors import Cursor, parse_cursor


class Wish(Struct, frozen=True, kw_only=True):
    """What a client that connects says of what it had before."""

    recovers: bool
    """It wants cursors, and to be able to come back."""
    key: str | None = None
    """Of the session that it had."""
    pid: str | None = None
    """The secret that it showed for it."""
    offset: object = None
    """The last cursor that it got in that session, unless it is something else."""
    since: Since | None = None
    """What it has of the rooms that it will be in by itself."""

    @property
    def cursor(self) -> Cursor | None:
        """What `offset` names; None where it is left out, or names nothing."""
        return parse_cursor(self.offset) if isinstance(self.offset, str) else None


def read_wish(request: ConnectRequest) -> Wish | Refuse:
    """What the `auth` of a CONNECT packet says of recovery."""
    auth = request.auth if isinstance(request.auth, dict) else {}
    since = None
    if auth.get("since") is not None:
        since = parse_since(auth["since"])
        if since is None:
            text = 'since: Expected an offset, or an age such as "30s"'
            return Refuse(code=Code.VALIDATION_FAILED, message=text)
    pid = auth.get("pid")
    if pid is None:
        return Wish(recovers=request.recovers, since=since)
    shown = pid if isinstance(pid, str) else ""
    return Wish(recovers=True, key=to_key(shown), pid=shown, offset=auth.get("offset"), since=since)


def to_key(pid: str) -> str:
    """By which instances know the session of a secret: it is shown to nobody but its client."""
    return hashlib.sha256(pid.encode("utf-8", "surrogatepass")).hexdigest()[:32]
