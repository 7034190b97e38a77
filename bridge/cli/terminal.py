"""Where text goes: colour on a terminal that wants it, plain and stable text everywhere else."""

import os
import re
import shutil
from collections.abc import Mapping
from typing import TextIO

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Terminal:
    """One output stream, and what it can show."""

    def __init__(self, stream: TextIO, environ: Mapping[str, str] = os.environ) -> None:
        self._stream = stream
        is_terminal = stream.isatty()
        self.colours = is_terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        self.width: int | None = shutil.get_terminal_size().columns if is_terminal else None
        """Columns; None where lines may be as long as they like."""

    def print(self, text: str = "") -> None:
        """Write text and end the line; characters that the stream's encoding lacks become `?`."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
        self._stream.flush()

    def bold(self, text: str) -> str:
        """Headings and names."""
        return self._paint("1", text)

    def dim(self, text: str) -> str:
        """What matters less."""
        return self._paint("2", text)

    def red(self, text: str) -> str:
        """What is wrong."""
        return self._paint("31", text)

    def green(self, text: str) -> str:
        """What is right."""
        return self._paint("32", text)

    def yellow(self, text: str) -> str:
        """What to do, and what to look at."""
        return self._paint("33", text)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colours and text else text


def escape(text: str) -> str:
    """Text of strangers: nothing in it can steer the terminal. Line feeds and tabs stay."""
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
