"""Draws two plots side by side as SVG, both axes logarithmic, without any library."""

import math
from collections.abc import Sequence
from html import escape
from typing import Final

from msgspec import Struct

_WIDTH: Final = 400
_HEIGHT: Final = 300
_LEFT: Final = 60
_TOP: Final = 40
_GAP: Final = 90
_COLOURS: Final = ("#1f6feb", "#d1495b", "#3a7d44", "#8d6a9f")
_STYLE: Final = "font-family='sans-serif' font-size='12'"


class Line(Struct, frozen=True):
    """One system's points: size and cost."""

    label: str
    points: tuple[tuple[float, float], ...]


def draw_plot(clients: Sequence[Line], rooms: Sequence[Line]) -> str:
    """Cost against clients on the left, against rooms on the right; the text of an SVG file."""
    width, height = 2 * (_LEFT + _WIDTH) + _GAP, _TOP + _HEIGHT + 60
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' {_STYLE}>",
        f"<rect width='{width}' height='{height}' fill='white'/>",
        *_draw(clients, "clients in one room", _LEFT),
        *_draw(rooms, "rooms with one client each", _LEFT + _WIDTH + _GAP),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


class _Axis(Struct, frozen=True):
    """Whole decades around some values, on so many pixels."""

    first: int
    last: int
    pixels: int

    def place(self, value: float) -> float:
        """How far from the axis' beginning the value stands."""
        return (math.log10(value) - self.first) / (self.last - self.first) * self.pixels

    @property
    def decades(self) -> list[float]:
        """Where the lines of the grid are."""
        return [10.0**power for power in range(self.first, self.last + 1)]


def _axis(values: Sequence[float], pixels: int) -> _Axis:
    first = math.floor(math.log10(min(values)))
    last = math.ceil(math.log10(max(values)))
    return _Axis(first, max(last, first + 1), pixels)


def _draw(lines: Sequence[Line], title: str, left: int) -> list[str]:
    points = [point for line in lines for point in line.points]
    if not points:
        return []
    across, up = _axis([x for x, _ in points], _WIDTH), _axis([y for _, y in points], _HEIGHT)
    bottom = _TOP + _HEIGHT
    parts = [_text(left + _WIDTH / 2, 20, f"CPU-s/M against {title}", "middle")]
    for value in across.decades:
        x = left + across.place(value)
        parts += [_rule(x, _TOP, x, bottom), _text(x, bottom + 18, f"{value:,g}", "middle")]
    for value in up.decades:
        y = bottom - up.place(value)
        parts += [_rule(left, y, left + _WIDTH, y), _text(left - 8, y + 4, f"{value:g}", "end")]
    for number, line in enumerate(lines):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [(left + across.place(x), bottom - up.place(y)) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>")
        parts += [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{colour}'/>" for x, y in places]
        parts.append(_text(left + 10 + 120 * number, bottom + 42, line.label, "start", colour))
    return parts


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='#ddd'/>"


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#333") -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' fill='{colour}'>{escape(text)}</text>"
