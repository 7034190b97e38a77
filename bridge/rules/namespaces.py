"""Owns `NamespaceRules`: who may connect to a namespace, its rooms, commands, limits and answers."""

from collections.abc import Mapping

from msgspec import Struct

from bridge.config.model import Late, NamespaceLimits
from bridge.errors import Code
from bridge.rules.access import Access
from bridge.rules.commands import CommandRule
from bridge.rules.emits import EmitTemplate
from bridge.rules.names import NamespacePattern, RoomIndex
from bridge.rules.templates import RoomTemplates


class AuthRules(Struct, frozen=True, kw_only=True):
    """How clients show who they are, and what they are answered."""

    required: bool
    late: Late | None
    """None: only the handshake may carry the token."""
    authenticated: EmitTemplate
    """Reads the new principal's claims as `{user...}`."""
    failed: EmitTemplate
    """Reads the fault as `{error...}`."""
    expired: EmitTemplate
    """Reads the fault as `{error...}` and the old claims as `{user...}`."""


class ErrorRules(Struct, frozen=True, kw_only=True):
    """How refusals look: an event for each code."""

    always: bool
    """Send the event also when the client asked for an ack."""
    events: Mapping[Code, EmitTemplate]
    other: EmitTemplate
    """For a code without an event of its own."""

    def find(self, code: Code) -> EmitTemplate:
        """The event that tells a client of this code."""
        return self.events.get(code, self.other)


class OnConnectRules(Struct, frozen=True, kw_only=True):
    """What happens to a client once it is authenticated."""

    join: RoomTemplates | None
    emit: EmitTemplate | None


class PresenceRules(Struct, frozen=True, kw_only=True):
    """What the others of a room receive when a user's first client comes and its last one goes."""

    joined: EmitTemplate | None
    left: EmitTemplate | None
    grace: float
    """Seconds for which a client whose connection broke still counts as there."""


class RoomRule(Struct, frozen=True, kw_only=True):
    """A room that clients may join: who, and what the others learn of it."""

    pattern: str
    allow: Access
    presence: PresenceRules | None


class NamespaceRules(Struct, frozen=True, kw_only=True):
    """All rules of one namespace pattern."""

    pattern: str
    """As the YAML writes it, such as `/project/{project}`; the label of its metrics."""
    system: str
    """The system whose limits, presence and last values its clients share."""
    name: NamespacePattern
    auth: AuthRules
    allow: Access
    """Who may connect; asked with the words of the namespace."""
    limits: NamespaceLimits
    errors: ErrorRules
    on_connect: OnConnectRules
    rooms: RoomIndex[RoomRule]
    commands: Mapping[str, CommandRule]

    def find_room(self, room: str, words: Mapping[str, str]) -> tuple[RoomRule, Mapping[str, str]] | None:
        """The rule of a rendered room name and the words it captures, those of the namespace among them.

        None when no entry of `rooms` covers it, or when a word that the namespace has too differs.
        """
        raise NotImplementedError
