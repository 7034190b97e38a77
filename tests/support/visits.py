"""Visits to the club: tables at which something is said, whoever sits there, goes and comes back."""

from __future__ import annotations

from itertools import count

from bridge.flow.ports import ConnectRefused
from tests.support.club import Club
from tests.support.fakes import RecordingClient, settle
from tests.support.rules import deliver

CHECKSUM = 0xABCD0000
BIG = "x" * 30_000


class Log:
    """Numbers events as a stream does, with holes, and lets the instance read them."""

    def __init__(self, club: Club, *, caught_up: bool = True) -> None:
        """`caught_up` says that the club has read what the log held at its start."""
        self._club = club
        self._offsets = count(10, 3)
        if caught_up:
            club.downlink.caught_up()

    async def say(
        self, *texts: str, table: str = "1", key: str = "said", timestamp: float | None = None
    ) -> list[str]:
        """Publish events in one batch; the cursor of each."""
        batch = [
            deliver(
                f"table.{table}.{key}",
                {"text": text},
                exchange="club.events",
                offset=offset,
                checksum=CHECKSUM + offset,
                timestamp=timestamp,
            )
            for text, offset in zip(texts, self._offsets, strict=False)
        ]
        self._club.downlink.handle(batch)
        return [cursor(delivery.offset or 0) for delivery in batch]


def cursor(offset: int) -> str:
    """The cursor of a place."""
    return f"{offset}-{CHECKSUM + offset:08x}"


def texts(client: RecordingClient) -> list[object]:
    """What a client heard, in order."""
    return [said["text"] for said in client.received("said") if isinstance(said, dict)]


async def sit(client: RecordingClient, table: str = "1", ack: int = 1, **fields: object) -> dict[str, object]:
    """Join a table; the ack."""
    client.send("sit", {"table": table, **fields}, ack=ack)
    await settle()
    (answer,) = client.received(ack)
    assert isinstance(answer, dict)
    return answer


class Page:
    """A page with the official client: it keeps its pid, and the last string that any event ended with."""

    def __init__(self, club: Club, user: str = "ann", namespace: str = "/hall", **claims: object) -> None:
        self.club = club
        self.user = user
        self.namespace = namespace
        self.claims = claims
        self.pid: object = None
        self.offset: object = None
        self.recovered = False
        self.is_slow = False
        self.client: RecordingClient

    async def connect(self, **auth: object) -> RecordingClient:
        """Connect, for the first time or again."""
        return self.take(await self.try_connect(**auth))

    async def try_connect(self, **auth: object) -> RecordingClient | ConnectRefused:
        """The same, which may fail."""
        held = {} if self.pid is None else {"pid": self.pid}
        if held and self.offset is not None:
            held["offset"] = self.offset
        token = {} if self.user == "nobody" else {"token": self.club.token(self.user, **self.claims)}
        shown = {**token, "recover": True, **held, **auth}
        return await self.club.try_connect(self.namespace, shown, slow=self.is_slow)

    def take(self, client: RecordingClient | ConnectRefused) -> RecordingClient:
        """Take note of what the CONNECT packet says."""
        assert isinstance(client, RecordingClient), client
        pid = client.payload.get("pid")
        self.recovered = pid is not None and pid == self.pid
        assert client.payload.get("recovered", False) == self.recovered
        self.pid, self.client = pid, client
        return client

    def drop(self, received: int | None = None) -> None:
        """The connection breaks, after so many of the last packets that were sent to it."""
        if received is not None:
            del self.client.log[received:]
        for name, args in self.client.log:
            if isinstance(name, str) and isinstance(args[-1], str):
                self.offset = args[-1]
        self.client.drop()

    @property
    def texts(self) -> list[object]:
        """What it heard on its present connection."""
        return texts(self.client)
