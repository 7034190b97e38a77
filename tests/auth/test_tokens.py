"""Tokens: which are accepted, which are not, and what a client is told."""

import base64
import json

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bridge.auth.tokens import (
    MAX_TOKEN_BYTES,
    FaultReason,
    TokenFault,
    TokenVerifier,
    find_bearer_token,
    sign,
)
from bridge.config.model import Jwt
from bridge.config.units import Duration
from bridge.model import Principal

SECRET = "a secret of the tests, 32 bytes or more"
NOW = 1_800_000_000.0
HS = Jwt(secret=SECRET)


def _token(claims: object, algorithm: str = "HS256", secret: str = SECRET) -> str:
    payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    return pyjwt.PyJWS().encode(payload, secret, algorithm=algorithm)


def _verify(claims: object, jwt: Jwt = HS, now: float = NOW) -> Principal | TokenFault:
    return TokenVerifier(jwt).verify(_token(claims), now)


def _reason(outcome: Principal | TokenFault) -> FaultReason | None:
    return outcome.reason if isinstance(outcome, TokenFault) else None


def test_a_valid_token_says_who_its_bearer_is() -> None:
    """The user, all claims, and when it ends."""
    claims = {"sub": "ada", "exp": NOW + 60, "projects": ["apollo"]}
    principal = _verify(claims)
    assert principal == Principal(user="ada", claims=claims, expires_at=NOW + 60)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"sub": "ada", "exp": NOW}, FaultReason.EXPIRED),
        ({"sub": "ada", "exp": NOW + 60, "nbf": NOW + 1}, FaultReason.NOT_YET_VALID),
        ({"sub": "ada"}, FaultReason.CLAIMS),
        ({"sub": "ada", "exp": str(NOW + 60)}, FaultReason.CLAIMS),
        ({"sub": "ada", "exp": True}, FaultReason.CLAIMS),
        ({"sub": "ada", "exp": None}, FaultReason.CLAIMS),
        ({"sub": "ada", "exp": 10**400}, FaultReason.CLAIMS),
        ({"sub": "ada", "exp": NOW + 60, "nbf": -(10**400)}, FaultReason.CLAIMS),
        ({"sub": "ada", "exp": NOW + 60, "nbf": "soon"}, FaultReason.CLAIMS),
        ({"sub": "ada", "exp": NOW + 60, "aud": {"a": 1}}, FaultReason.CLAIMS),
        ({"exp": NOW + 60}, FaultReason.CLAIMS),
        ({"sub": 7, "exp": NOW + 60}, FaultReason.CLAIMS),
        ({"sub": "", "exp": NOW + 60}, FaultReason.CLAIMS),
        ({"sub": "a b", "exp": NOW + 60}, FaultReason.CLAIMS),
        ({"sub": "ada\r\nCRITICAL", "exp": NOW + 60}, FaultReason.CLAIMS),
        ({"sub": "a\u0000", "exp": NOW + 60}, FaultReason.CLAIMS),
        ({"sub": "a" * 129, "exp": NOW + 60}, FaultReason.CLAIMS),
        (["sub", "ada"], FaultReason.MALFORMED),
        (b"not json", FaultReason.MALFORMED),
        (b'{"sub": "ada", "exp": NaN}', FaultReason.MALFORMED),
        (b"[" * 5000, FaultReason.MALFORMED),
    ],
)
def test_claims_that_do_not_hold_are_refused(claims: object, reason: FaultReason) -> None:
    """Missing, wrongly typed and outlived claims, each with its stable reason."""
    assert _reason(_verify(claims)) is reason


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (None, FaultReason.MISSING),
        ("", FaultReason.MISSING),
        (["a.b.c"], FaultReason.MALFORMED),
        ({"token": "a"}, FaultReason.MALFORMED),
        (17, FaultReason.MALFORMED),
        ("abc", FaultReason.MALFORMED),
        ("a.b.c", FaultReason.MALFORMED),
        ("é.é.é", FaultReason.MALFORMED),
        ("\ud800", FaultReason.MALFORMED),
        ("a" * (MAX_TOKEN_BYTES + 1), FaultReason.TOO_LARGE),
    ],
)
def test_what_is_no_token_is_refused_without_an_exception(token: object, reason: FaultReason) -> None:
    """Whatever a client sends as its token."""
    assert _reason(TokenVerifier(HS).verify(token, NOW)) is reason


def _segment(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "header",
    [b"[" * 3000, b'{"alg": "none"}', b'{"alg": 1}', b"{}", b'{"alg":"HS256","b64":false,"crit":["b64"]}'],
)
def test_a_hostile_header_is_refused_before_any_claim_is_read(header: bytes) -> None:
    """Deep nesting, no algorithm, a detached payload."""
    claims = json.dumps({"sub": "ada", "exp": NOW + 60}).encode()
    token = f"{_segment(header)}.{_segment(claims)}."
    assert _reason(TokenVerifier(HS).verify(token, NOW)) in {FaultReason.MALFORMED, FaultReason.SIGNATURE}


def test_another_secret_or_another_algorithm_is_a_bad_signature() -> None:
    """The algorithms are fixed by the configuration, not by the token."""
    claims = {"sub": "ada", "exp": NOW + 60}
    verifier = TokenVerifier(HS)
    assert _reason(verifier.verify(_token(claims, secret="x" * 32), NOW)) is FaultReason.SIGNATURE
    longer = _token(claims, "HS512", secret="x" * 64)
    assert _reason(verifier.verify(longer, NOW)) is FaultReason.SIGNATURE


def test_a_public_key_is_never_taken_for_a_shared_secret() -> None:
    """A token of HS256 signed with the PEM text is refused by an ES256 verifier."""
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    verifier = TokenVerifier(Jwt(algorithms=["ES256"], public_key=pem))
    claims = {"sub": "ada", "exp": NOW + 60}
    assert isinstance(verifier.verify(pyjwt.encode(claims, private, "ES256"), NOW), Principal)
    header, body = _segment(b'{"alg":"HS256"}'), _segment(json.dumps(claims).encode())
    assert _reason(verifier.verify(f"{header}.{body}.{_segment(b'x' * 32)}", NOW)) is FaultReason.SIGNATURE


def test_audience_and_issuer_are_required_once_configured() -> None:
    """A token without them is not meant for this server."""
    jwt = Jwt(secret=SECRET, audience="portal", issuer="https://id.example")
    good = {"sub": "ada", "exp": NOW + 60, "aud": ["x", "portal"], "iss": "https://id.example"}
    assert isinstance(_verify(good, jwt), Principal)
    assert isinstance(_verify(good | {"aud": "portal"}, jwt), Principal)
    assert _reason(_verify(good | {"aud": "x"}, jwt)) is FaultReason.AUDIENCE
    assert _reason(_verify({"sub": "ada", "exp": NOW + 60}, jwt)) is FaultReason.AUDIENCE
    assert _reason(_verify(good | {"iss": "https://evil.example"}, jwt)) is FaultReason.ISSUER


def test_leeway_forgives_a_clock_and_moves_the_end() -> None:
    """What is accepted late also ends late: a session does not die the moment it begins."""
    jwt = Jwt(secret=SECRET, leeway=Duration("30s"))
    outcome = _verify({"sub": "ada", "exp": NOW - 10, "nbf": NOW + 20}, jwt)
    assert isinstance(outcome, Principal)
    assert outcome.expires_at == NOW + 20


def test_an_expiry_beyond_all_timers_is_cut() -> None:
    """The year 9999 is late enough."""
    outcome = _verify({"sub": "ada", "exp": 1e300})
    assert isinstance(outcome, Principal)
    assert outcome.expires_at == 253_402_300_799.0


def test_aliases_and_defaults_fill_gaps_and_override_nothing() -> None:
    """`project_access` is read where `projects` is absent; a default cannot make up an expiry."""
    jwt = Jwt(
        secret=SECRET,
        aliases={"projects": "project_access"},
        defaults={"tenant": "default", "projects": [], "exp": NOW + 99},
    )
    base = {"sub": "ada", "exp": NOW + 60}
    old = _verify(base | {"project_access": ["apollo"]}, jwt)
    assert isinstance(old, Principal)
    assert (old.claims["projects"], old.claims["tenant"]) == (["apollo"], "default")
    both = _verify(base | {"project_access": ["apollo"], "projects": ["gemini"], "tenant": "t1"}, jwt)
    assert isinstance(both, Principal)
    assert (both.claims["projects"], both.claims["tenant"]) == (["gemini"], "t1")
    assert _reason(_verify({"sub": "ada"}, jwt)) is FaultReason.CLAIMS


def test_the_user_may_stand_in_another_claim() -> None:
    """`auth.jwt.user` names it."""
    outcome = _verify({"uid": "ada", "exp": NOW + 60}, Jwt(secret=SECRET, user="uid"))
    assert isinstance(outcome, Principal)
    assert outcome.user == "ada"


def test_without_a_key_every_token_is_refused() -> None:
    """An open system runs without a secret; it lets nobody sign in."""
    outcome = TokenVerifier(Jwt()).verify(_token({"sub": "ada", "exp": NOW + 60}), NOW)
    assert _reason(outcome) is FaultReason.NOT_CONFIGURED


def test_an_unusable_configuration_is_said_at_once() -> None:
    """Before any client connects."""
    with pytest.raises(ValueError, match=r"auth\.jwt\.algorithms: is empty"):
        TokenVerifier(Jwt(algorithms=[]))


def test_a_signed_token_is_accepted() -> None:
    """What `bridged token` prints fits the same configuration, audience and issuer included."""
    jwt = Jwt(secret=SECRET, audience="portal", issuer="me")
    token = sign(jwt, {"sub": "ada", "projects": ["*"]}, now=NOW, lifetime=60)
    principal = TokenVerifier(jwt).verify(token, NOW)
    assert isinstance(principal, Principal)
    assert (principal.user, principal.expires_at) == ("ada", NOW + 60)


def test_nothing_is_signed_without_a_shared_secret() -> None:
    """The error says who can."""
    with pytest.raises(ValueError, match="private key"):
        sign(Jwt(algorithms=["RS256"]), {"sub": "ada"}, now=NOW, lifetime=60)
    with pytest.raises(ValueError, match="nothing to sign with"):
        sign(Jwt(), {"sub": "ada"}, now=NOW, lifetime=60)


@pytest.mark.parametrize(
    ("header", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        ("Bearer", None),
        ("Bearer  ", None),
        ("Basic abc", None),
        ("abc", None),
        ("", None),
    ],
)
def test_a_bearer_token_is_found_in_its_header(header: str, token: str | None) -> None:
    """The scheme is written in any case; another scheme, or nothing behind it, is no token."""
    assert find_bearer_token(header) == token
