"""What was measured: one row for each measurement and system, the median of runs, and the table of all."""

from collections.abc import Iterable, Sequence

from msgspec import Struct


class Row(Struct, frozen=True, kw_only=True):
    """One measurement of one system; what was not measured is None."""

    scenario: str
    size: int
    """Clients, or rooms with one client each."""
    load: str
    system: str
    cpu: float | None = None
    """User and system seconds of the server process for a million deliveries (or commands)."""
    rate: float | None = None
    """Deliveries (or commands, or events) a second."""
    p50: float | None = None
    """Milliseconds."""
    p99: float | None = None
    memory: float | None = None
    """kB for each connection when idle; growth of the process in kB when a client is slow."""
    note: str = ""


_HEADINGS = ("measurement", "load", "system", "CPU-s/M", "x Node", "per second", "p50 ms", "p99 ms", "kB", "")


def median(rows: Sequence[Row]) -> Row:
    """The run in the middle, by cost, else by memory."""

    def cost(row: Row) -> float:
        return row.cpu if row.cpu is not None else row.memory or 0.0

    return sorted(rows, key=cost)[len(rows) // 2]


def to_table(rows: Sequence[Row]) -> str:
    """All rows as one Markdown table that is aligned for terminals, too."""
    lines = [_HEADINGS, *(_to_cells(row, compare_with_node(row, rows)) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    text = [_join(line, widths) for line in lines]
    left = 3
    rule = [("-" * width if at < left else "-" * (width - 1) + ":") for at, width in enumerate(widths[:-1])]
    text.insert(1, _join([*rule, "-" * widths[-1]], widths))
    return "\n".join(text)


def _join(cells: Iterable[str], widths: Sequence[int]) -> str:
    padded = [
        cell.ljust(width) if at < 3 or at == len(widths) - 1 else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"


def compare_with_node(row: Row, rows: Iterable[Row]) -> float | None:
    """Cost (or memory) compared with Node's under the same load."""
    for other in rows:
        if other.system == "node" and (other.scenario, other.load) == (row.scenario, row.load):
            if row.cpu is not None and other.cpu:
                return row.cpu / other.cpu
            if row.memory is not None and other.memory:
                return row.memory / other.memory
    return None


def _to_cells(row: Row, ratio: float | None) -> tuple[str, ...]:
    return (
        row.scenario,
        row.load,
        row.system,
        _number(row.cpu, 2),
        _number(ratio, 2),
        _number(row.rate, 0),
        _number(row.p50, 2),
        _number(row.p99, 2),
        _number(row.memory, 1),
        row.note,
    )


def _number(value: float | None, places: int) -> str:
    return "" if value is None else f"{value:,.{places}f}"
