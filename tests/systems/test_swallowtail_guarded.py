"""Swallowtail in the form that its document asks for in production: one line, and tokens are asked for."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.daemon import ROOT, make_token, unique
from tests.support.js_client import JsConnectError
from tests.support.swallowtail import CONFIG, Swallowtail


@pytest.mark.parametrize(
    ("token", "code"), [(None, "NOT_AUTHENTICATED"), ("nonsense", "INVALID_TOKEN")], ids=["none", "nonsense"]
)
async def test_a_connection_without_a_valid_token_is_refused(
    guarded: Swallowtail, token: str | None, code: str
) -> None:
    """`connect_error` with the reason."""
    with pytest.raises(JsConnectError) as refused:
        await guarded.connect(token=token)
    assert isinstance(refused.value.data, dict)
    assert refused.value.data["code"] == code


async def test_the_tokens_instances_may_be_followed(guarded: Swallowtail) -> None:
    """Those of the claim `instances`, and no other; a refusal is the event `error`."""
    token = make_token("ann", instances=[guarded.instance, unique("instance")])
    client = await guarded.connect(guarded.instance, token=token)
    other = unique("instance")
    answer = await client.call("subscribe_instance", {"instance_id": other})
    assert isinstance(answer, dict)
    assert (answer["status"], answer["code"]) == ("error", "FORBIDDEN")
    assert await client.wait_for("error") == [[{"message": answer["message"]}]]
    await guarded.publish("task_update", guarded.task_update(other), other)
    await guarded.publish("task_update", guarded.task_update())
    assert await client.wait_for("task_update") == [[guarded.task_update()]]


@pytest.mark.parametrize("instances", [{}, {"instances": []}, {"instances": ""}, {"instances": 1}], ids=str)
async def test_without_the_claim_nothing_may_be_followed(
    guarded: Swallowtail, instances: dict[str, object]
) -> None:
    """A token alone is not enough."""
    client = await guarded.connect(token=make_token("ann", **instances))
    answer = await client.call("subscribe_instance", {"instance_id": guarded.instance})
    assert isinstance(answer, dict)
    assert answer["code"] == "FORBIDDEN"


async def test_a_token_for_all_instances(guarded: Swallowtail) -> None:
    """`"*"` in the claim is all of them."""
    client = await guarded.connect(guarded.instance, token=make_token("ann", instances=["*"]))
    await guarded.publish("execution_step", guarded.execution_step())
    assert await client.wait_for("execution_step") == [[guarded.execution_step()]]


def _check(config: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  our own interpreter, no shell
        [sys.executable, "-m", "bridge", "run", "-c", str(config)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("by", ["line", "variable"])
def test_the_authenticated_form_needs_a_secret(tmp_path: Path, by: str) -> None:
    """Whichever way it is asked for: without JWT_SECRET the daemon does not start, and says so."""
    config, environ = CONFIG, {"SWALLOWTAIL_AUTH": "true"}
    if by == "line":
        shutil.copytree(CONFIG.parent, tmp_path / "config")
        config, environ = tmp_path / "config" / CONFIG.name, {}
        routes = tmp_path / "config" / "swallowtail" / "routes.yaml"
        content = yaml.safe_load(routes.read_text(encoding="utf-8"))
        content["auth"]["required"] = True
        routes.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        (tmp_path / "schemas").symlink_to(ROOT / "schemas")
    done = _check(config, **environ)
    assert done.returncode != 0
    assert "JWT_SECRET" in done.stderr
