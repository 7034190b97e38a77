"""Cursors: what a client may hold and send back."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from bridge.model import Place
from bridge.state.cursors import MOST_CHARACTERS, Cursor, parse_cursor, to_tag

_PLACES = st.builds(Place, st.integers(-1, 10**17 - 1), st.integers(0, 2**32 - 1))


@given(_PLACES, st.none() | _PLACES, st.sets(st.text()))
def test_a_cursor_is_read_as_it_was_written(live: Place, replayed: Place | None, rooms: set[str]) -> None:
    """Within its length, with a replay that is unfinished and without."""
    cursor = Cursor(live) if replayed is None else Cursor(live, replayed, to_tag(rooms))
    assert len(cursor.text) <= MOST_CHARACTERS
    assert parse_cursor(cursor.text) == cursor
    assert parse_cursor(Cursor(live).text) == parse_cursor(live.cursor)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "5-",
        "-5-00000000",
        "-1-0000000",
        "5-0000000g",
        "5-ABCDEF00",
        "05-00000000",
        "+5-00000000",
        "5-00000000 ",
        "5-00000000\n",
        "\uff11-00000000",
        "1_0-00000000",
        "5-00000000+",
        "5-00000000+6-00000000",
        "5-00000000+6-00000000+",
        "5-00000000+6-00000000+0000000x",
        "5-00000000+6-00000000+00000000+00000000",
        "100000000000000000-00000000",
        "5-00000000" * 1000,
        "1" * 1_000_000,
        "30s",
        "\ud800",
    ],
)
def test_what_is_no_cursor_is_none(text: str) -> None:
    """Hostile input, too; there is one way to write a cursor."""
    assert parse_cursor(text) is None


@given(st.text())
def test_any_text_is_a_cursor_or_none(text: str) -> None:
    """Nothing raises, and nothing is read in two ways."""
    cursor = parse_cursor(text)
    assert cursor is None or cursor.text == text


def test_the_tag_tells_rooms_apart_whatever_their_order() -> None:
    """Also from rooms whose names run together alike."""
    assert to_tag(["b", "a"]) == to_tag(("a", "b"))
    assert len({to_tag(rooms) for rooms in (["a", "b"], ["ab"], ["a"], [], ["a", "b", "c"])}) == 5
