"""Verifies JSON Web Tokens purely: no clock, no network; and signs the ones that `bridged token` prints.

The library checks the signature alone. Claims are checked here, against a Struct: the library lets a
string `exp` and a `sub` with line breaks pass (PyJWT 2.15).
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

import jwt as pyjwt
import msgspec
from msgspec import UNSET, Struct, UnsetType

from bridge.auth.settings import find_jwt_faults, prepare_key
from bridge.config.model import Jwt
from bridge.model import LATEST_TIME, Principal
from bridge.rules.words import is_id

MAX_TOKEN_BYTES: Final = 8192
"""A longer token is refused before anything parses it."""


class FaultReason(StrEnum):
    """Why a token is not accepted, for whoever decides by it; clients read the message."""

    MISSING = "missing"
    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    SIGNATURE = "signature"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    AUDIENCE = "audience"
    ISSUER = "issuer"
    CLAIMS = "claims"
    NOT_CONFIGURED = "not_configured"
    REVOKED = "revoked"


class TokenFault(Struct, frozen=True, kw_only=True):
    """A token is not accepted."""

    reason: FaultReason
    message: str
    """Text for the client; it tells nothing that the client did not send."""


class _Registered(Struct, frozen=True, kw_only=True):
    """The claims that decide whether a token holds (RFC 7519, section 4.1)."""

    exp: float
    nbf: float | UnsetType = UNSET
    aud: str | list[str] | UnsetType = UNSET
    iss: str | UnsetType = UNSET


class TokenVerifier:
    """Verifies tokens under one configuration."""

    def __init__(self, jwt: Jwt, is_revoked: Callable[[Principal, float], bool] = lambda *_: False) -> None:
        """Prepare the key; ValueError says what `find_jwt_faults` would have found.

        Without a secret and a public key every token is refused, as an open system may run. `is_revoked`
        is asked of every token that holds otherwise, at the time (epoch seconds) of its use.
        """
        self._is_revoked = is_revoked
        self._jwt = jwt
        for key, message in find_jwt_faults(jwt):
            raise ValueError(f"auth.jwt.{key}: {message}")
        self._jws = pyjwt.PyJWS(algorithms=jwt.algorithms)
        self._key = prepare_key(jwt)

    def verify(self, token: object, now: float) -> Principal | TokenFault:
        """Say who the bearer is at `now` (epoch seconds), or why the token is not accepted."""
        if token is None or token == "":
            return _fault(FaultReason.MISSING, "A token is required.")
        if not isinstance(token, str):
            return _fault(FaultReason.MALFORMED, "The token must be a string.")
        if len(token) > MAX_TOKEN_BYTES:
            return _fault(FaultReason.TOO_LARGE, f"The token is over {MAX_TOKEN_BYTES} bytes.")
        if not token.isascii():
            return _fault(FaultReason.MALFORMED, "The token is malformed.")
        if self._key is None:
            return _fault(FaultReason.NOT_CONFIGURED, "This server accepts no tokens.")
        payload = self._verified_payload(token, self._key)
        if isinstance(payload, TokenFault):
            return payload
        return self._principal(payload, now)

    def _verified_payload(self, token: str, key: object) -> bytes | TokenFault:
        try:
            payload: bytes = self._jws.decode(token, key, algorithms=self._jwt.algorithms)  # type: ignore[arg-type]
        except (pyjwt.InvalidSignatureError, pyjwt.InvalidAlgorithmError, pyjwt.InvalidKeyError):
            return _fault(FaultReason.SIGNATURE, "The token's signature is not valid.")
        except (pyjwt.InvalidTokenError, ValueError, RecursionError):
            return _fault(FaultReason.MALFORMED, "The token is malformed.")
        return payload

    def _principal(self, payload: bytes, now: float) -> Principal | TokenFault:
        try:
            claims = msgspec.json.decode(payload, type=dict[str, object])
        except (ValueError, RecursionError):
            return _fault(FaultReason.MALFORMED, "The token is malformed.")
        try:
            registered = msgspec.convert(claims, _Registered)
        except msgspec.ValidationError as error:
            return _fault(FaultReason.CLAIMS, f"The token's claims are not valid: {error}.")
        fault = self._check_registered(registered, now)
        if fault is not None:
            return fault
        claims = self._completed(claims)
        user = claims.get(self._jwt.user)
        if not isinstance(user, str) or not is_id(user):
            return _fault(FaultReason.CLAIMS, f"The token's claim `{self._jwt.user}` must be a user id.")
        expires_at = min(registered.exp + self._jwt.leeway, LATEST_TIME)
        principal = Principal(user=user, claims=claims, expires_at=expires_at)
        if self._is_revoked(principal, now):
            return _fault(FaultReason.REVOKED, "The token has been revoked.")
        return principal

    def _check_registered(self, claims: _Registered, now: float) -> TokenFault | None:
        leeway, audience, issuer = self._jwt.leeway, self._jwt.audience, self._jwt.issuer
        if now >= claims.exp + leeway:
            return _fault(FaultReason.EXPIRED, "The token has expired.")
        if claims.nbf is not UNSET and now < claims.nbf - leeway:
            return _fault(FaultReason.NOT_YET_VALID, "The token is not valid yet.")
        if audience is not None and not _names_audience(claims.aud, audience):
            return _fault(FaultReason.AUDIENCE, "The token is not meant for this server.")
        if issuer is not None and claims.iss != issuer:
            return _fault(FaultReason.ISSUER, "The token's issuer is not accepted.")
        return None

    def _completed(self, claims: dict[str, object]) -> dict[str, object]:
        """The claims with aliases and defaults; both fill gaps, neither overrides what is there."""
        completed = dict(claims)
        for claim, other in self._jwt.aliases.items():
            if claim not in claims and other in claims:
                completed[claim] = claims[other]
        for claim, value in self._jwt.defaults.items():
            completed.setdefault(claim, value)
        return completed


def sign(jwt: Jwt, claims: Mapping[str, object], *, now: float, lifetime: float) -> str:
    """Make a token with these claims that is valid for `lifetime` seconds from `now`.

    `iat`, `exp` and, where configured, `aud` and `iss` are added. ValueError when the configuration
    holds no shared secret: the private key of the other families is not the bridge's to have.
    """
    algorithm = next((name for name in jwt.algorithms if name.startswith("HS")), None)
    if algorithm is None:
        raise ValueError(
            f"tokens of {', '.join(jwt.algorithms)} are signed by whoever holds the private key, not here"
        )
    if not jwt.secret:
        raise ValueError("auth.jwt.secret is empty: there is nothing to sign with")
    payload = {**claims, "iat": int(now), "exp": int(now + lifetime)}
    if jwt.audience is not None:
        payload["aud"] = jwt.audience
    if jwt.issuer is not None:
        payload["iss"] = jwt.issuer
    return pyjwt.encode(payload, jwt.secret, algorithm=algorithm)


def find_bearer_token(authorization: str) -> str | None:
    """The token of an HTTP header `Authorization: Bearer <token>` (RFC 6750); None when it holds none."""
    scheme, _, token = authorization.partition(" ")
    return (token.strip() or None) if scheme.lower() == "bearer" else None


def _names_audience(aud: str | list[str] | UnsetType, audience: str) -> bool:
    if isinstance(aud, list):
        return audience in aud
    return aud == audience


def _fault(reason: FaultReason, message: str) -> TokenFault:
    return TokenFault(reason=reason, message=message)
