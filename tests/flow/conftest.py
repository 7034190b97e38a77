"""The club of the flow's tests: rules are compiled once, everything else is made anew for each test."""

from collections.abc import AsyncIterator

import pytest

from bridge.rules.compile import Rules
from tests.support.club import Club, compile_club
from tests.support.visits import Log


@pytest.fixture(scope="session")
def club_rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    """The rules of the club; nothing changes them."""
    return compile_club(tmp_path_factory.mktemp("club"))


@pytest.fixture
async def club(club_rules: Rules) -> AsyncIterator[Club]:
    """A club in which time stands still until a test moves it."""
    club = Club(club_rules)
    yield club
    await club.uplink.stop()
    club.presence.stop()


@pytest.fixture
async def log(club: Club) -> Log:
    """The log of the club, with something in it."""
    log = Log(club)
    await log.say("a", "b", "c")
    return log
