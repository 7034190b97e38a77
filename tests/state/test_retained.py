"""Last values of rooms: the newest of each event, within bounds."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from bridge.model import Delivery, Emission
from bridge.state.retained import Retained


def deliver(body: bytes = b"{}") -> Delivery:
    return Delivery(exchange="e", routing_key="k", body=body)


def emit(event: str = "state", *rooms: str, namespace: str = "/", body: bytes = b"{}") -> Emission:
    return Emission(route="r", namespace=namespace, event=event, args=(Raw(body),), rooms=rooms or ("a",))


def test_the_newest_value_of_each_event_of_a_room_is_kept() -> None:
    """The longest unchanged comes first; other namespaces are others."""
    retained = Retained(10, 100_000)
    one, other, two = emit("state"), emit("mood"), emit("state", body=b'{"n":2}')
    for emission in (one, other, two, emit("state", namespace="/elsewhere")):
        retained.put(deliver(), [emission])
    assert retained.of("/", "a") == (other, two)
    assert retained.of("/", "b") == ()
    assert len(retained) == 2


def test_a_delivery_is_needed_until_the_last_of_its_values_is_replaced() -> None:
    """Then whoever keeps it elsewhere is told."""
    retained = Retained(10, 100_000)
    kept, gone = retained.put(deliver(), [emit("state", "a", "b")])
    assert kept is not None
    assert gone == []
    assert retained.put(deliver(), [emit("state", "a")])[1] == []
    assert retained.put(deliver(), [emit("state", "b")])[1] == [kept]
    assert kept.rooms == 0
    assert retained.put(deliver(), []) == (None, [])


def test_beyond_the_bounds_the_longest_untouched_room_goes() -> None:
    """In number of rooms, and in bytes of all of them."""
    retained = Retained(2, 10_000)
    first, _ = retained.put(deliver(), [emit("state", "a")])
    retained.put(deliver(), [emit("state", "b")])
    assert retained.put(deliver(), [emit("state", "c")])[1] == [first]
    assert retained.of("/", "a") == ()
    for room in "defgh":
        retained.put(deliver(b"x" * 300), [emit(event, room, body=b"0" * 300) for event in ("state", "mood")])
        assert retained.bytes <= 10_000
    assert retained.of("/", "d") == ()
    assert len(retained.of("/", "h")) == 2


def test_all_can_be_forgotten() -> None:
    """Each delivery is told once."""
    retained = Retained(10, 10_000)
    one, _ = retained.put(deliver(), [emit("state", "a", "b")])
    two, _ = retained.put(deliver(), [emit("mood", "a")])
    assert set(retained.clear()) == {one, two}
    assert (len(retained), retained.bytes, retained.of("/", "a")) == (0, 0, ())


def test_a_value_too_large_to_be_kept_still_replaces_the_last_one() -> None:
    """And drops nothing else; nor does a delivery that names no room."""
    retained = Retained(10, 10_000)
    first, _ = retained.put(deliver(), [emit("state", "a")])
    retained.put(deliver(), [emit("mood", "a"), emit("state", "b")])
    assert retained.put(deliver(b"x" * 2_500), [emit("state", "a", "c")]) == (None, [first])
    assert [emission.event for emission in retained.of("/", "a")] == ["mood"]
    assert retained.put(deliver(b"x" * 20_000), []) == (None, [])
    assert retained.put(deliver(b"x" * 2_500), [emit("mood", "a")]) == (None, [])
    assert len(retained) == 1


@given(
    st.lists(st.tuples(st.sampled_from("xyz"), st.sets(st.sampled_from("abcdef"), max_size=3)), max_size=40)
)
def test_what_is_kept_agrees_with_a_plain_model(puts: list[tuple[str, set[str]]]) -> None:
    """For any sequence of values; what is gone is what no room stands on, and is told once."""
    retained = Retained(4, 100_000)
    model: dict[str, dict[str, int]] = {}
    living: set[int] = set()
    numbers = {}
    for number, (event, rooms) in enumerate(puts):
        delivery = deliver(b"%d" % number)
        kept, gone = retained.put(
            delivery, [emit(event, *sorted(rooms), body=delivery.body)] if rooms else []
        )
        for room in sorted(rooms):
            events = model.pop(room, {})
            events.pop(event, None)
            model[room] = {**events, event: number}
        while len(model) > 4:
            del model[next(iter(model))]
        if kept is not None:
            numbers[kept] = number
            living.add(number)
        living -= {numbers[each] for each in gone}
        assert living == {each for events in model.values() for each in events.values()}
        for room in "abcdef":
            found = [int(bytes(memoryview(emission.args[0]))) for emission in retained.of("/", room)]
            assert found == list(model.get(room, {}).values())
    assert (retained.bytes == 0) == (not living)
