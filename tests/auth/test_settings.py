"""Settings: `auth.jwt` is checked before any token comes."""

import pytest

from bridge.auth.settings import find_jwt_faults, is_weak, prepare_key
from bridge.config.model import Jwt

SECRET = "a secret of the tests, 32 bytes or more"


@pytest.mark.parametrize(
    ("jwt", "key", "words"),
    [
        (Jwt(algorithms=["none"]), "algorithms", 'unknown algorithm "none" (known: HS256'),
        (Jwt(algorithms=["HS255"]), "algorithms", 'unknown algorithm "HS255"'),
        (Jwt(algorithms=[]), "algorithms", "is empty"),
        (Jwt(algorithms=["HS256", "RS256"], secret=SECRET), "algorithms", "several families, HS and RS"),
        (Jwt(algorithms=["RS256"], public_key="not pem"), "public_key", "is no PEM public key for RS256"),
    ],
)
def test_an_unusable_configuration_is_said(jwt: Jwt, key: str, words: str) -> None:
    """One fault, at its key, with the remedy."""
    ((found, message),) = find_jwt_faults(jwt)
    assert found == key
    assert words in message


@pytest.mark.parametrize("jwt", [Jwt(), Jwt(algorithms=["RS256"]), Jwt(secret="short")])
def test_a_key_that_is_not_set_is_no_fault(jwt: Jwt) -> None:
    """An open system needs none; a short one works."""
    assert list(find_jwt_faults(jwt)) == []
    assert (prepare_key(jwt) is None) is not bool(jwt.secret)


@pytest.mark.parametrize(
    ("jwt", "weak"),
    [
        (Jwt(secret="x" * 31), True),
        (Jwt(secret="x" * 32), False),
        (Jwt(algorithms=["HS512"], secret="x" * 63), True),
        (Jwt(), False),
        (Jwt(algorithms=["RS256"], public_key="any"), False),
    ],
)
def test_a_secret_shorter_than_its_hash_is_weak(jwt: Jwt, weak: bool) -> None:
    """A short secret works, since a product may have one, and is warned of."""
    assert is_weak(jwt) is weak
