"""The history: a ring over all rooms that agrees with a plain list, and says honestly what it holds."""

from collections.abc import Mapping

import hypothesis.strategies as st
import pytest
from hypothesis import given
from msgspec import Raw, Struct

from bridge.model import Emission, Place
from bridge.state.history import DELIVERY_BYTES, EMISSION_BYTES, History
from bridge.state.missed import Replay

ALL = 10**9


def place_at(offset: int) -> Place:
    """The place of a delivery at an offset; -1 is before the first one."""
    return Place(offset, (max(offset, 0) * 2654435761) % 2**32)


def event(offset: int, *rooms: str, name: str = "e", namespace: str = "/", **fields: object) -> Emission:
    """An event of some rooms; its argument tells it from all others."""
    text = f'"{offset}{name}"'.encode()
    return Emission(
        route="r",
        namespace=namespace,
        event=name,
        args=(Raw(text),),
        rooms=rooms,
        place=place_at(offset),
        **fields,  # type: ignore[arg-type]
    )


def keep(history: History, place: Place, time: float, emissions: tuple[Emission, ...] = ()) -> None:
    """One delivery."""
    history.extend([place.offset], [place.checksum], [time], [emissions])


def filled(*deliveries: tuple[int, float, tuple[Emission, ...]], max_bytes: int = ALL) -> History:
    """A history of (offset, time, emissions)."""
    history = History(max_bytes, ALL)
    for offset, time, emissions in deliveries:
        keep(history, place_at(offset), time, emissions)
    return history


def names(replay: Replay) -> list[tuple[int, str]]:
    """Offset and event of what was replayed."""
    return [(emission.place.offset, emission.event) for emission, _ in replay.emissions if emission.place]


def test_a_place_is_held_when_offset_and_checksum_agree() -> None:
    """Everything behind it is there then; not so for evicted, missing and other deliveries."""
    history = filled(*((offset, 0.0, ()) for offset in (3, 4, 8, 9)))
    assert all(history.holds(place_at(offset)) for offset in (3, 4, 8, 9))
    assert not any(history.holds(place_at(offset)) for offset in (-1, 0, 2, 5, 7, 10))
    assert not history.holds(Place(4, 5))
    assert history.head == place_at(9)
    assert history.is_ahead(place_at(10))
    assert not history.is_ahead(place_at(9))


def test_nothing_is_held_before_the_first_delivery() -> None:
    """Every place is ahead then."""
    history = History(ALL, ALL)
    assert history.head is None
    assert not history.holds(Place(0, 0))
    assert not history.holds(Place(-1, 0))
    assert history.is_ahead(Place(0, 0))
    assert history.place_before(0) is None
    with pytest.raises(ValueError, match="nothing"):
        history.replay("/", {"a": 0})


def test_offsets_must_grow() -> None:
    """A reader that hands over one delivery twice breaks its promise."""
    history = filled((3, 0.0, ()))
    with pytest.raises(ValueError, match="offsets from 3 on do not grow from 3 on"):
        keep(history, place_at(3), 0.0)


def test_after_clear_it_is_another_log() -> None:
    """Which may begin at 0 again, and is not complete: there was something before it."""
    history = filled((0, 0.0, (event(0, "a"),)), (5, 1.0, ()))
    assert history.holds(Place(-1, place_at(0).checksum))
    history.clear()
    assert (history.head, history.bytes, len(history)) == (None, 0, 0)
    keep(history, Place(0, 77), 2.0)
    keep(history, Place(5, 78), 2.0)
    assert not history.holds(place_at(5))
    assert history.holds(Place(5, 78))
    assert not history.holds(Place(-1, 77))
    assert history.place_before(1.0) is None


def test_what_is_too_old_goes_but_for_the_head() -> None:
    """A quiet log must not make a client that has everything miss something."""
    history = History(ALL, 10)
    for offset in range(5):
        keep(history, place_at(offset), float(offset), (event(offset, "a"),))
    history.trim(13.5)
    assert not history.holds(place_at(3))
    assert history.holds(place_at(4))
    assert (history.floor_time, len(history)) == (4.0, 1)
    history.trim(1e9)
    assert history.holds(place_at(4))
    assert not history.holds(Place(-1, place_at(0).checksum))


def test_it_is_bounded_in_bytes() -> None:
    """By what its deliveries take; one that is larger than all is kept until the next."""
    history = History(10 * EMISSION_BYTES, ALL)
    for offset in range(20_000):
        keep(history, place_at(offset), 0.0, (event(offset, f"room {offset}"),))
        assert history.bytes <= 10 * EMISSION_BYTES
    assert len(history) == 5
    huge = Emission(route="r", namespace="/", event="e", args=(b"x" * 100_000,), rooms=("a",))
    keep(history, place_at(20_000), 0.0, (huge,))
    assert len(history) == 1
    keep(history, place_at(20_001), 0.0)
    assert (len(history), history.bytes) == (1, DELIVERY_BYTES)


def test_emissions_of_one_delivery_share_its_body() -> None:
    """An event of three namespaces takes little more than one of a single one."""
    body = Raw(b'"' + b"x" * 10_000 + b'"')
    emissions = [
        Emission(route="r", namespace=namespace, event="e", args=(body,), rooms=("a",))
        for namespace in ("/a", "/b", "/c")
    ]
    one, three = filled((1, 0.0, tuple(emissions[:1]))), filled((1, 0.0, tuple(emissions)))
    assert 10_000 < one.bytes < three.bytes < 13_000


def test_an_age_reaches_back_to_a_place_before_it() -> None:
    """To one that is known to be older; deliveries without a time of their own count as younger."""
    history = filled(*((offset, time, ()) for offset, time in enumerate([10.0, 20.0, 20.0, 30.0], 7)))
    assert history.place_before(100) == place_at(10)
    assert history.place_before(31) == place_at(10)
    assert history.place_before(30.9) == place_at(8)
    assert history.place_before(21) == place_at(8)
    assert history.place_before(20.9) is None
    assert history.place_before(5) is None


def test_an_age_beyond_the_beginning_of_a_young_log_is_all_of_it() -> None:
    """Nothing was ever before its first delivery, so nothing is missing; unless something was evicted."""
    history = filled((0, 10.0, (event(0, "a"),)), (1, 20.0, (event(1, "a"),)))
    place = history.place_before(5)
    assert place == Place(-1, place_at(0).checksum)
    assert history.holds(place)
    assert names(history.replay("/", {"a": place.offset})) == [(0, "e"), (1, "e")]
    history = filled((0, 10.0, ()), (1, 20.0, ()), (2, 30.0, ()), max_bytes=2 * DELIVERY_BYTES)
    assert history.place_before(5) is None


def test_one_event_of_several_rooms_comes_once_and_not_if_another_room_brought_it() -> None:
    """The joiner of `b` was in `a` since 4: what was in both later has reached it."""
    history = filled(*((offset, 0.0, (event(offset, "a", "b"),)) for offset in range(1, 8)), (8, 0.0, ()))
    assert names(history.replay("/", {"a": 2, "b": 4})) == [(n, "e") for n in range(3, 8)]
    assert names(history.replay("/", {"b": 2}, covered={"a": 4})) == [(3, "e"), (4, "e")]
    assert names(history.replay("/", {"b": 2}, covered={"b": 5})) == [(n, "e") for n in range(3, 6)]


def test_what_the_client_sent_itself_is_not_replayed_to_it() -> None:
    """`except: sender` holds for what was missed, too."""
    history = filled((1, 0.0, (event(1, "a", skip_sid="s1"),)), (2, 0.0, (event(2, "a", skip_sid="s2"),)))
    assert names(history.replay("/", {"a": 0}, sid="s1")) == [(2, "e")]
    assert names(history.replay("/", {"a": 0})) == [(1, "e"), (2, "e")]


def test_what_has_become_stale_is_not_replayed() -> None:
    """It would not be sent any more if it came now; whoever lacks it is told of no gap."""
    both = (event(2, "a"), event(2, "a", until=9.0))
    history = filled((1, 5.0, (event(1, "a", until=10.0),)), (2, 6.0, both))
    assert names(history.replay("/", {"a": 0}, now=10.0)) == [(1, "e"), (2, "e")]
    replay = history.replay("/", {"a": 0}, now=10.1)
    assert [place for _, place in replay.emissions] == [place_at(2)]
    assert (replay.upto, replay.finished) == (place_at(2), True)


def test_of_several_emissions_of_one_delivery_the_last_moves_the_client() -> None:
    """Cut between them it asks for all of them again, and loses none."""
    both = (event(5, "a", name="one"), event(5, "b", name="not"), event(5, "a", name="two"))
    history = filled((3, 0.0, ()), (5, 0.0, both), (6, 0.0, (event(6, "a"),)))
    replay = history.replay("/", {"a": 3})
    assert [(emission.event, place.offset) for emission, place in replay.emissions] == [
        ("one", 3),
        ("two", 5),
        ("e", 6),
    ]
    piece = history.replay("/", {"a": 3}, limit_bytes=1)
    assert (names(piece), piece.upto, piece.finished) == ([(5, "one"), (5, "two")], place_at(5), False)


def test_pieces_end_also_where_much_is_not_for_the_client() -> None:
    """A replay must not hold up the others while it finds nothing."""
    history = filled(*((offset, 0.0, (event(offset, "a", namespace="/"),)) for offset in range(5000)))
    piece = history.replay("/", {"a": -1}, covered={"a": -1}, limit_bytes=1000)
    assert (piece.emissions, piece.finished) == ([], False)
    assert 500 < piece.upto.offset < 4000
    whole = history.replay("/", {"a": -1}, covered={"a": -1})
    assert (whole.emissions, whole.finished, whole.upto) == ([], True, place_at(4999))


class _Plain(Struct):
    """The naive model: a list of (offset, time, emissions), and the number of those evicted."""

    deliveries: list[tuple[int, float, tuple[Emission, ...]]]
    evicted: int = 0

    def missed(
        self, namespace: str, rooms: Mapping[str, int], covered: Mapping[str, int], up_to: int
    ) -> list[Emission]:
        """What `History.replay` must find, without any index."""
        return [
            emission
            for offset, _, emissions in self.deliveries[self.evicted :]
            if offset <= up_to
            for emission in emissions
            if emission.namespace == namespace
            if any(room in rooms and rooms[room] < offset for room in emission.rooms)
            if not any(room in covered and covered[room] < offset for room in emission.rooms)
        ]


_ROOMS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True)
_EVENTS = st.lists(st.tuples(st.sampled_from(["/", "/x"]), _ROOMS), max_size=3)
_DELIVERIES = st.lists(
    st.tuples(st.integers(1, 3), st.sampled_from([0.0, 0.0, 1.0, 5.0]), _EVENTS), min_size=1, max_size=60
)
_MARKS = st.dictionaries(st.sampled_from("abcd"), st.integers(-1, 80), max_size=4)


def _run(
    history: History, gaps: list[tuple[int, float, list[tuple[str, list[str]]]]], start: int, batch: int = 1
) -> _Plain:
    """Give deliveries to both, in batches; evict from the model what the history says it has evicted."""
    plain = _Plain([])
    offset, time = start, 100.0
    waiting: list[tuple[int, float, tuple[Emission, ...]]] = []
    for number, (hole, later, events) in enumerate(gaps):
        offset += hole if number else 0
        time += later
        emissions = tuple(
            event(offset, *rooms, name=f"e{index}", namespace=namespace)
            for index, (namespace, rooms) in enumerate(events)
        )
        waiting.append((offset, time, emissions))
        if len(waiting) == batch or number == len(gaps) - 1:
            offsets, times, led_to = (list(column) for column in zip(*waiting, strict=True))
            history.extend(offsets, [place_at(one).checksum for one in offsets], times, led_to)
            history.trim(time)
            plain.deliveries += waiting
            plain.evicted = len(plain.deliveries) - len(history)
            waiting = []
    return plain


@given(
    _DELIVERIES,
    st.sampled_from([0, 4]),
    st.one_of(st.integers(600, 20_000), st.integers(20_000, 2_000_000)),
    st.sampled_from([3.0, 20.0, 1000.0]),
    st.integers(1, 7),
    _MARKS,
    _MARKS,
    st.integers(-1, 200),
    st.integers(1, 60),
)
def test_any_history_agrees_with_a_plain_list(
    deliveries: list[tuple[int, float, list[tuple[str, list[str]]]]],
    start: int,
    max_bytes: int,
    max_age: float,
    batch: int,
    rooms: dict[str, int],
    covered: dict[str, int],
    up_to: int,
    piece: int,
) -> None:
    """Whatever comes and is evicted: places, ages, whole replays, and replays in pieces."""
    history = History(max_bytes, max_age)
    plain = _run(history, deliveries, start, batch)
    kept = plain.deliveries[plain.evicted :]
    assert kept
    assert history.bytes <= max_bytes or len(kept) == 1
    assert all(time >= kept[-1][1] - max_age for _, time, _ in kept)
    for offset in range(kept[-1][0] + 2):
        assert history.holds(place_at(offset)) == (offset in {number for number, _, _ in kept})
    is_complete = start == 0 and not plain.evicted
    assert history.holds(Place(-1, place_at(kept[0][0]).checksum)) == is_complete
    expected = plain.missed("/", rooms, covered, up_to)
    whole = history.replay("/", rooms, covered=covered, up_to=up_to)
    assert [emission for emission, _ in whole.emissions] == expected
    assert whole.finished
    assert _in_pieces(history, rooms, covered, up_to, piece) == expected
    before = history.place_before(kept[-1][1] - 2)
    if before is not None:
        later = {offset for offset, time, _ in kept if time > kept[-1][1] - 2}
        assert all(offset > before.offset for offset in later)
        assert history.holds(before)


def _in_pieces(
    history: History, rooms: Mapping[str, int], covered: Mapping[str, int], up_to: int, limit: int
) -> list[Emission]:
    """The same replay in pieces, each from where the last one ended."""
    found: list[Emission] = []
    rooms = dict(rooms)
    for _ in range(1000):
        piece = history.replay("/", rooms, covered=covered, up_to=up_to, limit_bytes=limit)
        found += [emission for emission, _ in piece.emissions]
        if piece.finished:
            return found
        rooms = {room: max(mark, piece.upto.offset) for room, mark in rooms.items()}
    raise AssertionError("the pieces have no end")


@given(_DELIVERIES, _MARKS, st.integers(0, 70))
def test_a_client_that_is_cut_anywhere_gets_the_rest(
    deliveries: list[tuple[int, float, list[tuple[str, list[str]]]]], rooms: dict[str, int], cut: int
) -> None:
    """With the cursor of the last event that it received; nothing is lost, and nothing else comes twice."""
    history = History(ALL, ALL)
    _run(history, deliveries, 4)
    whole = history.replay("/", rooms).emissions
    received, cut_at = whole[:cut], whole[min(cut, len(whole)) - 1][1].offset if whole[:cut] else -1
    rest = history.replay("/", {room: max(mark, cut_at) for room, mark in rooms.items()}).emissions
    assert [emission for emission, _ in received] + [
        emission for emission, _ in rest if emission not in [old for old, _ in received]
    ] == [emission for emission, _ in whole]
    again = [emission for emission, _ in rest if emission in [old for old, _ in received]]
    assert len({emission.place for emission in again}) <= 1
