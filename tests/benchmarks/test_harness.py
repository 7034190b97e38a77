"""The benchmark itself, at a size that says nothing: it must still run, measure and check."""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from benchmarks.floor import measure_way, measure_writes
from benchmarks.goals import compare_with_goals
from benchmarks.load import BenchError, Load, compile_load
from benchmarks.plot import Line, draw_plot
from benchmarks.publisher import Publisher, count_messages, declare_exchanges
from benchmarks.results import Row, median, to_table
from benchmarks.servers import Server, make_token
from tests.support.daemon import ROOT


def test_every_scenario_runs(tmp_path: Path) -> None:
    """The bridge goes through all scenarios, from a stream and from a queue, and what arrives is checked."""
    output = tmp_path / "rows.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks"],
        cwd=ROOT,
        env={**os.environ, "SCALE": "tiny", "SYSTEMS": "bridge,bridge-queue", "OUTPUT": str(output)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(output.read_bytes())
    assert {row["scenario"] for row in rows} == {
        "fan-out",
        "unicast",
        "commands",
        "idle memory",
        "slow client",
        "warm-up",
        "scale: clients",
        "scale: rooms",
    }
    assert "| fan-out" in done.stdout


def test_workers_are_measured_too() -> None:
    """For docs/scaling.md: all loads, and what connections cost."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scaling"],
        cwd=ROOT,
        env={**os.environ, "SECONDS": "0.2", "CLIENTS": "10", "WORKERS": "2"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" | 2 | ") == 5
    assert "\n| 2 | " in done.stdout


def test_the_stages_of_an_event_are_measured() -> None:
    """For docs/profile.md: each stage, and their sum."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.stages"],
        cwd=ROOT,
        env={**os.environ, "BATCHES": "100"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = dict(re.findall(r"^\| (.*) \| (-?[\d.]+) \|$", done.stdout, re.M))
    stages = [float(figure) for figure in figures.values()]
    assert len(stages) == 7
    assert float(figures["**all of it**"]) == pytest.approx(sum(stages[:6]), rel=0.3)


def test_what_nobody_can_save_is_measured(amqp_url: str) -> None:
    """The kernel's part of a write and of an answer, and the broker's of the way; for docs/profile.md."""
    for answered in (False, True):
        assert all(figure > 0 for figure in measure_writes(answered=answered, batches=20))
    for kind in ("stream", "classic"):
        assert 0 < measure_way(amqp_url, kind, events=100) < 10_000


@pytest.mark.parametrize("rival", ["stock", "node"])
def test_the_rivals_take_part(rival: str) -> None:
    """Those on python-socketio and on Node still work with the versions that are locked."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks"],
        cwd=ROOT,
        env={**os.environ, "SCALE": "tiny", "SYSTEMS": rival, "BENCH": "fanout,commands"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_gap_is_no_valid_measurement(amqp_url: str, tmp_path: Path) -> None:
    """The load client notices an event that is missing, and says which."""
    declare_exchanges(amqp_url, "bench.commands")
    with Server("bridge", amqp_url, tmp_path) as server, Load(compile_load(tmp_path)) as load:
        load.connect(3, server.port, make_token(), each_its_room=False)
        publisher = Publisher(amqp_url, 1)
        publisher.send_paced(2, 100)
        load.wait(lambda now: now.delivered == 6, 10, "two events each")
        load.check()
        publisher.skip(1)
        publisher.send_paced(1, 100)
        with pytest.raises(BenchError, match="gap, wanted 2, got 3"):
            load.wait(lambda now: now.delivered == 12, 10, "an event that never comes")
        publisher.close()
    assert count_messages(amqp_url, "bench.commands") == 0


def test_table_compares_with_node() -> None:
    """Each row says how its cost compares with Node's under the same load."""
    rows = [
        Row(scenario="fan-out", size=10, load="10 clients", system="bridge", cpu=1.0, rate=1000.0),
        Row(scenario="fan-out", size=10, load="10 clients", system="node", cpu=4.0),
    ]
    bridge = to_table(rows).splitlines()[2].split("|")
    assert [cell.strip() for cell in bridge[4:7]] == ["1.00", "0.25", "1,000"]


def test_goals_are_compared_with_what_was_measured() -> None:
    """Those that the rows say something of; a figure on the wrong side of its bound says by how much."""
    rows = [
        Row(scenario="commands", size=64, load="64 clients, closed loop", system="bridge", cpu=45, rate=9500),
        Row(scenario="unicast", size=9, load="9 rooms, backlog", system="bridge", cpu=20),
        Row(scenario="unicast", size=9, load="9 rooms, backlog", system="node", cpu=50),
        Row(scenario="scale: rooms", size=100, load="100 rooms", system="bridge", cpu=20),
        Row(scenario="scale: rooms", size=10_000, load="10,000 rooms", system="bridge", cpu=21),
    ]
    lines = compare_with_goals(rows).splitlines()[2:]
    assert lines == [
        "| unicast under backlog | CPU-s/M | at most 15 | 20.00 | 1.33 of it |",
        "| unicast under backlog | CPU x Node | at most 0.5 | 0.40 | reached |",
        "| commands | per second | at least 9,000 | 9,500 | reached |",
        "| commands | CPU-s/M | at most 30 | 45.00 | 1.50 of it |",
        "| 100 to 10,000 rooms | cost of most / of fewest | at most 1.1 | 1.05 | reached |",
    ]


def test_median_is_one_of_the_runs() -> None:
    """The figures of a row belong together: they are those of the run in the middle."""
    rows = [
        Row(scenario="idle", size=1, load="", system="bridge", cpu=cpu, rate=1 / cpu)
        for cpu in (3.0, 1.0, 2.0)
    ]
    assert median(rows) is rows[2]


def test_plot_is_well_formed() -> None:
    """The plot is an SVG with a line for each system and size."""
    lines = [Line("bridge", ((100, 0.4), (1000, 0.5))), Line("node", ((100, 4.0), (1000, 6.0)))]
    svg = ET.fromstring(draw_plot(lines, lines))  # noqa: S314  our own text
    assert len(svg.findall("{http://www.w3.org/2000/svg}polyline")) == 4
