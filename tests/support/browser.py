"""Headless Chromium in a process of its own, driven from a test: `async with Browser(folder) as browser`."""

import asyncio
import json
import shutil
from itertools import count
from pathlib import Path
from types import TracebackType

_TESTS = Path(__file__).parent.parent
_NAMES = ("chromium", "google-chrome")


class BrowserPage:
    """One tab; what goes wrong in it is kept in `complaints`."""

    def __init__(self, browser: "Browser", number: int) -> None:
        self._browser = browser
        self._number = number

    async def do(self, verb: str, *args: object) -> object:
        """Carry out a command of browser.mjs; RuntimeError when it fails or takes over 15 s."""
        return await self._browser.command(self._number, verb, *args)

    async def goto(self, url: str) -> None:
        """Open an address and wait until it is loaded."""
        await self.do("goto", url)

    async def click(self, selector: str) -> None:
        """Click on what a CSS selector (or `text=...`) names."""
        await self.do("click", selector)

    async def fill(self, selector: str, text: str) -> None:
        """Put a text into a field."""
        await self.do("fill", selector, text)

    async def wait(self, expression: str) -> None:
        """Wait until an expression of JavaScript is true in the page."""
        await self.do("wait", expression)

    async def evaluate(self, expression: str) -> object:
        """The value of an expression of JavaScript."""
        return await self.do("evaluate", expression)

    async def text(self, selector: str) -> str:
        """What an element shows."""
        return str(await self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    async def complaints(self) -> object:
        """Errors and warnings of the page's console, dialogs, and exceptions."""
        return await self.do("complaints")

    async def close(self) -> None:
        """Close the tab."""
        await self.do("close")


class Browser:
    """One Chromium with an empty profile."""

    def __init__(self, folder: Path) -> None:
        """The profile is made in `folder`."""
        self._profile = folder / "profile"
        self._answers: dict[int, asyncio.Future[object]] = {}
        self._numbers = count()
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Browser":
        node = shutil.which("node")
        chromium = next(filter(None, map(shutil.which, _NAMES)), None)
        if node is None or chromium is None:
            raise RuntimeError("node or chromium is not installed: the tests of the client page need both")
        if not (_TESTS / "node_modules" / "playwright-core").is_dir():
            raise RuntimeError(f"playwright-core is not installed: run `npm ci` in {_TESTS.name}/")
        self._process = await asyncio.create_subprocess_exec(
            node,
            str(_TESTS / "support" / "browser.mjs"),
            chromium,
            str(self._profile),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=16 * 1024 * 1024,
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
            async with asyncio.timeout(20):
                await self._process.wait()
                await self._reader
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def open(self) -> BrowserPage:
        """A new tab."""
        page = BrowserPage(self, next(self._numbers))
        await page.do("open")
        return page

    async def command(self, page: int, verb: str, *args: object) -> object:
        """Have Node carry out one command and return its answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        call = next(self._numbers)
        answer = self._answers[call] = asyncio.get_running_loop().create_future()
        line = json.dumps({"call": call, "page": page, "do": verb, "args": args})
        self._process.stdin.write(line.encode() + b"\n")
        return await answer

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            message = json.loads(line)
            answer = self._answers.pop(message["call"])
            if "error" in message:
                answer.set_exception(RuntimeError(message["error"]))
            else:
                answer.set_result(message["ok"])
        for answer in self._answers.values():
            answer.set_exception(RuntimeError("the browser ended"))
