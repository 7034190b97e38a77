"""The official JavaScript client in a Node process, driven from a test as if it were a Python client."""

# ruff: noqa: ASYNC109  (a time limit is part of what a test asks for)

import asyncio
import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

_TESTS = Path(__file__).parent.parent
_LINE_LIMIT = 64 * 1024 * 1024


class JsConnectError(Exception):
    """`connect_error` of the JavaScript client: `err.message` and `err.data`."""

    def __init__(self, message: str, data: object = None) -> None:
        super().__init__(f"{message} {data}" if data is not None else message)
        self.message = message
        self.data = data


class JsClient:
    """One socket of the JavaScript client: what it received, in order, and what it can be told to do."""

    def __init__(self, process: "JsClients", number: int, namespace: str) -> None:
        self._process = process
        self._number = number
        self._closed = False
        self.namespace = namespace
        self.events: list[tuple[str, list[object]]] = []
        """Every event that arrived: its name and its arguments."""
        self.connects = 0
        """How often it has connected (more than once after a reconnect)."""
        self.connected = False
        self.sid: str | None = None
        self.recovered = False
        self.transport: str | None = None
        """`websocket` or `polling`."""
        self.disconnects: list[str] = []
        """The reasons of all disconnects, such as `transport close`."""
        self.errors: list[tuple[str, object]] = []
        """Message and data of every `connect_error`."""

    async def emit(self, event: str, *args: object) -> None:
        """Send an event; bytes among the arguments travel as attachments."""
        await self._process.command("emit", self._number, event=event, args=_pack(list(args)))

    async def call(self, event: str, *args: object, timeout: float = 5) -> object:
        """Send an event and return the ack's argument (a list of them if there are several)."""
        answer = await self._process.command(
            "call", self._number, event=event, args=_pack(list(args)), timeout=timeout * 1000
        )
        assert isinstance(answer, list)
        return answer[0] if len(answer) == 1 else answer

    async def wait_for(self, name: str, count: int = 1, timeout: float = 5) -> list[list[object]]:
        """Wait until `count` events of that name have arrived; returns the arguments of all of them."""
        await self.until(
            lambda: len(self.received(name)) >= count,
            timeout,
            lambda: f"{count} x {name}, the latest being {self.events[-5:]}",
        )
        return self.received(name)

    def received(self, name: str) -> list[list[object]]:
        """The arguments of every event of that name so far."""
        return [args for event, args in self.events if event == name]

    async def until(
        self,
        condition: Callable[[], bool],
        timeout: float = 5,
        wanted: Callable[[], str] = lambda: "a condition",
    ) -> None:
        """Wait until a condition holds; it is looked at whenever something happens to any client."""
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    await self._process.change()
        except TimeoutError:
            raise AssertionError(f"waited {timeout:g} s in vain for {wanted()}") from None

    async def wait_disconnected(self, timeout: float = 5) -> str:
        """Wait until it is disconnected; returns the latest reason."""
        await self.until(
            lambda: not self.connected and bool(self.disconnects), timeout, lambda: "a disconnect"
        )
        return self.disconnects[-1]

    async def wait_connected(self, times: int = 1, timeout: float = 10, refused: int | None = None) -> None:
        """Wait until it has connected that often and stands; raises JsConnectError when it is refused.

        `refused` refusals are known already: by default all that have arrived so far.
        """
        refused = len(self.errors) if refused is None else refused
        await self.until(
            lambda: (self.connected and self.connects >= times) or len(self.errors) > refused,
            timeout,
            lambda: f"connection {times}",
        )
        if len(self.errors) > refused:
            raise JsConnectError(*self.errors[-1])

    async def disconnect(self) -> None:
        """`socket.disconnect()`: leaves the namespace."""
        await self._process.command("disconnect", self._number)

    async def reconnect(self, auth: dict[str, object] | None = None) -> None:
        """`socket.connect()`, with other credentials where they are given."""
        await self._process.command("reconnect", self._number, auth=_pack(auth))

    async def close(self) -> None:
        """Leave for good; idempotent."""
        if not self._closed:
            self._closed = True
            await self._process.command("close", self._number)

    async def session(self) -> tuple[str | None, str | None]:
        """The pid and the cursor with which it would recover (`_pid` and `_lastOffset`)."""
        answer = await self._process.command("session", self._number)
        assert isinstance(answer, list)
        return answer[0], answer[1]

    async def drop(self) -> None:
        """Close the connection, on any transport, as the documentation's own test of recovery does.

        The client then reconnects.
        """
        await self._process.command("drop", self._number)

    async def kill(self) -> None:
        """Cut the TCP connection of a websocket, as a lost network does; the client then reconnects."""
        await self._process.command("kill", self._number)

    async def freeze(self) -> None:
        """Stop reading from the websocket's TCP connection."""
        await self._process.command("freeze", self._number)

    async def thaw(self) -> None:
        """Read again."""
        await self._process.command("thaw", self._number)

    def happened(self, on: str, args: list[object]) -> None:
        """Take note of what Node reports."""
        match on:
            case "event":
                self.events.append((str(args[0]), args[1:]))
            case "connect":
                self.connected = True
                self.connects += 1
                self.sid, self.recovered, self.transport = str(args[0]), bool(args[1]), str(args[2])
            case "transport":
                self.transport = str(args[0])
            case "disconnect":
                self.connected = False
                self.disconnects.append(str(args[0]))
            case "connect_error":
                self.errors.append((str(args[0]), args[1]))


class JsClients:
    """One Node process with any number of clients: `async with JsClients() as js: await js.connect(url)`."""

    def __init__(self) -> None:
        self._clients: dict[int, JsClient] = {}
        self._answers: dict[int, asyncio.Future[object]] = {}
        self._calls = 0
        self._changed = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "JsClients":
        node = shutil.which("node")
        if node is None:
            raise RuntimeError("node is not installed: the tests need it for the official Socket.IO client")
        if not (_TESTS / "node_modules" / "socket.io-client").is_dir():
            raise RuntimeError(f"socket.io-client is not installed: run `npm ci` in {_TESTS.name}/")
        self._process = await asyncio.create_subprocess_exec(
            node,
            str(_TESTS / "support" / "js_client.mjs"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
        )
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._reader is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await self._process.wait()
                await self._reader
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def connect(
        self,
        url: str,
        *,
        path: str = "/socket.io",
        auth: dict[str, object] | None = None,
        transports: list[str] | None = None,
        shares: JsClient | None = None,
        wait: bool = True,
        timeout: float = 10,
        **options: object,
    ) -> JsClient:
        """Connect to `http://host:port/namespace`; further options are those of socket.io-client.

        `shares` joins another client's connection (one Engine.IO connection, several namespaces). A refusal
        raises JsConnectError and closes the client; `wait=False` returns at once.
        """
        parts = urlsplit(url)
        namespace = parts.path or "/"
        number = len(self._clients)
        client = self._clients[number] = JsClient(self, number, namespace)
        chosen = {"path": path, "auth": auth or {}, **options}
        if transports is not None:
            chosen["transports"] = transports
        await self.command(
            "connect",
            number,
            url=f"{parts.scheme}://{parts.netloc}",
            namespace=namespace,
            options=_pack(chosen),
            shares=None if shares is None else shares._number,
        )
        if wait:
            try:
                await client.wait_connected(timeout=timeout, refused=0)
            except JsConnectError:
                await client.close()
                raise
        return client

    async def close_all(self) -> None:
        """Let all clients leave for good, so that the process may serve the next test."""
        for client in self._clients.values():
            await client.close()

    async def command(self, do: str, client: int, **fields: object) -> object:
        """Have Node carry out one command and return its answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._calls += 1
        call = self._calls
        answer = self._answers[call] = asyncio.get_running_loop().create_future()
        line = json.dumps({"call": call, "client": client, "do": do, **fields})
        self._process.stdin.write(line.encode() + b"\n")
        await self._process.stdin.drain()
        return await answer

    async def change(self) -> None:
        """Return when something has happened to any client."""
        self._changed.clear()
        await self._changed.wait()

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            message = json.loads(line)
            if "call" in message:
                answer = self._answers.pop(message["call"])
                if answer.done():
                    continue
                if "error" in message:
                    answer.set_exception(RuntimeError(message["error"]))
                else:
                    answer.set_result(_unpack(message["ok"]))
            else:
                args = _unpack(message["args"])
                assert isinstance(args, list)
                self._clients[message["client"]].happened(message["on"], args)
                self._changed.set()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(RuntimeError("the Node process ended"))


def _pack(value: object) -> object:
    match value:
        case bytes():
            return {"$binary": base64.b64encode(value).decode()}
        case list() | tuple():
            return [_pack(inner) for inner in value]
        case dict():
            return {key: _pack(inner) for key, inner in value.items()}
        case _:
            return value


def _unpack(value: object) -> object:
    match value:
        case {"$binary": str(text)}:
            return base64.b64decode(text)
        case list():
            return [_unpack(inner) for inner in value]
        case dict():
            return {key: _unpack(inner) for key, inner in value.items()}
        case _:
            return value
