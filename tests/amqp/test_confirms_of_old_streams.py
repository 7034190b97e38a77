"""What a RabbitMQ before 4.0 confirms of its streams, and what of it is believed: a model of both."""

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp import commands

from bridge.amqp.channel import Channel, LinkLostError
from bridge.amqp.confirms import ConfirmingChannel, to_properties
from bridge.amqp.events import Confirmed, Content
from bridge.model import PublishMessage, PublishOutcome
from tests.support.fake_broker import FakeCarrier

Step = tuple[str, int]
"""`publish`, `return` (what is published is returned) or `write` so many, or `change` the leader."""


class OldStream:
    """A channel of RabbitMQ 3.10.8 and its stream: rabbit_stream_queue and osiris_writer (1.3.1)."""

    def __init__(self) -> None:
        self.channel = Channel(FakeCarrier(), 1)
        self.confirming = ConfirmingChannel(self.channel)
        self.outcomes: dict[str, PublishOutcome] = {}
        self.written: set[str] = set()
        self.confirmed: set[str] = set()
        """What the broker has confirmed, true or not."""
        self._tag = 0
        self._next_number = 1
        self._unconfirmed: dict[int, tuple[int, str]] = {}
        """By the number in the stream: the number on the channel, and the message."""
        self._mailbox: list[tuple[int, str]] = []
        """Of the leader."""
        self._last_number = 0
        """Of the writer, as the leader has it."""

    def take(self, steps: Sequence[Step]) -> None:
        for step, count in steps:
            if step == "change":
                self._change_leader()
            elif step == "write":
                self._write(count)
            else:
                for _ in range(count):
                    self._publish(returned=step == "return")

    def _publish(self, *, returned: bool) -> None:
        self._tag += 1
        name = str(self._tag)
        message = PublishMessage(
            exchange="e", routing_key="a.b", body=b"x", message_id=name, type="t", timestamp=1.0
        )

        def done(outcome: PublishOutcome) -> None:
            self.outcomes[name] = outcome

        assert self.confirming.post(message, to_properties(message, persistent=True), done, 60.0)
        if returned:
            assert self.channel.on_returned is not None
            properties = commands.Basic.Properties(message_id=name).marshal()
            self.channel.on_returned(Content(0, "e", "a.b", properties, b"x"))
            self._confirm(self._tag)
            return
        self._unconfirmed[self._next_number] = (self._tag, name)
        self._mailbox.append((self._next_number, name))
        self._next_number += 1

    def _write(self, count: int) -> None:
        taken, self._mailbox = self._mailbox[:count], self._mailbox[count:]
        for number, name in taken:
            if number > self._last_number:  # else it passes for a duplicate
                self.written.add(name)
                self._last_number = number
        for number, _ in taken:
            if number in self._unconfirmed:
                tag, name = self._unconfirmed.pop(number)
                self.confirmed.add(name)
                self._confirm(tag)

    def _change_leader(self) -> None:
        """What the old leader had not written is gone; the channel sends it anew, by the wrong number."""
        self._mailbox = sorted(self._unconfirmed.values())

    def _confirm(self, tag: int) -> None:
        assert self.channel.on_confirmed is not None
        self.channel.on_confirmed(Confirmed(1, tag, multiple=False, positive=True))


async def play(steps: Sequence[Step]) -> OldStream:
    stream = OldStream()
    stream.take(steps)
    stream.channel.end(LinkLostError("gone"))
    return stream


async def test_the_broker_confirms_what_it_drops() -> None:
    """As many as were returned before; what was on its way it writes, and never confirms."""
    stream = await play(
        [("return", 5), ("publish", 2), ("change", 0), ("write", 2), ("publish", 7), ("write", 7)]
    )
    assert stream.written == {"6", "7", "13", "14"}
    assert stream.confirmed == {str(number) for number in range(8, 15)}
    unknown = PublishOutcome.UNKNOWN_OUTCOME
    assert {stream.outcomes[str(number)] for number in range(6, 15)} == {unknown}


async def test_nothing_is_unknown_where_the_numbers_agree() -> None:
    """A channel whose messages all go to one stream: what is sent anew is confirmed."""
    stream = await play(
        [("publish", 5), ("write", 3), ("change", 0), ("write", 2), ("publish", 3), ("write", 3)]
    )
    assert len(stream.written) == 8
    assert set(stream.outcomes.values()) == {PublishOutcome.CONFIRMED}


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["publish", "publish", "return", "write", "write", "change"]), st.integers(1, 8)
        ),
        min_size=20,  # it takes five steps in their order to be lied to
        max_size=40,
    )
)
def test_what_is_said_to_be_confirmed_was_written(steps: list[Step]) -> None:
    """However messages, returns, confirms and leaders follow one another; and each is told of once."""
    stream = asyncio.run(play(steps))
    said = {name for name, outcome in stream.outcomes.items() if outcome is PublishOutcome.CONFIRMED}
    assert said <= stream.written
    assert len(stream.outcomes) == sum(count for step, count in steps if step in ("publish", "return"))
