"""Ids of messages."""

from uuid import UUID

from bridge.flow.uuids import Uuids


def test_they_are_random_uuids_of_version_4() -> None:
    """As `uuid.uuid4` makes them, and no two alike, also beyond what is made at once."""
    uuids = Uuids()
    made = [uuids.take() for _ in range(2000)]
    assert len(set(made)) == 2000
    for text in made:
        assert UUID(text).version == 4
        assert UUID(text).variant == UUID("12345678-1234-4234-8234-123456789abc").variant
        assert str(UUID(text)) == text
    assert {text[19] for text in made} == set("89ab")
