"""The states of one AMQP connection and of its channels, without I/O: bytes in, events and bytes out.

Bytes that break the protocol end in WireError, never in another exception; then nothing more is sent
(4.2.3), and whoever holds the socket closes it.
"""

from typing import Final

from pamqp import commands
from pamqp.base import Frame
from pamqp.common import FieldTable

from bridge.amqp.address import Login
from bridge.amqp.events import (
    Blocked,
    ChannelClosed,
    Closed,
    Confirmed,
    ConsumerCancelled,
    Deliveries,
    Event,
    Method,
    Opened,
    Returned,
)
from bridge.amqp.frames import (
    CHANNEL_ERROR,
    GREETING,
    SYNTAX_ERROR,
    UNEXPECTED_FRAME,
    WireError,
    encode_method,
)
from bridge.amqp.parser import Parser

_FRAME_MAX: Final = 131_072
"""RabbitMQ's own default; larger frames gain nothing."""
_SMALLEST_FRAME_MAX: Final = 4096
_MOST_CHANNELS: Final = 2047
_NORMAL: Final = 200
_CAPABILITIES: Final = {
    "publisher_confirms": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "basic.nack": True,
    "authentication_failure_close": True,
}


class Wire:
    """One connection, from its greeting to its end."""

    def __init__(self, login: Login, title: str, heartbeat: int) -> None:
        """`title` names the connection on the broker; `heartbeat` in seconds is the longest wished for."""
        self._login = login
        self._title = title
        self._heartbeat = heartbeat
        self._parser = Parser(_FRAME_MAX)
        self._output: list[bytes] = [GREETING]
        self._awaited: tuple[type[Frame], ...] = (commands.Connection.Start,)
        self._opened = self._ended = False
        self._channels: dict[int, bool] = {}  # number -> whether it is being closed
        self._last_channel = 0
        self._channel_max = _MOST_CHANNELS

    @property
    def frame_max(self) -> int:
        """The longest frame that was agreed upon, in bytes."""
        return self._parser.frame_max

    def take_output(self) -> bytes:
        """The bytes that the states call for; to be sent before anything else."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    def receive(self, data: bytes) -> list[Event]:
        """What this chunk of bytes says, in order."""
        events: list[Event] = []
        for item in self._parser.receive(data):
            if self._ended:
                break
            if isinstance(item, Method):
                self._take_method(item, events)
            else:
                self._take_content(item, events)
        return events

    def open_channel(self) -> int:
        """Ask for a channel; its number. The answer is a `Method`. ValueError when there are too many."""
        number = self._last_channel
        for _ in range(self._channel_max):
            number = number % self._channel_max + 1
            if number not in self._channels:
                break
        else:
            raise ValueError("no channel is free")
        self._last_channel = number
        self._channels[number] = False
        self._send(commands.Channel.Open(), number)
        return number

    def close_channel(self, number: int) -> None:
        """Say that a channel is done with; `ChannelClosed` comes when the broker agrees."""
        if self._channels.get(number) is False:
            self._channels[number] = True
            self._send(commands.Channel.Close(_NORMAL, "", 0, 0), number)

    def close(self) -> None:
        """Say goodbye; `Closed` comes when the broker agrees."""
        self._send(commands.Connection.Close(_NORMAL, "", 0, 0), 0)
        self._awaited = (commands.Connection.CloseOk,)

    def _send(self, method: Frame, channel: int) -> None:
        self._output.append(encode_method(method, channel))

    def _take_content(self, item: Deliveries | Returned | Confirmed, events: list[Event]) -> None:
        closing = self._channels.get(item.channel)
        if closing is None:
            raise WireError(CHANNEL_ERROR, f"channel {item.channel} is not open")
        if not closing:
            events.append(item)

    def _take_method(self, item: Method, events: list[Event]) -> None:
        if item.channel:
            self._take_channel_method(item, events)
        elif isinstance(item.method, self._awaited):
            self._take_awaited(item.method, events)
        elif isinstance(item.method, commands.Connection.Close):
            self._send(commands.Connection.CloseOk(), 0)
            self._end(item.method.reply_code, item.method.reply_text, events)
        elif self._opened and isinstance(item.method, commands.Connection.Blocked):
            events.append(Blocked(True, item.method.reason))
        elif self._opened and isinstance(item.method, commands.Connection.Unblocked):
            events.append(Blocked(False))
        else:
            raise WireError(UNEXPECTED_FRAME, f"{item.method.name} out of turn")

    def _take_awaited(self, method: Frame, events: list[Event]) -> None:
        """Go one step on in the handshake (2.2.4), or to the end."""
        match method:
            case commands.Connection.Start():
                self._authenticate(method)
            case commands.Connection.Tune():
                self._tune(method)
            case commands.Connection.OpenOk():
                self._opened, self._awaited = True, ()
                events.append(Opened(self._heartbeat))
            case _:
                self._end(_NORMAL, "closed", events)

    def _authenticate(self, start: commands.Connection.Start) -> None:
        offered = str(start.mechanisms).split()
        if self._login.mechanism not in offered:
            raise WireError(SYNTAX_ERROR, f"the broker offers no {self._login.mechanism}, but {offered}")
        properties: FieldTable = {
            "connection_name": self._title,
            "product": "bridged",
            "capabilities": dict(_CAPABILITIES),
        }
        login = self._login
        self._send(commands.Connection.StartOk(properties, login.mechanism, login.response, "en_US"), 0)
        self._awaited = (commands.Connection.Tune,)

    def _tune(self, tune: commands.Connection.Tune) -> None:
        frame_max = min(tune.frame_max or _FRAME_MAX, _FRAME_MAX)
        if frame_max < _SMALLEST_FRAME_MAX:
            raise WireError(SYNTAX_ERROR, f"frame_max {frame_max}, less than {_SMALLEST_FRAME_MAX}")
        self._heartbeat = min(tune.heartbeat or self._heartbeat, self._heartbeat)
        self._parser.frame_max = frame_max
        self._channel_max = min(tune.channel_max or _MOST_CHANNELS, _MOST_CHANNELS)
        self._send(commands.Connection.TuneOk(self._channel_max, frame_max, self._heartbeat), 0)
        self._send(commands.Connection.Open(self._login.vhost), 0)
        self._awaited = (commands.Connection.OpenOk,)

    def _take_channel_method(self, item: Method, events: list[Event]) -> None:
        number, method = item.channel, item.method
        closing = self._channels.get(number)
        if closing is None:
            raise WireError(CHANNEL_ERROR, f"channel {number} is not open")
        if isinstance(method, commands.Channel.Close):
            self._send(commands.Channel.CloseOk(), number)
            if not closing:  # else both closed at once, and CloseOk comes too
                self._drop(number, method.reply_code, method.reply_text, events)
        elif isinstance(method, commands.Channel.CloseOk):
            if not closing:
                raise WireError(UNEXPECTED_FRAME, "Channel.CloseOk out of turn")
            self._drop(number, _NORMAL, "closed", events)
        elif closing:
            pass
        elif isinstance(method, commands.Basic.Cancel):
            if not method.nowait:
                self._send(commands.Basic.CancelOk(method.consumer_tag), number)
            events.append(ConsumerCancelled(number))
        elif isinstance(method, commands.Channel.Flow):
            self._send(commands.Channel.FlowOk(method.active), number)
        else:
            events.append(item)

    def _drop(self, number: int, code: int | None, text: str, events: list[Event]) -> None:
        del self._channels[number]
        self._parser.forget(number)
        events.append(ChannelClosed(number, code or 0, text))

    def _end(self, code: int | None, text: str, events: list[Event]) -> None:
        self._ended = True
        events.append(Closed(code or 0, text))
