"""Tables: how they fit wide, narrow and very narrow terminals."""

import hypothesis.strategies as st
from hypothesis import given

from bridge.cli.tables import Table

ROUTES = Table(
    ("exchange", "key", "event"),
    [
        ("portal.events", "project.{project}.state_change", "state_change"),
        ("portal.events", "chat.{project}.typing_start", "typing_start"),
    ],
)


def test_columns_are_aligned_without_a_limit() -> None:
    """No trailing blanks, whatever the terminal."""
    assert ROUTES.lines(None) == [
        "exchange       key                             event",
        "portal.events  project.{project}.state_change  state_change",
        "portal.events  chat.{project}.typing_start     typing_start",
    ]
    assert ROUTES.lines(59) == ROUTES.lines(None)


def test_a_narrow_terminal_wraps_the_widest_cells_at_their_joints() -> None:
    """The key breaks after a dot or a brace, not in the middle of a word."""
    assert ROUTES.lines(50) == [
        "exchange       key                    event",
        "portal.events  project.{project}.     state_change",
        "               state_change",
        "portal.events  chat.{project}.        typing_start",
        "               typing_start",
    ]


def test_a_very_narrow_terminal_shows_a_block_for_each_row() -> None:
    """The header stands beside each value."""
    assert ROUTES.lines(36) == [
        "exchange  portal.events",
        "key       project.{project}.",
        "          state_change",
        "event     state_change",
        "",
        "exchange  portal.events",
        "key       chat.{project}.",
        "          typing_start",
        "event     typing_start",
    ]


def test_a_table_without_rows_is_its_header() -> None:
    """Nothing breaks."""
    assert Table(("key", "event"), []).lines(None) == ["key  event"]
    assert Table(("key", "event"), []).lines(4) == []


_CELL = st.text("ab./{}", max_size=60)


@given(st.lists(st.tuples(_CELL, _CELL, _CELL), min_size=1), st.integers(20, 150))
def test_no_line_is_too_long_and_no_character_is_lost(rows: list[tuple[str, str, str]], width: int) -> None:
    """Whatever the cells and the width."""
    lines = Table(("first", "second", "third"), rows).lines(width)
    assert all(len(line) <= width for line in lines)
    shown = "".join(lines)
    assert all(
        shown.count(mark) >= sum(cell.count(mark) for row in rows for cell in row) for mark in "ab./{}"
    )
