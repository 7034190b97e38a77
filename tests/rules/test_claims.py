"""The claims that a YAML value reads."""

import pytest

from bridge.rules.claims import find_claims


@pytest.mark.parametrize(
    ("value", "claims"),
    [
        (None, set()),
        (7, set()),
        ("plain", set()),
        ("{user.sub}", {"sub"}),
        ("{user.profile.name} of {user.tenant}, {now}", {"profile", "tenant"}),
        ("{project:-{user.home:-{user.sub}}}", {"home", "sub"}),
        ("{{user.sub}}", set()),
        ("{user.sub", set()),
        ({"joined": {"id": "{user.sub}", "more": ["{user.name}", {"x": "{sid}"}]}}, {"sub", "name"}),
    ],
)
def test_claims_are_found_wherever_they_stand(value: object, claims: set[str]) -> None:
    """In texts, defaults, lists and mappings; what is no template is left to those who compile it."""
    assert find_claims(value) == claims
