"""What workers ask one another, so that each can answer for all: one word, and an answer up to its end."""

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from bridge.web.worker import Worker

_WORD: Final = "ask"
_SECONDS: Final = 2.0
"""How long all of them may take to answer."""
_MAX_WORD: Final = 64
_MAX_ANSWER: Final = 64 * 1024 * 1024


class Siblings:
    """Answers the other workers, and asks them."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self._answers: dict[str, Callable[[], bytes]] = {}
        self._server: asyncio.Server | None = None

    def answer(self, word: str, make: Callable[[], bytes]) -> None:
        """Answer that word with what `make` returns."""
        self._answers[word] = make

    async def open(self) -> None:
        """Answer from now on."""
        path = self.worker.socket_path(_WORD)
        with suppress(FileNotFoundError):
            os.unlink(path)  # of the process that had this number before
        self._server = await asyncio.start_unix_server(self._serve, path)

    async def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.close()

    async def ask(self, word: str) -> Mapping[int, bytes | None]:
        """The answers of all workers by number, this one's among them; None where one does not answer."""
        others = self.worker.others
        answers = await asyncio.gather(*(self._ask(number, word) for number in others))
        found: dict[int, bytes | None] = dict(zip(others, answers, strict=True))
        found[self.worker.number] = self._answers[word]()
        return dict(sorted(found.items()))

    async def _ask(self, number: int, word: str) -> bytes | None:
        try:
            async with asyncio.timeout(_SECONDS):
                reader, writer = await asyncio.open_unix_connection(
                    self.worker.socket_path(_WORD, number), limit=_MAX_ANSWER
                )
                try:
                    writer.write(f"{word}\n".encode())
                    return await reader.read() or None
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                word = (await reader.readline()).decode().strip()
                make = self._answers.get(word[:_MAX_WORD])
                if make is not None:
                    writer.write(make())
                    await writer.drain()
        except (OSError, TimeoutError, ValueError):
            return
        finally:
            writer.close()
