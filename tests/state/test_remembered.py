"""Remembered: the last events of rooms."""

from msgspec import Raw, json

from bridge.model import Remember, RoomRef
from bridge.state.remembered import Remembered


def _room(name: str) -> RoomRef:
    return RoomRef(system="portal", room=name)


def _last(room: str, event: str, body: object, time: float) -> Remember:
    return Remember(rooms=(_room(room),), event=event, body=body, time=time)


def test_a_room_shows_the_last_of_each_event_and_when_anything_happened() -> None:
    """A later event of one kind replaces it and leaves the others."""
    remembered = Remembered(bound=10)
    remembered.put(_last("a", "state_change", {"new_state": "idle"}, 1.0))
    remembered.put(_last("a", "task_update", {"n": 1}, 2.0))
    remembered.put(_last("a", "state_change", {"new_state": "busy"}, 3.0))
    view = remembered.view(_room("a"))
    assert view.events == {"state_change": {"new_state": "busy"}, "task_update": {"n": 1}}
    assert view.time == 3.0


def test_a_body_that_is_kept_as_text_is_shown_as_its_value() -> None:
    """Most are replaced before anybody reads them, so they are decoded when a room is read."""
    remembered = Remembered(bound=10)
    text = Raw(b'{"new_state":"idle"}')
    remembered.put(Remember(rooms=(_room("a"),), event="x", body=text, time=1.0, decode=json.decode))
    remembered.put(Remember(rooms=(_room("a"),), event="y", body=None, time=1.0, decode=json.decode))
    assert remembered.view(_room("a")).events == {"x": {"new_state": "idle"}, "y": None}


def test_an_unknown_room_shows_nothing() -> None:
    """Before the first event there is no time."""
    view = Remembered(bound=10).view(_room("a"))
    assert (view.events, view.time) == ({}, None)


def test_a_view_does_not_change_with_later_events() -> None:
    """What was read stays as it was."""
    remembered = Remembered(bound=10)
    remembered.put(_last("a", "x", 1, 1.0))
    view = remembered.view(_room("a"))
    remembered.put(_last("a", "y", 2, 2.0))
    assert view.events == {"x": 1}


def test_the_room_longest_without_an_event_is_forgotten_first() -> None:
    """Reading a room does not keep it: all instances forget the same rooms."""
    remembered = Remembered(bound=2)
    remembered.put(_last("a", "x", 1, 1.0))
    remembered.put(_last("b", "x", 1, 2.0))
    remembered.put(_last("a", "x", 2, 3.0))
    remembered.view(_room("b"))
    remembered.put(_last("c", "x", 1, 4.0))
    assert len(remembered) == 2
    assert remembered.view(_room("b")).time is None
    assert remembered.view(_room("a")).events == {"x": 2}
