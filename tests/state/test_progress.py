"""What cursors say of a session: what its rooms lack, or that nobody can tell."""

import pytest

from bridge.model import Place
from bridge.state.cursors import Cursor
from bridge.state.progress import Behind, Progress

ROOMS = ("a", "b")
TAG = 7


def at(offset: int) -> Place:
    """A place; all checksums are right here."""
    return Place(offset, offset)


@pytest.fixture
def progress() -> Progress:
    """A session that began at 10, and at 50 was sent what room b had since 20."""
    return Progress(start=at(10)).join(("b",), at(20), at(50), TAG, {"a": 10})


@pytest.mark.parametrize("cursor", [None, Cursor(at(4)), Cursor(at(4), at(2), TAG)])
def test_without_a_cursor_of_the_session_all_of_it_is_missing(cursor: Cursor | None) -> None:
    """The official client keeps the cursor of a session that could not be recovered."""
    assert Progress(start=at(10)).locate(cursor, ROOMS) == Behind(base=at(10))


def test_a_plain_cursor_is_where_all_rooms_are() -> None:
    """As long as there was no join with since."""
    assert Progress(start=at(10)).locate(Cursor(at(30)), ROOMS) == Behind(base=at(30))


def test_a_cursor_of_before_the_join_lacks_its_events(progress: Progress) -> None:
    """None of them can have arrived."""
    assert progress.locate(Cursor(at(40)), ROOMS) == Behind(base=at(40), older=at(20), rooms=("b",), tag=TAG)
    assert progress.locate(None, ROOMS) == Behind(base=at(10), older=at(20), rooms=("b",), tag=TAG)


def test_a_cursor_of_the_join_says_how_far_its_events_came(progress: Progress) -> None:
    """All of them at the end."""
    found = progress.locate(Cursor(at(50), at(30), TAG), ROOMS)
    assert found == Behind(base=at(50), older=at(30), rooms=("b",), tag=TAG, begun=True)
    assert found.cursor == Cursor(at(50), at(30), TAG).text
    assert progress.locate(Cursor(at(50), at(50), TAG), ROOMS) == Behind(base=at(50))


def test_a_later_cursor_says_that_all_arrived(progress: Progress) -> None:
    """Order is kept."""
    assert progress.locate(Cursor(at(51)), ROOMS) == Behind(base=at(51))


@pytest.mark.parametrize(
    "cursor",
    [
        Cursor(at(50), at(30), 8),
        Cursor(at(49), at(30), TAG),
        Cursor(Place(50, 1), at(30), TAG),
    ],
)
def test_what_cannot_be_told_is_not_guessed(progress: Progress, cursor: Cursor) -> None:
    """Neither of other rooms, nor of another join, nor of another log."""
    assert progress.locate(cursor, ROOMS) is None


def test_rooms_that_were_left_lack_nothing(progress: Progress) -> None:
    """Nor do those of a join that was cut before its end."""
    for cursor in (Cursor(at(40)), Cursor(at(50)), Cursor(at(60))):
        assert progress.locate(cursor, ["a"]) == Behind(base=cursor.live)
    assert progress.locate(Cursor(at(50), at(30), TAG), ["a"]) == Behind(base=at(50))


def test_a_cursor_of_the_very_place_of_the_join_leaves_its_rooms_unsure(progress: Progress) -> None:
    """The log has not moved meanwhile; who has not got the answer asks again."""
    assert progress.locate(Cursor(at(50)), ROOMS) == Behind(base=at(50), unsure={"b": 50})


def test_joins_at_one_place_of_the_log(progress: Progress) -> None:
    """As when a page begins: cursors of the last one prove them all."""
    second = progress.join(("c",), at(5), at(50), 9, {"a": 10, "b": 20})
    rooms = ("a", "b", "c")
    assert second.locate(Cursor(at(50), at(6), 9), rooms) == Behind(
        base=at(50), older=at(6), rooms=("c",), tag=9, begun=True
    )
    assert second.locate(Cursor(at(50)), rooms) == Behind(base=at(50), unsure={"b": 50, "c": 50})
    assert second.locate(Cursor(at(51)), rooms) == Behind(base=at(51))
    assert second.locate(Cursor(at(49)), rooms) is None


def test_one_join_after_another(progress: Progress) -> None:
    """Cursors of the second prove the first; those of before the second leave it open."""
    second = progress.join(("c",), at(5), at(60), 9, {"a": 10, "b": 20})
    rooms = ("a", "b", "c")
    assert second.locate(Cursor(at(60), at(6), 9), rooms) == Behind(
        base=at(60), older=at(6), rooms=("c",), tag=9, begun=True
    )
    assert second.locate(Cursor(at(55)), rooms) == Behind(base=at(55), older=at(5), rooms=("c",), tag=9)
    assert second.locate(Cursor(at(50)), rooms) is None
    assert second.locate(Cursor(at(50), at(30), TAG), rooms) is None
    assert second.locate(None, rooms) is None


def test_a_room_that_was_joined_before_is_not_guessed_at() -> None:
    """It has a gap in the middle then, between what was sent again and what had come."""
    progress = Progress(start=at(10)).join(("b",), at(20), at(50), TAG, {"b": 30})
    assert progress.locate(Cursor(at(40)), ROOMS) is None
    assert progress.locate(Cursor(at(50)), ROOMS) == Behind(base=at(50), unsure={"b": 30})
    assert progress.locate(Cursor(at(51)), ROOMS) == Behind(base=at(51))


def test_a_session_that_goes_on_understands_what_the_client_still_holds(progress: Progress) -> None:
    """Its connection may be lost again before anything has arrived."""
    for cursor in (Cursor(at(50), at(30), TAG), Cursor(at(50), at(50), TAG), Cursor(at(51))):
        behind = progress.locate(cursor, ROOMS)
        assert behind is not None
        assert progress.resume(behind).locate(cursor, ROOMS) == behind


def test_a_plain_cursor_behind_a_part_of_a_join_is_of_after_it(progress: Progress) -> None:
    """A client that has shown a cursor of the join cannot hold one of before it any more."""
    behind = progress.locate(Cursor(at(50), at(30), TAG), ROOMS)
    assert behind is not None
    resumed = progress.resume(behind)
    assert resumed.locate(Cursor(at(50)), ROOMS) == Behind(base=at(50))
    assert resumed.locate(Cursor(at(50), at(30), TAG), ROOMS) == behind


def test_a_room_that_was_joined_before_lacks_only_what_is_older(progress: Progress) -> None:
    """Everything behind its first mark came by that one."""
    again = progress.join(("b",), at(5), at(60), 9, {"a": 10, "b": 20})
    found = again.locate(Cursor(at(60), at(6), 9), ROOMS)
    assert found == Behind(base=at(60), older=at(6), rooms=("b",), tag=9, had={"b": 20}, begun=True)
