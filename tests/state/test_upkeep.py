"""What must be written again: by age, by volume, at once."""

from hypothesis import given
from hypothesis import strategies as st

from bridge.state.upkeep import Upkeep


def make() -> Upkeep[str]:
    return Upkeep(max_age=100.0, max_bytes=1000)


def test_a_thing_is_due_at_half_of_the_age_or_with_half_of_the_bytes_behind_it() -> None:
    """The oldest first; what need not last counts for the bytes too."""
    upkeep = make()
    upkeep.note("a", 100, 0.0)
    upkeep.note("b", 100, 10.0)
    assert upkeep.due(49.9) == []
    assert upkeep.due(50.0) == ["a"]
    assert upkeep.due(60.0) == ["a", "b"]
    upkeep.pass_over(399)
    assert upkeep.due(10.0) == []
    upkeep.pass_over(1)
    assert upkeep.due(10.0) == ["a"]


def test_what_was_written_again_has_as_long_once_more() -> None:
    """And what is forgotten is not due."""
    upkeep = make()
    upkeep.note("a", 100, 0.0)
    upkeep.note("b", 100, 0.0)
    upkeep.note("a", 100, 50.0)
    assert upkeep.due(99.0) == ["b"]
    upkeep.forget("b")
    upkeep.forget("unknown")
    assert upkeep.due(99.0) == []
    assert upkeep.due(100.0) == ["a"]
    assert len(upkeep) == 1


def test_what_is_urgent_is_due_at_once_and_only_once() -> None:
    """Unless it need not last."""
    upkeep = make()
    upkeep.note("a", 1, 0.0)
    upkeep.hasten("a")
    upkeep.hasten("unknown")
    assert upkeep.due(0.0) == ["a"]
    upkeep.note("a", 1, 0.0)
    assert upkeep.due(0.0) == []


def test_what_is_not_found_in_the_state_is_due() -> None:
    """Its stream was deleted, or had dropped it."""
    upkeep = make()
    upkeep.note("a", 400, 0.0)
    upkeep.note("b", 400, 0.0)
    upkeep.begin()
    upkeep.note("b", 400, 0.0)
    assert upkeep.due(0.0) == ["a"]


def test_what_stands_at_an_unknown_place_stands_at_the_beginning() -> None:
    """Rather once too often than never."""
    upkeep = make()
    upkeep.note("a", 450, 0.0)
    upkeep.note_early("b", 0.0)
    assert upkeep.due(0.0) == []
    upkeep.pass_over(50)
    assert upkeep.due(0.0) == ["b"]


def test_what_is_not_needed_is_forgotten() -> None:
    """All of it, in one go."""
    upkeep = make()
    for key in "abc":
        upkeep.note(key, 1, 0.0)
    upkeep.keep(lambda key: key == "b")
    assert len(upkeep) == 1
    assert upkeep.due(50.0) == ["b"]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 200)), max_size=80))
def test_nothing_that_lasts_is_ever_dropped_by_a_stream_that_keeps_so_many_bytes(
    writes: list[tuple[str, int]],
) -> None:
    """As long as the newest of each thing, all together, is less than a quarter of what is kept."""
    upkeep = Upkeep[str](max_age=1e9, max_bytes=8000)
    stream: list[tuple[str, int]] = []
    for number, write in enumerate(writes):
        stream.append(write)
        upkeep.note(*write, 0.0)
        for key in upkeep.due(0.0):
            stream.append((key, 200))
            upkeep.note(key, 200, 0.0)
        while sum(size for _, size in stream) > 8000:
            stream.pop(0)
        assert {key for key, _ in stream} >= {key for key, _ in writes[: number + 1]}
