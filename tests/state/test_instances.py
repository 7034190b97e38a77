"""Which instances live: counted in the signs that the log holds, the same for all who read it."""

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from bridge.state.instances import DEAD_AFTER, InstanceTable, Sign


def sign(incarnation: str, number: int, *, rank: int = 1, name: str | None = None, every: float = 10) -> Sign:
    """A sign of an instance, whose name is its incarnation's unless a test says otherwise."""
    return Sign(name=name or incarnation, incarnation=incarnation, rank=rank, number=number, every=every)


def test_the_one_that_started_first_is_the_eldest() -> None:
    """Until it ends; then it is the next one. Two that started at once are told apart by their names."""
    table = InstanceTable()
    assert (table.eldest, table.living, table.next_rank) == (None, (), 1)
    table.started(sign("b", 1, rank=1))
    table.started(sign("a", 1, rank=2))
    table.started(sign("c", 1, rank=1))
    assert table.living == ("b", "c", "a")
    assert table.next_rank == 3
    assert table.stopped("b") == ["b"]
    assert table.eldest == "c"
    assert table.stopped("b") == []


def test_four_signs_of_another_without_one_of_its_own_are_an_end() -> None:
    """Signs of several others do not add up: those come four times as often."""
    table = InstanceTable()
    for one in "abcd":
        table.started(sign(one, 1))
    for number in range(2, 2 + DEAD_AFTER - 1):
        for one in "bcd":
            assert table.beat(sign(one, number)) == []
    assert table.beat(sign("c", 9)) == ["a"]
    assert table.living == ("b", "c", "d")


def test_a_sign_of_its_own_starts_the_count_anew() -> None:
    """However many signs the other one has given in all."""
    table = InstanceTable()
    table.started(sign("a", 1))
    table.started(sign("b", 1))
    for number in range(2, 30):
        assert table.beat(sign("b", number)) == []
        if number % (DEAD_AFTER - 1) == 0:
            assert table.beat(sign("a", number)) == []
    assert table.living == ("a", "b")


def test_one_that_gives_signs_more_often_must_give_more_of_them() -> None:
    """While a configuration is rolled out, instances differ in it."""
    table = InstanceTable()
    table.started(sign("slow", 1, every=10))
    for number in range(1, DEAD_AFTER * 5):
        assert not table.beat(sign("quick", number, every=2))
    assert table.beat(sign("quick", 99, every=2)) == ["slow"]
    for number in range(2, 2 + DEAD_AFTER - 1):
        assert not table.beat(sign("slow", number, every=10))
    assert table.beat(sign("slow", 99, every=10)) == ["quick"]


def test_a_silence_of_all_is_the_end_of_nobody() -> None:
    """A broker that is away takes no signs; on its return each gives one."""
    table = InstanceTable()
    table.started(sign("a", 1))
    table.started(sign("b", 1))
    for number in (2, 3, 50, 51):
        assert table.beat(sign("a", number)) == []
        assert table.beat(sign("b", number)) == []


def test_a_new_run_under_the_same_name_ends_the_old_one() -> None:
    """At once: what was killed and started again is not two."""
    table = InstanceTable()
    table.started(sign("a:1", 1, name="a"))
    table.started(sign("b:1", 1, name="b"))
    assert table.started(sign("a:2", 1, rank=2, name="a")) == ["a:1"]
    assert table.living == ("b:1", "a:2")


def test_one_that_stopped_lives_no_more() -> None:
    """A broken connection may bring a sign of it behind its last word; its next run is another one."""
    table = InstanceTable()
    table.started(sign("a:1", 1, name="a"))
    table.started(sign("b:1", 1, rank=2, name="b"))
    assert table.stopped("a:1") == ["a:1"]
    assert table.beat(sign("a:1", 2, name="a")) == table.started(sign("a:1", 1, name="a")) == ()
    assert (table.living, table.eldest) == (("b:1",), "b:1")
    table.started(sign("a:2", 1, rank=3, name="a"))
    assert table.living == ("b:1", "a:2")


def test_so_many_that_stopped_are_remembered() -> None:
    """The ones that did last; a sign does not come that late."""
    table = InstanceTable(bound=3)
    for one in "abcd":
        table.started(sign(one, 1))
        table.stopped(one)
    for one in "dcb":
        table.beat(sign(one, 2))
    assert table.living == ()
    table.beat(sign("a", 2))
    assert table.living == ("a",)


def test_who_was_held_for_dead_and_gives_a_sign_lives() -> None:
    """It was cut off from the broker, and is back."""
    table = InstanceTable()
    table.started(sign("a", 1))
    table.started(sign("b", 1, rank=2))
    ended = [one for number in range(2, 7) for one in table.beat(sign("b", number, rank=2))]
    assert ended == ["a"]
    table.beat(sign("a", 2, rank=3))
    assert table.living == ("b", "a")


def test_a_sign_that_comes_twice_counts_once() -> None:
    """A queue delivers again what was not acknowledged when its connection broke."""
    table = InstanceTable()
    table.started(sign("a", 1))
    for number in (2, 2, 2, 3, 3, 1, 4):
        assert not table.beat(sign("b", number))
    assert table.beat(sign("b", 5)) == ["a"]


def test_the_table_is_bounded() -> None:
    """The one that was silent longest makes room."""
    table = InstanceTable(bound=3)
    for one in "abc":
        table.started(sign(one, 1))
    table.beat(sign("a", 2))
    assert table.started(sign("d", 1)) == ["b"]
    assert set(table.living) == {"a", "c", "d"}


@given(
    st.lists(
        st.tuples(st.sampled_from("abcde"), st.sampled_from(["beat"] * 5 + ["stop", "start"])), max_size=60
    ),
    st.integers(0, 60),
)
def test_whoever_reads_the_end_of_the_log_alone_soon_knows_what_all_know(
    events: list[tuple[str, str]], begin: int
) -> None:
    """After each that lives has given another sign, and each that does not would have been missed."""
    runs, numbers = dict.fromkeys("abcde", 0), count(1)
    log = []
    for name, kind in events:
        runs[name] += kind == "start"
        shown = sign(f"{name}:{runs[name]}", next(numbers), rank=ord(name), name=name)
        log.append((kind, shown))
    early, late = InstanceTable(), InstanceTable()
    for place, (kind, shown) in enumerate(log):
        for table in (early, late) if place >= begin else (early,):
            feed(table, kind, shown)
    living = early.living
    for _ in range(DEAD_AFTER + 1):
        for one in living:
            shown = sign(one, next(numbers), rank=ord(one[0]), name=one[0])
            early.beat(shown)
            late.beat(shown)
    if living:
        assert early.living == late.living == living
        assert late.eldest == early.eldest


def feed(table: InstanceTable, kind: str, shown: Sign) -> None:
    """Take one message of the log."""
    if kind == "beat":
        table.beat(shown)
    elif kind == "start":
        table.started(shown)
    else:
        table.stopped(shown.incarnation)
