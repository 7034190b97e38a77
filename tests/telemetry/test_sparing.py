"""How often the log says the same."""

from bridge.telemetry.sparing import Sparing


def test_a_line_a_minute_about_each_thing() -> None:
    """Also where the clock was set back meanwhile."""
    sparing = Sparing()
    assert [sparing.may_say("a", now) for now in (1_000, 1_001, 1_059.9, 1_060, 1_061, 900)] == [
        True,
        False,
        False,
        True,
        False,
        True,
    ]
    assert sparing.may_say("b", 901)
