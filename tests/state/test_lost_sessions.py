"""Lost sessions: kept for a time, in a number, and handed out once."""

from msgspec import structs

from bridge.model import Place
from bridge.state.lost_sessions import LostSession, LostSessions
from bridge.state.progress import Progress


def lose(key: str, identity: str = "ann", *, shared: bool = False) -> LostSession:
    """A session."""
    return LostSession(
        key=key,
        sid=f"sid of {key}",
        namespace="/n",
        identity=identity,
        rooms={"": 3},
        due=(),
        progress=Progress(start=Place(3, 3)),
        lost_at=5,
        shared=shared,
    )


def test_a_session_is_kept_for_its_window_and_handed_out_once() -> None:
    """Looking at it changes nothing."""
    lost = LostSessions(120, 10)
    lost.put(lose("a"), 1000)
    assert lost.get("a", 1119.9) == lose("a")
    assert lost.get("a", 1120) is None
    assert lost.take("a", 1119.9) == lose("a")
    assert lost.take("a", 1000) is None


def test_one_that_was_lost_elsewhere_has_the_rest_of_its_time() -> None:
    """None, if that is over."""
    lost = LostSessions(120, 10)
    lost.put(lose("a"), 1000, age=100)
    lost.put(lose("b"), 1000, age=120)
    lost.put(lose("c"), 1000, age=-50)  # clocks differ
    assert lost.get("a", 1019) is not None
    assert lost.get("a", 1020) is None
    assert lost.get("b", 1000) is None
    assert lost.get("c", 1119) is not None
    assert lost.get("c", 1120) is None


def test_sessions_of_many_rooms_take_the_place_of_several() -> None:
    """Nobody fills the memory with rooms of long names, nor a log to which all of them are handed over."""
    lost = LostSessions(120, 1000, 100_000)
    rooms = {f"{number}:{'x' * 120}": number for number in range(128)}
    for number in range(50):
        lost.put(structs.replace(lose(str(number)), rooms=rooms), 1000)
        assert len(lost) <= 3
    assert lost.get("49", 1001) is not None
    lost.evict(lambda identity, namespace: True, "")
    for key in ("47", "48", "49", "49"):
        lost.take(key, 1001)
    for number in range(60):
        lost.put(lose(str(number)), 1002)
        lost.put(lose(str(number)), 1002)
    assert len(lost) == 60
    lost.forget(lambda identity, namespace: True)
    lost.put(structs.replace(lose("large"), rooms={"x" * 200_000: 1}), 1003)
    assert len(lost) == 0


def test_beyond_the_bound_the_oldest_goes() -> None:
    """And what is over does not take a place."""
    lost = LostSessions(120, 2)
    for number, key in enumerate("abc"):
        lost.put(lose(key), 1000 + number)
    assert [session.key for _, session in lost.aged(1003)] == ["b", "c"]
    lost.put(lose("d"), 1200)
    assert len(lost) == 1


def test_ages_are_told() -> None:
    """For whoever takes them over."""
    lost = LostSessions(120, 2)
    lost.put(lose("a"), 1000)
    lost.put(lose("b"), 1030)
    assert [age for age, _ in lost.aged(1040)] == [40, 10]
    assert [age for age, _ in lost.aged(1125)] == [95]


def test_a_copy_is_dropped_and_what_was_lost_here_is_not() -> None:
    """The claim of a session may be read after its client was lost again, here."""
    lost = LostSessions(120, 10)
    lost.put(lose("a", shared=True), 1000)
    lost.put(lose("b"), 1000)
    for key in "abc":
        lost.drop_shared(key)
    assert [session.key for _, session in lost.aged(1000)] == ["b"]
