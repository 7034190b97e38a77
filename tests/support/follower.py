"""A page that follows a project and can come back: the official client, and the book of what reached it."""

from __future__ import annotations

from collections import Counter

from tests.support.js_client import JsClient
from tests.support.portal import Portal


class Follower:
    """A client of `/project/{the test's project}` that recovers, through any address."""

    def __init__(self, client: JsClient) -> None:
        self.client = client

    @classmethod
    async def connect(
        cls,
        portal: Portal,
        *,
        url: str | None = None,
        transports: list[str] | None = None,
        options: dict[str, object] | None = None,
        **auth: object,
    ) -> Follower:
        """Connect; `url` leads elsewhere than to the portal's daemon, `auth` adds to token and `recover`."""
        shown = {"token": portal.token(), "recover": True, **auth}
        quick = {"reconnectionDelay": 50, "reconnectionDelayMax": 500, **(options or {})}
        client = await portal.js.connect(
            f"{url or portal.daemon.url}/project/{portal.project}",
            auth=shown,
            transports=transports or ["websocket"],
            **quick,
        )
        return cls(client)

    @property
    def numbers(self) -> list[int]:
        """The numbers of the events that came, in order."""
        updates = self.client.received("task_update")
        return [args[0]["progress"] for args in updates if isinstance(args[0], dict)]

    @property
    def cursors(self) -> list[object]:
        """The last argument of each."""
        return [args[-1] for args in self.client.received("task_update")]

    async def come_back(self, within: float = 15) -> bool:
        """Wait until it has connected after its last disconnect; whether it says that it recovered."""
        await self.client.wait_connected(times=len(self.client.disconnects) + 1, timeout=within)
        return self.client.recovered

    async def drop(self) -> None:
        """Lose the connection."""
        before = len(self.client.disconnects)
        await self.client.drop()
        await self.client.until(lambda: len(self.client.disconnects) > before)

    async def has(self, wanted: list[int], within: float = 15) -> None:
        """Wait for the last of these numbers: all of them came, once, in order."""
        await self.client.until(
            lambda: wanted[-1] in self.numbers,
            within,
            lambda: f"{wanted[-1]}, the latest being {self.numbers[-3:]}",
        )
        arrived = Counter(self.numbers)
        assert sorted(set(wanted) - arrived.keys()) == [], "lost"
        assert [number for number, times in arrived.items() if times > 1] == [], "doubled"
        assert self.numbers == wanted, "out of order"


class Updates:
    """Publishes numbered events of a project."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal
        self.published = 0

    async def publish(self, count: int = 1, *, size: int = 0) -> list[int]:
        """Publish so many more; returns all numbers so far."""
        for number in range(self.published, self.published + count):
            await self._portal.publish("task_update", self._body(number, size))
        self.published += count
        return list(range(self.published))

    def _body(self, number: int, size: int) -> dict[str, object]:
        return {
            "project_name": self._portal.project,
            "task_id": "t-1",
            "task_type": "code" + "x" * size,
            "status": "running",
            "progress": number,
            "agent_type": "coder",
        }
