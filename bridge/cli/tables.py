"""Lays out tables: aligned columns where they fit, wrapped cells where they nearly do, else blocks."""

from collections.abc import Sequence
from typing import Final

from bridge.cli.terminal import Terminal

_GAP: Final = 2
_NARROWEST: Final = 14
"""A column is wrapped no further than this; then rows become blocks."""
_BREAKS: Final = ".:/, }"
"""A cell breaks after one of these where it can: the joints of keys, rooms and namespaces."""

Row = Sequence[str]


class Table:
    """A header and rows of text; `lines` fits them into a width."""

    def __init__(self, header: Row, rows: Sequence[Row]) -> None:
        self.header = tuple(header)
        self._rows = [tuple(row) for row in rows]

    def lines(self, width: int | None) -> list[str]:
        """The lines of the table, the header first, none longer than `width` if that can be.

        In blocks the header is repeated beside each value, and an empty line parts the rows.
        """
        widths = [max(len(row[column]) for row in (self.header, *self._rows)) for column in self._columns]
        if width is not None:
            fitted = _fit(widths, width)
            if fitted is None:
                return self._blocks(width)
            widths = fitted
        return [line for row in (self.header, *self._rows) for line in _lay_out(row, widths)]

    def print(self, terminal: Terminal) -> None:
        """Print it as wide as the terminal, its header in bold, and an empty line."""
        for line in self.lines(terminal.width):
            terminal.print(terminal.bold(line) if line.split() == [*self.header] else line)
        terminal.print()

    @property
    def _columns(self) -> range:
        return range(len(self.header))

    def _blocks(self, width: int) -> list[str]:
        label = max(map(len, self.header))
        value = max(width - label - _GAP, 8)
        lines: list[str] = []
        for row in self._rows:
            if lines:
                lines.append("")
            for name, cell in zip(self.header, row, strict=True):
                lines += _lay_out((name, cell), [label, value])
        return lines


def _fit(widths: Sequence[int], width: int) -> list[int] | None:
    """Narrow the widest columns until all fit; None when that would squeeze them too much."""
    fitted = list(widths)
    excess = sum(fitted) + _GAP * (len(fitted) - 1) - width
    while excess > 0:
        widest = max(range(len(fitted)), key=fitted.__getitem__)
        if fitted[widest] <= _NARROWEST:
            return None
        fitted[widest] -= 1
        excess -= 1
    return fitted


def _lay_out(row: Row, widths: Sequence[int]) -> list[str]:
    cells = [_wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
    lines = []
    for number in range(max(map(len, cells))):
        parts = (cell[number] if number < len(cell) else "" for cell in cells)
        padded = (part.ljust(width) for part, width in zip(parts, widths, strict=True))
        lines.append((" " * _GAP).join(padded).rstrip())
    return lines


def _wrap(text: str, width: int) -> list[str]:
    lines = []
    while len(text) > width:
        cut = max((text.rfind(mark, 0, width) + 1 for mark in _BREAKS), default=0)
        cut = cut if cut > width // 2 else width
        lines.append(text[:cut].rstrip())
        text = text[cut:].lstrip()
    return [*lines, text]
