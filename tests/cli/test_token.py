"""Token: what `bridged token` prints is accepted by the daemon with the same configuration."""

import time

import jwt

from bridge.cli.exits import Exit
from bridge.cli.token import parse_claim
from tests.support.command import run_bridged
from tests.support.daemon import SECRET


def test_it_prints_a_token_and_nothing_else() -> None:
    """Lists may be given with commas or one by one."""
    done = run_bridged(
        *("token", "--user", "ada", "--projects", "apollo,gemini", "--projects", "x"),
        *(
            "--permissions",
            "approvals:write",
            "--roles",
            "admin",
            "--claim",
            "tenant=acme",
            "--claim",
            "level=3",
        ),
        *("--expires", "5m"),
    )
    assert (done.returncode, done.stderr) == (Exit.OK, "")
    claims = jwt.decode(done.stdout.strip(), SECRET, algorithms=["HS256"])
    assert 290 <= claims.pop("exp") - time.time() <= 301
    assert claims.pop("iat") <= time.time()
    assert claims == {
        "sub": "ada",
        "projects": ["apollo", "gemini", "x"],
        "permissions": ["approvals:write"],
        "roles": ["admin"],
        "tenant": "acme",
        "level": 3,
    }


def test_a_claim_is_json_if_it_reads_as_json_else_text() -> None:
    """Only the first equals sign counts."""
    assert parse_claim("a=[1, 2]") == ("a", [1, 2])
    assert parse_claim("a=b=c") == ("a", "b=c")
    assert parse_claim("a=") == ("a", "")
