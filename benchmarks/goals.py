"""What the bridge is to reach, and how far a run is from it."""

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from benchmarks.results import Row, compare_with_node

Measure = Callable[[Row, Sequence[Row]], float | None]
"""The figure of a row that a goal is about."""


class Goal(Struct, frozen=True, kw_only=True):
    """A bound of one figure."""

    what: str
    scenario: str
    load: str
    """The end of the row's load."""
    figure: str
    """What is bounded, as people read it."""
    measure: Measure
    bound: float
    system: str = "bridge"
    at_least: bool = False

    def is_reached(self, value: float) -> bool:
        """Whether the value is on the right side of the bound."""
        return value >= self.bound if self.at_least else value <= self.bound


def _cpu(row: Row, _: Sequence[Row]) -> float | None:
    return row.cpu


def _rate(row: Row, _: Sequence[Row]) -> float | None:
    return row.rate


def _median(row: Row, _: Sequence[Row]) -> float | None:
    return row.p50


def _memory(row: Row, _: Sequence[Row]) -> float | None:
    return row.memory


def _growth(row: Row, rows: Sequence[Row]) -> float | None:
    """How much dearer the largest size is than the smallest."""
    alike = [one for one in rows if (one.scenario, one.system) == (row.scenario, row.system) and one.cpu]
    costs = [one.cpu for one in sorted(alike, key=lambda one: one.size) if one.cpu]
    return costs[-1] / costs[0] if costs else None


_FAN_OUT, _UNICAST, _COMMANDS = "fan-out under backlog", "unicast under backlog", "commands"

GOALS = (
    Goal(what=f"{_FAN_OUT}, 1,000 clients", scenario="fan-out", load="1,000 clients, backlog",
         figure="CPU-s/M", measure=_cpu, bound=0.5),
    Goal(what=f"{_FAN_OUT}, 1,000 clients", scenario="fan-out", load="1,000 clients, backlog",
         figure="deliveries/s", measure=_rate, bound=1e6, at_least=True),
    Goal(what=f"{_FAN_OUT}, 5,000 clients", scenario="fan-out", load="5,000 clients, backlog",
         figure="CPU-s/M", measure=_cpu, bound=0.5),
    Goal(what=f"{_FAN_OUT}, 5,000 clients", scenario="fan-out", load="5,000 clients, backlog",
         figure="deliveries/s", measure=_rate, bound=1e6, at_least=True),
    Goal(what="fan-out, 100 clients x 1,600 events/s", scenario="fan-out", load="1,600 events/s",
         figure="CPU x Node", measure=compare_with_node, bound=0.65),
    Goal(what=_UNICAST, scenario="unicast", load="backlog", figure="CPU-s/M", measure=_cpu, bound=15),
    Goal(what=_UNICAST, scenario="unicast", load="backlog",
         figure="CPU x Node", measure=compare_with_node, bound=0.5),
    Goal(what="unicast, 1,000 events/s, stream", scenario="unicast", load="1,000 events/s",
         figure="p50 ms", measure=_median, bound=0.45),
    Goal(what="unicast, 1,000 events/s, queue", scenario="unicast", load="1,000 events/s",
         figure="p50 ms", measure=_median, bound=0.25, system="bridge-queue"),
    Goal(what=_COMMANDS, scenario="commands", load="closed loop",
         figure="per second", measure=_rate, bound=9000, at_least=True),
    Goal(what=_COMMANDS, scenario="commands", load="closed loop", figure="CPU-s/M", measure=_cpu, bound=30),
    Goal(what="idle connection", scenario="idle memory", load="connections",
         figure="kB", measure=_memory, bound=16),
    Goal(what="100 to 10,000 clients", scenario="scale: clients", load="10,000 clients",
         figure="cost of most / of fewest", measure=_growth, bound=1.1),
    Goal(what="100 to 10,000 rooms", scenario="scale: rooms", load="10,000 rooms",
         figure="cost of most / of fewest", measure=_growth, bound=1.1),
    Goal(what="warm-up from the log", scenario="warm-up", load="in the log",
         figure="events/s", measure=_rate, bound=40_000, at_least=True),
)  # fmt: skip


def compare_with_goals(rows: Sequence[Row]) -> str:
    """A Markdown table of the goals that the rows say something of."""
    lines = ["| what | figure | goal | measured | |", "|---|---|---:|---:|---|", *_lines(rows)]
    return "\n".join(lines)


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    for goal in GOALS:
        for row in rows:
            found = (row.scenario, row.system) == (goal.scenario, goal.system) and row.load.endswith(
                goal.load
            )
            value = goal.measure(row, rows) if found else None
            if value is not None:
                bound = f"{'at least' if goal.at_least else 'at most'} {goal.bound:,.10g}"
                verdict = "reached" if goal.is_reached(value) else f"{value / goal.bound:.2f} of it"
                figure = f"{value:,.2f}" if value < 1000 else f"{value:,.0f}"
                yield f"| {goal.what} | {goal.figure} | {bound} | {figure} | {verdict} |"
