"""What the flow knows of each client, its session; and the register of all sessions of this instance."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Container, Iterator, Mapping

from msgspec import Struct

from bridge.flow.ports import Client
from bridge.model import Command, Principal
from bridge.rules.limits import RateWindow
from bridge.rules.namespaces import NamespaceRules
from bridge.state.lost_sessions import LostSession
from bridge.state.progress import Behind, Progress


class Pending(Struct, frozen=True):
    """A command that waits for its turn, with the ack id that its answer needs."""

    command: Command
    ack_id: int | None
    size: int
    """Bytes of its arguments."""


class Lane:
    """What a connection shares over all namespaces of the same limits: its number of sessions, and rates."""

    __slots__ = ("commands", "rate", "replays_due", "sessions", "timer")

    def __init__(self, rate: RateWindow) -> None:
        self.rate = rate
        self.commands: dict[tuple[str, str], RateWindow] = {}
        """Of the commands that have a limit of their own, by namespace pattern and event."""
        self.replays_due = 0.0
        """Loop time at which all that it was replayed would have been sent at the rate of the long run."""
        self.sessions = 0
        self.timer: asyncio.TimerHandle | None = None
        """Of its own end, while it has no session."""

    @property
    def memory(self) -> float:
        """Seconds after which nothing of it counts any more."""
        replays = self.replays_due - asyncio.get_running_loop().time()
        return max(replays, *(window.memory for window in (self.rate, *self.commands.values())))


class Entry(Struct, frozen=True, kw_only=True):
    """How a client enters a namespace that it has been in before, or of which it missed something."""

    behind: Behind
    lost: LostSession | None = None
    """The session that goes on; None when a new one begins with what was missed."""
    heard: bool = False
    """Whether its client has received anything in the session that goes on."""

    def has_values(self, room: str) -> bool:
        """Whether the client has what is retained of a room from before that.

        It does when it was in the room in this session, and has received something since it joined it: the
        values came before that. A cursor that it only names does not say in which rooms it was.
        """
        mark = None if self.lost is None else self.lost.rooms.get(room)
        return mark is not None and self.heard and mark <= self.behind.base.offset


class Session:
    """One client, from the moment it connects to the namespace until it has left."""

    __slots__ = (
        "behind_gap",
        "catching_up",
        "client",
        "closed",
        "due",
        "entry",
        "failed_sign_ins",
        "inbox",
        "inbox_bytes",
        "key",
        "lane",
        "namespace",
        "principal",
        "progress",
        "remote",
        "timer",
        "words",
        "working",
    )

    def __init__(
        self, client: Client, namespace: NamespaceRules, words: Mapping[str, str], remote: str, lane: Lane
    ) -> None:
        self.client = client
        self.namespace = namespace
        self.words = words
        self.remote = remote
        self.lane = lane
        self.principal: Principal | None = None
        """None until the client has signed in."""
        self.inbox: list[Pending] = []
        """Commands in the order of their arrival; before sign-in they are held here.

        A list, since a deque takes 760 bytes when it is empty, of 7,000 that an idle connection takes.
        """
        self.inbox_bytes = 0
        self.working = False
        """A task is working through the inbox."""
        self.catching_up = False
        """It receives what it missed; its commands wait."""
        self.behind_gap = False
        """The log has lost what it should have got: it is about to be sent away, and told by that."""
        self.key: str | None = None
        """By which it is found when its client comes back; None when it cannot."""
        self.entry: Entry | None = None
        """None for one that begins with nothing but what is to come."""
        self.due: tuple[str, ...] = ()
        """Rooms that the client joined by itself when it signed in."""
        self.progress: Progress | None = None
        """What its cursors mean, if it gets any; None until it has signed in."""
        self.failed_sign_ins = 0
        self.timer: asyncio.Handle | None = None
        """Of the sign-in's deadline, then of the token's expiry."""
        self.closed = False

    @property
    def system(self) -> str:
        """The system that the namespace belongs to."""
        return self.namespace.system

    def stop_timer(self) -> None:
        """Forget the deadline that is running."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def push(self, pending: Pending) -> None:
        """Put a command at the end of the inbox; the caller has checked its bounds."""
        self.inbox.append(pending)
        self.inbox_bytes += pending.size

    def pop(self) -> Pending:
        """Take the oldest command of the inbox."""
        pending = self.inbox.pop(0)
        self.inbox_bytes -= pending.size
        return pending

    def discard_inbox(self) -> list[Pending]:
        """Empty the inbox; the commands that will not be carried out."""
        dropped, self.inbox = self.inbox, []
        self.inbox_bytes = 0
        return dropped


class Sessions:
    """All sessions of this instance: by client, by connection and limits, by user and limits."""

    def __init__(self) -> None:
        self._by_client: dict[Client, Session] = {}
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._connections: dict[tuple[str, str], Counter[str]] = {}

    def __len__(self) -> int:
        return len(self._by_client)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._by_client.values())

    def waiting_commands(self) -> int:
        """Commands in all inboxes."""
        return sum(len(session.inbox) for session in self)

    def get(self, client: Client) -> Session | None:
        """The session of this client, if it has one."""
        return self._by_client.get(client)

    def open(
        self, client: Client, namespace: NamespaceRules, words: Mapping[str, str], remote: str
    ) -> Session:
        """Begin a session; all sessions of one connection under the same limits share a lane."""
        key = (client.connection_id, namespace.limits_name)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(RateWindow(tuple(namespace.limits.rate)))
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        lane.sessions += 1
        session = self._by_client[client] = Session(client, namespace, words, remote, lane)
        return session

    def close(self, session: Session, *, transport_lost: bool) -> None:
        """End a session, with its share of the user's connections."""
        session.closed = True
        session.stop_timer()
        del self._by_client[session.client]
        if session.principal is not None:
            self._release(session, session.principal.identity)
        lane, key = session.lane, (session.client.connection_id, session.namespace.limits_name)
        lane.sessions -= 1
        if lane.sessions:
            return
        if transport_lost:
            del self._lanes[key]
            return
        # Whoever leaves a namespace and comes back on the same connection has not slowed down by it.
        lane.timer = asyncio.get_running_loop().call_later(lane.memory, self._lanes.pop, key, None)

    def connections(self, limits_name: str, identity: str, *, besides: Container[str]) -> int:
        """How many connections the user has under these limits, not counting those named."""
        counted = self._connections.get((limits_name, identity))
        if counted is None:
            return 0
        return sum(connection not in besides for connection in counted)

    def sign_in(self, session: Session, principal: Principal) -> None:
        """The client is this principal from now on; a renewal keeps its user."""
        if session.principal is None:
            key = (session.namespace.limits_name, principal.identity)
            counted = self._connections.setdefault(key, Counter())
            counted[session.client.connection_id] += 1
        session.principal = principal

    def of_user(self, limits_name: str, identity: str) -> list[Session]:
        """The sessions of one user under these limits."""
        return [
            session
            for session in self._by_client.values()
            if session.namespace.limits_name == limits_name
            and session.principal is not None
            and session.principal.identity == identity
        ]

    def _release(self, session: Session, identity: str) -> None:
        key = (session.namespace.limits_name, identity)
        counted = self._connections[key]
        counted[session.client.connection_id] -= 1
        if counted[session.client.connection_id] == 0:
            del counted[session.client.connection_id]
        if not counted:
            del self._connections[key]
