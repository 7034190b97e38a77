"""Confirms and returns reach the messages that they are about."""

import pytest
from pamqp import commands
from structlog.testing import capture_logs

from bridge.amqp.channel import Channel, ChannelClosedError, LinkLostError
from bridge.amqp.confirms import ConfirmingChannel, Sent, to_properties
from bridge.amqp.events import Confirmed, Content
from bridge.amqp.frames import WireError
from bridge.model import PublishMessage, PublishOutcome
from tests.support.amqp import until
from tests.support.fake_broker import FakeCarrier


class Conversation:
    """A confirming channel, and the broker's side of it."""

    def __init__(self) -> None:
        self.carrier = FakeCarrier()
        self.channel = Channel(self.carrier, 1)
        self.confirming = ConfirmingChannel(self.channel)

    def send(self, message_id: str = "m", key: str = "a.b", exchange: str = "e") -> Sent:
        message = PublishMessage(
            exchange=exchange, routing_key=key, body=b"x", message_id=message_id, type="t", timestamp=1.0
        )
        return self.confirming.send(message, to_properties(message, persistent=True))

    def confirm(self, tag: int, *, multiple: bool = False, positive: bool = True) -> None:
        assert self.channel.on_confirmed is not None
        self.channel.on_confirmed(Confirmed(1, tag, multiple, positive))

    def give_back(self, message_id: str = "m", key: str = "a.b", exchange: str = "e") -> None:
        assert self.channel.on_returned is not None
        properties = commands.Basic.Properties(message_id=message_id).marshal()
        self.channel.on_returned(Content(0, exchange, key, properties, b"x"))


def outcomes(*messages: Sent) -> list[PublishOutcome | None]:
    return [sent.outcome.result() if sent.outcome.done() else None for sent in messages]


@pytest.fixture
async def conversation() -> Conversation:
    return Conversation()


async def test_one_and_many(conversation: Conversation) -> None:
    """A confirm is about one message, or about all up to it."""
    first, second, third, fourth = (conversation.send() for _ in range(4))
    conversation.confirm(1)
    assert outcomes(first, second) == [PublishOutcome.CONFIRMED, None]
    conversation.confirm(3, multiple=True)
    assert outcomes(second, third, fourth) == [PublishOutcome.CONFIRMED] * 2 + [None]
    conversation.confirm(0, multiple=True)
    assert outcomes(fourth) == [PublishOutcome.CONFIRMED]


async def test_a_confirm_waits_for_those_before_it(conversation: Conversation) -> None:
    """Until they are answered it may not be true; what is no confirm is told at once."""
    first, second, third, fourth, fifth = (conversation.send(str(number)) for number in range(5))
    conversation.confirm(2)
    conversation.give_back("2")
    conversation.confirm(3)
    conversation.confirm(4, positive=False)
    conversation.confirm(5)
    unroutable, rejected = PublishOutcome.UNROUTABLE, PublishOutcome.REJECTED
    assert outcomes(first, second, third, fourth, fifth) == [None, None, unroutable, rejected, None]
    conversation.confirm(1)
    assert outcomes(first, second, fifth) == [PublishOutcome.CONFIRMED] * 3


async def test_nobody_waits_for_what_is_forgotten(conversation: Conversation) -> None:
    """Confirms that waited for it are told then."""
    first, second = conversation.send(), conversation.send()
    conversation.confirm(2)
    conversation.confirming.forget(first)
    assert outcomes(first, second) == [None, PublishOutcome.CONFIRMED]


async def test_refused(conversation: Conversation) -> None:
    """basic.nack, for many."""
    messages = [conversation.send() for _ in range(3)]
    conversation.confirm(2, multiple=True, positive=False)
    assert outcomes(*messages) == [PublishOutcome.REJECTED] * 2 + [None]


async def test_returns_find_their_messages(conversation: Conversation) -> None:
    """By exchange, key and id; of equal ones the oldest that was not returned yet."""
    routed = conversation.send("1")
    lost = conversation.send("2")
    twice = [conversation.send("3"), conversation.send("3")]
    other_key = conversation.send("3", key="a.c")
    for message_id in ("2", "3", "3"):
        conversation.give_back(message_id)
    conversation.confirm(5, multiple=True)
    assert outcomes(routed, lost) == [PublishOutcome.CONFIRMED, PublishOutcome.UNROUTABLE]
    assert outcomes(*twice, other_key) == [PublishOutcome.UNROUTABLE] * 2 + [PublishOutcome.CONFIRMED]


async def test_return_of_what_nobody_waits_for(conversation: Conversation) -> None:
    """A message that was given up is no harm to the next."""
    conversation.confirming.forget(conversation.send("1"))
    later = conversation.send("2")
    conversation.give_back("1")
    conversation.confirm(1)
    conversation.confirm(2)
    assert outcomes(later) == [PublishOutcome.CONFIRMED]


async def test_confirm_of_what_was_not_sent(conversation: Conversation) -> None:
    """Breaks the protocol."""
    conversation.send()
    with pytest.raises(WireError):
        conversation.confirm(2)


async def test_missing_exchange(conversation: Conversation) -> None:
    """It costs the channel: what went elsewhere may or may not have arrived."""
    elsewhere, here = conversation.send(exchange="e"), conversation.send(exchange="gone")
    conversation.channel.end(ChannelClosedError(404, "NOT_FOUND - no exchange 'gone' in vhost '/'"))
    assert outcomes(elsewhere, here) == [PublishOutcome.UNKNOWN_OUTCOME, PublishOutcome.UNROUTABLE]


async def test_lost_connection(conversation: Conversation) -> None:
    """What was sent is unknown; what is sent afterwards was not."""
    before = conversation.send()
    conversation.channel.end(LinkLostError("gone"))
    written = len(conversation.carrier.written)
    after = conversation.send()
    assert outcomes(before, after) == [PublishOutcome.UNKNOWN_OUTCOME, PublishOutcome.BROKER_UNAVAILABLE]
    assert len(conversation.carrier.written) == written


@pytest.mark.parametrize("changes", [{"key": "ü" * 128}, {"exchange": "x" * 256}, {"message_id": "m" * 256}])
async def test_what_amqp_cannot_carry(conversation: Conversation, changes: dict[str, str]) -> None:
    """Nothing of it is sent, and the numbering of confirms stays right."""
    with pytest.raises(ValueError, match="256 bytes"):
        conversation.send(**changes)
    assert conversation.carrier.written == []
    sent = conversation.send()
    conversation.confirm(1)
    assert outcomes(sent) == [PublishOutcome.CONFIRMED]


class Told:
    """Whoever posts messages, and is told what became of them."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.outcomes: dict[str, PublishOutcome] = {}

    def post(self, message_id: str, *, seconds: float = 60.0) -> bool:
        message = PublishMessage(
            exchange="e", routing_key="a.b", body=b"x", message_id=message_id, type="t", timestamp=1.0
        )

        def done(outcome: PublishOutcome) -> None:
            assert message_id not in self.outcomes
            self.outcomes[message_id] = outcome

        properties = to_properties(message, persistent=True)
        return self.conversation.confirming.post(message, properties, done, seconds)


async def test_whoever_posts_is_told(conversation: Conversation) -> None:
    """What is true of each, as for those who wait, and in one numbering with them."""
    told = Told(conversation)
    assert told.post("1")
    waited_for = conversation.send("2")
    assert told.post("3")
    assert told.post("4")
    assert told.outcomes == {}
    conversation.give_back("3")
    conversation.confirm(3, multiple=True)
    conversation.confirm(4, positive=False)
    assert outcomes(waited_for) == [PublishOutcome.CONFIRMED]
    assert told.outcomes == {
        "1": PublishOutcome.CONFIRMED,
        "3": PublishOutcome.UNROUTABLE,
        "4": PublishOutcome.REJECTED,
    }


async def test_one_that_fails_to_hear_costs_no_other(conversation: Conversation) -> None:
    """Of a confirm of many, of the end of the channel, and of the time that is over."""

    class Deaf(dict[str, PublishOutcome]):
        def __setitem__(self, message_id: str, outcome: PublishOutcome) -> None:
            raise ValueError("a fault of the bridge's own")

    told, deaf = Told(conversation), Told(conversation)
    deaf.outcomes = Deaf()
    with capture_logs() as logs:
        for number in range(0, 6, 2):
            deaf.post("deaf", seconds=0.01)
            told.post(str(number), seconds=0.01)
        conversation.confirm(2, multiple=True)
        conversation.confirm(3)
        conversation.confirm(4)
        await until(lambda: len(told.outcomes) == 3)
        deaf.conversation = told.conversation = Conversation()
        deaf.post("deaf")
        told.post("last")
        told.conversation.channel.end(LinkLostError("gone"))
    confirmed, unknown = PublishOutcome.CONFIRMED, PublishOutcome.UNKNOWN_OUTCOME
    assert told.outcomes == {"0": confirmed, "2": confirmed, "4": unknown, "last": unknown}
    events = [entry["event"] for entry in logs]
    assert events == ["confirm.failed"] * 2 + ["confirm.missing"] + ["confirm.failed"] * 2


async def test_what_was_posted_and_is_never_confirmed(conversation: Conversation) -> None:
    """The channel is given up in time, with all on it; a confirm that comes later is no harm."""
    told = Told(conversation)
    for number in range(3):
        told.post(str(number), seconds=0.01)
    waited_for = conversation.send("waited for")
    conversation.confirm(1)
    conversation.confirm(3)
    await until(lambda: len(told.outcomes) == 3)
    unknown = PublishOutcome.UNKNOWN_OUTCOME
    assert told.outcomes == {"0": PublishOutcome.CONFIRMED, "1": unknown, "2": unknown}
    assert outcomes(waited_for) == [unknown]
    assert str(conversation.confirming.over.result()) == "a confirm did not come in time"
    conversation.confirm(4, multiple=True)
    assert not told.post("later", seconds=0.01)
    assert outcomes(conversation.send("later")) == [PublishOutcome.BROKER_UNAVAILABLE]
    assert not conversation.channel.ended.done()


async def test_posting_on_a_channel_that_ends(conversation: Conversation) -> None:
    """What was sent is unknown, once; what is posted afterwards was not sent."""
    told = Told(conversation)
    assert told.post("before")
    conversation.channel.end(LinkLostError("gone"))
    assert not told.post("after")
    assert told.outcomes == {"before": PublishOutcome.UNKNOWN_OUTCOME}
