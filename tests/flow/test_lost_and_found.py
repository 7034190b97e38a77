"""Whatever a client joins, leaves and misses, wherever it is cut: nothing is lost, nothing doubled."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from bridge.rules.compile import Rules
from tests.support.club import Club
from tests.support.fakes import settle
from tests.support.rules import deliver
from tests.support.visits import CHECKSUM, Page, cursor

TABLES = ("1", "2", "3")


class Say(Struct, frozen=True):
    """Somebody publishes an event for one or two rooms."""

    one: str
    other: str


class Sit(Struct, frozen=True):
    """The page joins a room, with what it missed or without."""

    table: str
    since: bool


class Stand(Struct, frozen=True):
    """The page leaves a room."""

    table: str


class Cut(Struct, frozen=True):
    """The connection breaks, with so many packets still on the way; then the page comes back."""

    on_the_way: int
    missed: int
    again: bool


tables = st.sampled_from(TABLES)
steps = st.one_of(
    st.builds(Say, tables, tables),
    st.builds(Sit, tables, st.booleans()),
    st.builds(Stand, tables),
    st.builds(Cut, st.integers(0, 6), st.integers(0, 3), st.booleans()),
)


class Follower:
    """A page that keeps book of what it has received and should have, and the log that it follows."""

    def __init__(self, club: Club) -> None:
        self.club = club
        self.page = Page(club, tables=list(TABLES))
        self.log: list[tuple[int, frozenset[str]]] = []
        self.had: Counter[int] = Counter()
        self.inside: dict[str, int] = {}
        """Rooms that the page knows itself to be in, with the offset from which on it has them."""
        self.unanswered: dict[int, tuple[str, int | None]] = {}
        """By ack: a room with where its join begins, None for a leave."""
        self.acks = 0
        self.booked = 0
        """Packets of the present connection that have arrived for certain."""
        self.asked_since = False
        """Whether a join of this session has said since when."""

    @property
    def head(self) -> int:
        """Where the log is."""
        return self.log[-1][0]

    async def say(self, one: str, other: str) -> None:
        """Publish an event."""
        offset = self.head + 1 + len(self.log) % 3 if self.log else 5
        self.log.append((offset, frozenset((one, other))))
        event = deliver(
            f"tables.{one}.{other}.heard",
            {"text": str(offset)},
            exchange="club.events",
            offset=offset,
            checksum=CHECKSUM + offset,
        )
        self.club.downlink.handle([event])

    async def sit(self, table: str, since: int | None) -> None:
        """Join a room, with all that came there since an offset."""
        self.wait_for_answer(table)
        self.acks += 1
        self.unanswered[self.acks] = (table, self.head if since is None else since)
        fields = {} if since is None else {"since": cursor(since)}
        self.asked_since = self.asked_since or since is not None
        self.page.client.send("sit", {"table": table, **fields}, ack=self.acks)
        await settle()

    async def stand(self, table: str) -> None:
        """Leave a room."""
        self.wait_for_answer(table)
        self.acks += 1
        self.unanswered[self.acks] = (table, None)
        self.page.client.send("stand", {"table": table}, ack=self.acks)
        await settle()

    def wait_for_answer(self, table: str) -> None:
        """Say no more of a room before the answer to what was said last has arrived."""
        if any(table == asked for asked, _ in self.unanswered.values()):
            self.book()

    def last_had(self, table: str) -> int:
        """The last event of a room that came, in whatever way; the first of the log if none did."""
        self.book()
        return max([o for o, rooms in self.log if table in rooms and self.had[o]], default=self.log[0][0])

    def book(self, received: int | None = None) -> None:
        """Enter the packets of the present connection, of which so many arrived, into the book."""
        packets = self.page.client.log[:received]
        begin, self.booked = self.booked, max(self.booked, len(packets))
        for name, args in packets[begin:]:
            if name == "heard":
                said = args[0]
                assert isinstance(said, dict)
                self.had[int(said["text"])] += 1
            elif isinstance(name, int):
                table, begins = self.unanswered.pop(name)
                assert isinstance(args[0], dict)
                assert args[0].get("recovered", True) is True
                if begins is None:
                    self.inside.pop(table, None)
                else:
                    self.inside[table] = min(begins, self.inside.get(table, begins))

    async def come_back(self) -> None:
        """Connect again, and ask again for what was not answered; start anew when that is all one can."""
        self.booked = 0
        self.unanswered, again = {}, self.unanswered
        await self.page.connect()
        if not self.page.recovered:
            assert self.asked_since, "whoever never joined with since must always get its session back"
            self.inside.clear()
            self.asked_since = False
            return
        for table, begins in again.values():
            if begins is None:
                await self.stand(table)
            else:
                await self.sit(table, begins)

    async def take(self, step: object) -> None:
        """Do one step, and come to rest."""
        match step:
            case Say(one, other):
                await self.say(one, other)
            case Sit(table, since):
                await self.sit(table, self.last_had(table) if since else None)
            case Stand(table):
                await self.stand(table)
            case Cut(on_the_way, missed, again):
                await self.cut(on_the_way)
                for number in range(missed):
                    await self.say(TABLES[number], TABLES[-1])
                await self.come_back()
                if again:
                    await self.cut(on_the_way)
                    await self.come_back()

    async def cut(self, on_the_way: int) -> None:
        """Lose the connection, and what has not arrived."""
        received = max(self.booked, len(self.page.client.log) - on_the_way)
        self.book(received)
        self.page.drop(received)

    def check(self) -> None:
        """Nothing came twice, and of the rooms that it is in nothing is missing; all was in order."""
        self.book()
        self.page.drop()
        assert [offset for offset, times in self.had.items() if times > 1] == [], "doubled"
        for table, begins in self.inside.items():
            due = {offset for offset, rooms in self.log if table in rooms and offset > begins}
            assert due - self.had.keys() == set(), "lost"


async def follow(rules: Rules, all_steps: list[object]) -> None:
    """Take the steps, with an instance that is new."""
    follower = Follower(Club(rules))
    follower.club.downlink.caught_up()
    await follower.say("1", "2")
    await follower.page.connect()
    for step in all_steps:
        await follower.take(step)
    follower.check()


def test_nothing_is_lost_and_nothing_doubled(club_rules: Rules) -> None:
    """Or the client is told that it could not be recovered."""

    @settings(max_examples=200, deadline=None)
    @given(st.lists(steps, max_size=25))
    @example([Say("1", "1"), Sit("1", True), Cut(4, 1, True), Cut(2, 0, False)])
    @example([Say("1", "1"), Say("1", "1"), Sit("1", True), Cut(3, 0, False), Cut(1, 0, False)])
    def run(all_steps: list[object]) -> None:
        asyncio.run(follow(club_rules, all_steps))

    run()
