"""Thousands of clients that go at once: the work for each does not grow with their number.

Counted, not timed: every call of a function, and every member of a room that is copied out of its index.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import msgspec
import pytest
from structlog.testing import capture_logs

from bridge.config.model import Http, Limits
from bridge.flow.ports import Client
from bridge.rules.compile import Rules
from bridge.sockets.connection import Connection, Handshake
from bridge.sockets.endings import CloseReason
from bridge.sockets.fanout import Fanout
from bridge.sockets.server import SocketServer
from bridge.workload import Workload
from tests.support.club import Club, compile_club
from tests.support.fakes import settle

HANDSHAKE = Handshake(headers={}, query={}, remote="192.0.2.1")
FEW, MANY = 250, 1000


class Work:
    """What was done."""

    def __init__(self) -> None:
        self.calls = 0
        self.copied = 0
        """Members of rooms."""

    @contextmanager
    def count(self, club: Club) -> Iterator[None]:
        """Count what is done meanwhile."""
        members = club.memberships.members

        def counting(namespace: str, room: str) -> tuple[Client, ...]:
            found = members(namespace, room)
            self.copied += len(found)
            return found

        def note(_frame: FrameType, event: str, _arg: object) -> None:
            self.calls += event in ("call", "c_call")

        club.memberships.members = counting  # type: ignore[method-assign]
        sys.setprofile(note)
        try:
            yield
        finally:
            sys.setprofile(None)


class Hall:
    """A real server and fan-out before the flow of a club: everybody sits at one table."""

    def __init__(self, rules: Rules) -> None:
        club = self.club = Club(rules)
        self.server = SocketServer(
            club.gateway, club.memberships, Http(), Limits(), club.metrics, club.window.head, Workload()
        )
        self.engine = self.server._engine

    async def seat(self, count: int) -> list[Connection]:
        """Let so many users in."""
        connections = []
        for number in range(count):
            connection = self.engine.open(HANDSHAKE)
            connections.append(connection)
            token = msgspec.json.encode({"token": self.club.token(f"user-{number}")})
            connection.receiver.received_text(b"0/hall," + token)
        await settle()
        for connection in connections:
            connection.receiver.received_text(b'2/hall,["sit",{"table":"1"}]')
            await settle()
            connection.polls.take()
        assert len(self.club.memberships.members("/hall", "table:1")) == count
        return connections


def cut(connections: list[Connection]) -> None:
    """The network is gone."""
    for connection in connections:
        connection.close(CloseReason.TRANSPORT_CLOSE)


def leave(connections: list[Connection]) -> None:
    """All leave the namespace, and the connections stay."""
    for connection in connections:
        connection.receiver.received_text(b"1/hall,")


def measure(rules: Rules, count: int, go: Callable[[list[Connection]], None]) -> Work:
    """What it costs when so many go, until nothing of them is left."""
    work = Work()

    async def run() -> None:
        hall = Hall(rules)
        club = hall.club
        connections = await hall.seat(count)
        with work.count(club):
            club.fanout = Fanout(club.memberships, club.metrics, club.window.head)  # type: ignore[assignment]
            go(connections)
            await settle()
            await club.clock.advance(5.1)  # the grace in which they might have come back
            await settle()
        assert club.left_over() == {}
        hall.engine.stop()

    with capture_logs():
        asyncio.run(run())
    return work


@pytest.mark.parametrize("go", [cut, leave])
def test_each_client_costs_the_same(tmp_path: Path, go: Callable[[list[Connection]], None]) -> None:
    """With presence in their room, of which all others are told; those are gone as well."""
    rules = compile_club(tmp_path)
    few, many = measure(rules, FEW, go), measure(rules, MANY, go)
    assert few.calls > 100 * FEW
    assert many.calls / MANY < 1.1 * few.calls / FEW
    assert many.copied <= MANY
