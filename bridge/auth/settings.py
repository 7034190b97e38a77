"""Checks `auth.jwt` before any token comes: known algorithms of one family, and a key that is one."""

from collections.abc import Iterator
from typing import Final

import jwt as pyjwt

from bridge.config.model import Jwt

_FAMILIES: Final = {
    **dict.fromkeys(("HS256", "HS384", "HS512"), "HS"),
    **dict.fromkeys(("RS256", "RS384", "RS512"), "RS"),
    **dict.fromkeys(("PS256", "PS384", "PS512"), "PS"),
    **dict.fromkeys(("ES256", "ES256K", "ES384", "ES512"), "ES"),
    "EdDSA": "EdDSA",
}
_SECRET_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Shortest good secrets (RFC 7518, section 3.2: at least the size of the hash)."""


def find_jwt_faults(jwt: Jwt) -> Iterator[tuple[str, str]]:
    """Yield what is wrong, as a key below `auth.jwt` and a message; what is not set is no fault here."""
    if not jwt.algorithms:
        yield "algorithms", "is empty, so no token could be verified (write [HS256])"
    known = [algorithm for algorithm in jwt.algorithms if algorithm in _FAMILIES]
    for algorithm in jwt.algorithms:
        if algorithm not in known:
            yield "algorithms", f'unknown algorithm "{algorithm}" (known: {", ".join(_FAMILIES)})'
    families = sorted({_FAMILIES[algorithm] for algorithm in known})
    if len(families) > 1:
        yield (
            "algorithms",
            f"{', '.join(jwt.algorithms)} are of several families, {' and '.join(families)}: a public key "
            "could be taken for a shared secret (keep one family)",
        )
    elif families and not is_shared(jwt) and jwt.public_key:
        try:
            prepare_key(jwt)
        except (pyjwt.InvalidKeyError, ValueError, TypeError):
            yield (
                "public_key",
                f"is no PEM public key for {known[0]} (it starts with -----BEGIN PUBLIC KEY-----)",
            )


def is_shared(jwt: Jwt) -> bool:
    """Whether tokens are signed with a secret that both sides know: the family HS."""
    return any(_FAMILIES.get(algorithm) == "HS" for algorithm in jwt.algorithms)


def is_weak(jwt: Jwt) -> bool:
    """Whether the shared secret is short enough to be guessed from one token (RFC 7518, section 3.2)."""
    shortest = max((_SECRET_BYTES.get(name, 0) for name in jwt.algorithms), default=0)
    return bool(jwt.secret) and len(jwt.secret.encode()) < shortest


def prepare_key(jwt: Jwt) -> object:
    """The key of settings without faults, as PyJWT wants it; None when it is not set."""
    text = jwt.secret if is_shared(jwt) else jwt.public_key
    if not text:
        return None
    algorithm = next(name for name in jwt.algorithms if name in _FAMILIES)
    key: object = pyjwt.PyJWS().get_algorithm_by_name(algorithm).prepare_key(text)
    return key
