"""`bridged listen`: a client in the terminal: each event one line, and commands with their answers."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
import socketio  # type: ignore[import-untyped]  # it ships no types
from cyclopts import Parameter, Token

from bridge.cli.exits import CliError, Exit
from bridge.cli.terminal import Terminal, escape

_ACK_TIMEOUT: Final = 15.0
_TOKEN_HINT: Final = "`bridged token` makes one for --token"  # noqa: S105  no secret
_HINTS: Final = {
    "UNKNOWN_NAMESPACE": "`bridged check` lists the namespaces of the daemon's configuration",
    "FORBIDDEN": "`bridged token` makes a token of other claims, such as --projects or --permissions",
    "NOT_AUTHENTICATED": _TOKEN_HINT,
    "INVALID_TOKEN": f"{_TOKEN_HINT}, if JWT_SECRET is the daemon's",
}
"""What to do about a refusal, by its code; about any other the server's words say enough."""


def _pair(_kind: object, tokens: Sequence[Token]) -> list[tuple[str, str]]:
    """Take the words after `--emit` two by two, as they are: JSON is parsed here, not by the command line."""
    words = [token.value for token in tokens]
    return list(zip(words[::2], words[1::2], strict=True))


_Commands = Annotated[
    list[tuple[str, str]] | None,
    Parameter(
        negative=(),
        converter=_pair,
        n_tokens=2,
        metavar="EVENT JSON",
        json_list=False,
        allow_leading_hyphen=True,
    ),
]


def listen(
    url: str,
    *,
    token: str | None = None,
    emit: _Commands = None,
    count: int | None = None,
    path: str = "/socket.io",
) -> int:
    """Connect as a browser would, and print what arrives until Ctrl-C.

    Parameters
    ----------
    url
        Server and namespace, such as `http://localhost:8000/project/apollo`.
    token
        Sent with the connection, as `auth: {token}`; `bridged token` makes one.
    emit
        A command to send, an event and its JSON: `--emit send_message '{"content": "hi"}'`; may be repeated.
    count
        End after so many events.
    path
        The path of Socket.IO on the server.
    """
    server, namespace = parse_address(url)
    commands = [(event, _parse_json(event, text)) for event, text in emit or []]
    listener = Listener(Terminal(sys.stdout), namespace, count)
    return asyncio.run(listener.run(server, path, token, commands))


def parse_address(url: str) -> tuple[str, str]:
    """Take the server's address and the namespace apart: the URL's path is the namespace."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in {"http", "https", "ws", "wss"} or not parts.hostname:
        hint = "write http://localhost:8000/project/apollo"
        raise CliError(Exit.USAGE, f'"{url}" is no address of a server', hint)
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{parts.netloc}{query}", parts.path.rstrip("/") or "/"


class Listener:
    """One client, what it prints, and why it ends."""

    def __init__(self, terminal: Terminal, namespace: str, count: int | None) -> None:
        self._terminal = terminal
        self._namespace = namespace
        self._left = count
        self._done = asyncio.Event()
        self._refusal: object = None
        self._code = Exit.OK
        self._broken_pipe: BrokenPipeError | None = None
        self._client = socketio.AsyncClient(logger=False, engineio_logger=False, handle_sigint=False)
        self._client.on("*", self._on_event, namespace=namespace)
        self._client.on("connect", self._on_connect, namespace=namespace)
        self._client.on("connect_error", self._on_refused, namespace=namespace)
        self._client.on("disconnect", self._on_disconnect, namespace=namespace)

    async def run(
        self, server: str, path: str, token: str | None, commands: list[tuple[str, object]]
    ) -> Exit:
        """Connect, send the commands in order, then wait for the end."""
        try:
            auth = None if token is None else {"token": token}
            await self._client.connect(server, namespaces=[self._namespace], auth=auth, socketio_path=path)
        except socketio.exceptions.ConnectionError as error:
            raise self._explain(server, error) from error
        try:
            for event, argument in commands:
                _end_if_cancelled()
                await self._send(event, argument)
            _end_if_cancelled()
            await self._done.wait()
        finally:
            await self._client.disconnect()
        if self._broken_pipe is not None:
            raise self._broken_pipe
        if self._code is Exit.REFUSED and token is None:
            message = f"{self._namespace}: the server ended the connection, which had no token"
            raise CliError(Exit.REFUSED, message, _TOKEN_HINT)
        return self._code

    async def _send(self, event: str, argument: object) -> None:
        try:
            answer = await self._client.call(event, argument, namespace=self._namespace, timeout=_ACK_TIMEOUT)
        except socketio.exceptions.TimeoutError:
            self._print(f"no answer to {event}", f"within {_ACK_TIMEOUT:g} s")
        except (socketio.exceptions.DisconnectedError, socketio.exceptions.BadNamespaceError):
            self._print(f"no answer to {event}", "the server ended the connection")
        else:
            self._print(f"ack of {event}", _show(answer))

    async def _on_connect(self) -> None:
        self._refusal = None
        self._print("connected", self._namespace)

    async def _on_event(self, event: str, *arguments: object) -> None:
        self._print(event, " ".join(_show(argument) for argument in arguments))
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self._done.set()

    async def _on_refused(self, data: object = None) -> None:
        self._refusal = data
        if self._client.connected and isinstance(data, dict):
            self._print("refused", _show(data))
            self._end(Exit.REFUSED)

    async def _on_disconnect(self, reason: str = "") -> None:
        if reason != self._client.reason.CLIENT_DISCONNECT:
            self._print("disconnected", reason)
        if reason == self._client.reason.SERVER_DISCONNECT:
            self._end(Exit.REFUSED)

    def _end(self, code: Exit) -> None:
        self._code = code
        self._done.set()

    def _explain(self, server: str, error: Exception) -> CliError:
        if isinstance(self._refusal, dict) and "message" in self._refusal:
            data = self._refusal.get("data")
            code = str(data.get("code", "")) if isinstance(data, dict) else ""
            message = f"{self._namespace} is refused: {self._refusal['message']}{code and f' ({code})'}"
            return CliError(Exit.REFUSED, message, _HINTS.get(code, ""))
        return CliError(Exit.UNREACHABLE, f"{server} cannot be reached: {error}", "is the daemon running?")

    def _print(self, name: str, text: str) -> None:
        time = datetime.now().astimezone().strftime("%H:%M:%S.%f")[:-3]
        terminal = self._terminal
        try:
            terminal.print(f"{terminal.dim(time)}  {terminal.bold(escape(name))}  {escape(text)}".rstrip())
        except BrokenPipeError as error:
            # Raised here, in a task of the client's, it would end as a traceback there.
            self._broken_pipe = error
            self._done.set()


def _end_if_cancelled() -> None:
    """Ctrl-C just as an answer comes: `wait_for` of Python 3.11, which the client uses, passes over it."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _parse_json(event: str, text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except ValueError as error:
        hint = 'quote it for the shell: --emit send_message \'{"content": "hi"}\''
        raise CliError(Exit.USAGE, f"--emit {event}: {error}", hint) from error


def _show(argument: object) -> str:
    if isinstance(argument, bytes):
        return f"<{len(argument)} bytes>"
    return msgspec.json.encode(argument, enc_hook=_show_inner).decode()


def _show_inner(value: object) -> object:
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else str(value)
