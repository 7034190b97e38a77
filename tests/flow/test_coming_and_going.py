"""Clients come, sign in, sit down, drop and are banned at random: the flow agrees with a naive model."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, ClassVar

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from bridge.errors import Code
from bridge.model import RoomRef
from bridge.rules.compile import Rules
from tests.support.club import Club
from tests.support.fakes import RecordingClient, settle

USERS = st.sampled_from(["ann", "bob", "eve"])
TABLES = ("1", "2")
CONNECTIONS = st.sampled_from(["c1", "c2", "c3", "c4", "c5"])
NAMESPACES = st.sampled_from(["/hall", "/table/1", "/table/2"])
GRACE, SIGN_IN_TIME, BAN = 5.0, 10.0, 300.0


class Guest(msgspec.Struct, kw_only=True):
    """What the model knows of one client."""

    user: str | None
    namespace: str
    connection: str
    since: float
    expires_at: float = 0.0
    tables: set[str] = msgspec.field(default_factory=set)


class Model:
    """The same in a few lines, without an index: everything is looked for in all guests."""

    def __init__(self) -> None:
        self.now = 0.0
        self.guests: dict[str, Guest] = {}
        self.ghosts: list[tuple[str, str, float]] = []
        """Users at tables whose connection broke, and until when they count as there."""
        self.banned: dict[str, float] = {}

    def connections(self, user: str) -> set[str]:
        """The connections on which a user is signed in."""
        return {guest.connection for guest in self.guests.values() if guest.user == user}

    def refusal(self, user: str, connection: str) -> Code | None:
        """Why a user may not sign in on a connection."""
        if self.banned.get(user, 0.0) > self.now:
            return Code.BANNED
        return Code.TOO_MANY_CONNECTIONS if len(self.connections(user) - {connection}) >= 2 else None

    def expiry(self, lifetime: float) -> float:
        """When a token that is issued now ends: tokens tell times in whole seconds."""
        return (self.now + lifetime) // 1

    def at_table(self, table: str) -> set[str]:
        """The users that are there, or were a moment ago."""
        sitting = {guest.user for guest in self.guests.values() if table in guest.tables and guest.user}
        return sitting | {user for user, place, _ in self.ghosts if place == table}

    def drop(self, sid: str) -> None:
        """The connection of a guest breaks."""
        guest = self.guests.pop(sid)
        if guest.user is not None:
            self.ghosts += [(guest.user, table, self.now + GRACE) for table in guest.tables]

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.ghosts = [ghost for ghost in self.ghosts if ghost[2] > self.now]
        self.guests = {
            sid: guest
            for sid, guest in self.guests.items()
            if (guest.since + SIGN_IN_TIME if guest.user is None else guest.expires_at) > self.now
        }


class ComingAndGoing(RuleBasedStateMachine):
    """Every step is done by the flow and by the model."""

    compiled: ClassVar[Rules]
    clients = Bundle("clients")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(debug=False)
        self.model = Model()
        self.told: dict[str, set[str]] = {table: set() for table in TABLES}
        """Who is at a table as the events say."""
        self.club = self.run(self.open())

    async def open(self) -> Club:
        """Made inside the loop, whose clock it drives."""
        return Club(self.compiled)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do something in the loop, and all that follows from it."""

        async def and_settle() -> Any:
            result = await work
            await settle()
            return result

        return self.runner.run(and_settle())

    @rule(
        target=clients,
        user=st.none() | USERS,
        namespace=NAMESPACES,
        connection=CONNECTIONS,
        short=st.booleans(),
    )
    def connect(self, user: str | None, namespace: str, connection: str, short: bool) -> Any:
        """With a token, short-lived or not, or without one."""
        if any((g.namespace, g.connection) == (namespace, connection) for g in self.model.guests.values()):
            return multiple()  # the edge refuses it
        lifetime = 30 if short else 1000
        auth = None if user is None else {"token": self.club.token(user, lifetime=lifetime)}
        client = self.run(self.club.try_connect(namespace, auth, connection=connection))
        refusal = None if user is None else self.model.refusal(user, connection)
        if refusal is not None:
            assert client.code is refusal
            return multiple()
        self.model.guests[client.sid] = Guest(
            user=user,
            namespace=namespace,
            connection=connection,
            since=self.model.now,
            expires_at=self.model.expiry(lifetime),
        )
        return client

    @rule(client=clients, user=USERS)
    def sign_in(self, client: RecordingClient, user: str) -> None:
        """For the first time, or again; another user than before is refused."""
        token = {"token": self.club.token(user, lifetime=30)}
        self.run(self.do(client, "authenticate", token))
        guest = self.model.guests.get(client.sid)
        if guest is None or guest.user not in (None, user):
            return
        if self.model.refusal(user, guest.connection) is None:
            guest.user, guest.expires_at = user, self.model.expiry(30)

    @rule(client=clients, table=st.sampled_from(TABLES))
    def sit(self, client: RecordingClient, table: str) -> None:
        """Held before the sign-in, so that it may happen later: only signed-in clients do it here."""
        guest = self.model.guests.get(client.sid)
        if guest is not None and guest.user is None:
            return
        self.run(self.do(client, "sit", {"table": table}))
        if guest is not None and guest.namespace in ("/hall", f"/table/{table}"):
            guest.tables.add(table)

    @rule(client=clients, table=st.sampled_from(TABLES))
    def stand(self, client: RecordingClient, table: str) -> None:
        """Whether or not it sits there."""
        guest = self.model.guests.get(client.sid)
        if guest is not None and guest.user is None:
            return
        self.run(self.do(client, "stand", {"table": table}))
        if guest is not None:
            guest.tables.discard(table)

    @rule(client=consumes(clients))
    def leave(self, client: RecordingClient) -> None:
        """On purpose: it counts at once."""
        self.run(self.call(client.leave))
        self.model.guests.pop(client.sid, None)

    @rule(connection=CONNECTIONS)
    def drop(self, connection: str) -> None:
        """All clients of one connection break off."""
        for client in self.live():
            if client.connection_id == connection:
                self.run(self.call(client.drop))
                self.model.drop(client.sid)

    @rule(client=clients)
    def flood(self, client: RecordingClient) -> None:
        """Knocks so fast that the user is banned, with all sessions in the system."""
        guest = self.model.guests.get(client.sid)
        if guest is None or guest.user is None or guest.namespace != "/hall":
            return
        self.run(self.do(client, *["knock"] * 6))
        self.model.banned[guest.user] = self.model.now + BAN
        self.model.guests = {
            sid: other for sid, other in self.model.guests.items() if other.user != guest.user
        }

    @rule(seconds=st.sampled_from([0.5, 3.0, 6.0, 11.0, 61.0, 301.0]))
    def wait(self, seconds: float) -> None:
        """Graces, sign-in times, tokens and bans end."""
        self.run(self.club.clock.advance(seconds))
        self.model.advance(seconds)

    @invariant()
    def same_clients(self) -> None:
        """The same clients are there, on the same connections, in the same rooms."""
        club, model = self.club, self.model
        assert {client.sid for client in self.live()} == set(model.guests)
        assert len(club.sessions) == len(model.guests)
        for user in ("ann", "bob", "eve"):
            assert club.sessions.connections("shop", user, besides="") == len(model.connections(user))
        assert club.count("bridged_clients", namespace="/hall") == sum(
            guest.namespace == "/hall" for guest in model.guests.values()
        )
        for client in self.live():
            rooms = club.memberships.rooms_of(client.namespace, client)
            tables = {room.removeprefix("table:") for room in rooms if room.startswith("table:")}
            assert tables == model.guests[client.sid].tables
            assert bool(rooms) == (model.guests[client.sid].user is not None)

    @invariant()
    def same_presence(self) -> None:
        """As many users are in each room, and what was told about them adds up to the same ones."""
        for emission in self.club.fanout.sent:
            body = msgspec.json.decode(emission.args[0])
            told = self.told[body["table"]]
            (told.add if emission.event == "came" else told.discard)(body["user"])
        self.club.fanout.sent.clear()
        for table in TABLES:
            room = RoomRef(system="shop", room=f"table:{table}")
            assert self.club.rooms.view(room).users == len(self.model.at_table(table))
            assert self.told[table] == self.model.at_table(table)

    def teardown(self) -> None:
        """After everybody has left nothing is held."""
        for client in self.live():
            self.run(self.call(client.drop))
        self.run(self.club.clock.advance(61))
        assert self.club.left_over() == {}
        self.runner.close()

    def live(self) -> list[RecordingClient]:
        """The clients that have a session."""
        return [
            session.client for session in self.club.sessions if isinstance(session.client, RecordingClient)
        ]

    async def do(self, client: RecordingClient, *sent: object) -> None:
        """Send an event with its argument, or several events without."""
        if len(sent) == 2 and isinstance(sent[1], dict):
            client.send(str(sent[0]), sent[1])
            return
        for event in sent:
            client.send(str(event))

    async def call(self, work: Any) -> None:
        """Call something inside the loop."""
        work()


def test_the_flow_agrees_with_a_naive_model(club_rules: Rules) -> None:
    """Clients, connections, rooms, presence and what is told; and nothing is left over."""
    ComingAndGoing.compiled = club_rules
    run_state_machine_as_test(
        ComingAndGoing, settings=settings(max_examples=60, stateful_step_count=30, deadline=None)
    )
