"""What README.md and docs/ say: the first route works, links lead somewhere, tables are whole."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from bridge.errors import Code
from bridge.telemetry.metrics import Metrics

_ROOT = Path(__file__).parent.parent
_README = (_ROOT / "README.md").read_text(encoding="utf-8")
_PAGES = sorted(path.relative_to(_ROOT) for path in (_ROOT / "docs").rglob("*.md"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of config/ and schemas/ with the route and the schema of the README."""
    for name in ("config", "schemas"):
        shutil.copytree(_ROOT / name, tmp_path / name)
    blocks = re.findall(r"in `((?:config|schemas)/[\w./]+)`.*?```\w+\n(.*?)```", _README, re.S)
    for file, text in blocks:
        (tmp_path / file).write_text(text, encoding="utf-8")
    assert [file for file, _ in blocks] == ["config/routes/shop.yaml", "schemas/shop.py"]
    return tmp_path


def _bridged(folder: Path, *args: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  our own interpreter, no shell
        [sys.executable, "-m", "bridge", *args],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(_ROOT),
            "JWT_SECRET": "a secret of the tests, over 32 bytes long",
        },
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )


def test_first_route_is_free_of_faults(project: Path) -> None:
    """`bridged check` takes the README's route and shows it."""
    done = _bridged(project, "check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"shop\.events +order\.\{id\}\.\{change:placed\|shipped\} +Order +/orders", done.stdout)


def test_first_route_shows_the_event(project: Path) -> None:
    """`bridged explain`, called as in the README, shows the event that a browser would receive."""
    [(body, arguments)] = re.findall(r"echo '(.*)' \| \.venv/bin/bridged (explain .*)$", _README, re.M)
    done = _bridged(project, *arguments.split(), text=body)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "/orders" in done.stdout
    assert "order_placed" in done.stdout
    assert json.loads(body)["order_id"] in done.stdout


@pytest.mark.parametrize("page", [Path("README.md"), Path("CHANGELOG.md"), *_PAGES], ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    """To a file of the project, and to a heading or anchor that is there."""
    links = re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", (_ROOT / page).read_text(encoding="utf-8"))
    for target, anchor in links:
        file = _ROOT / page.parent / target if target else _ROOT / page
        assert file.exists(), target
        assert not anchor or anchor in _find_anchors(file), f"{target}#{anchor}"


def _find_anchors(page: Path) -> set[str]:
    """Those that are written out, and those that a renderer makes of headings."""
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.*)$", text, re.M)
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([^"]+)"', text))


def test_all_metrics_are_documented() -> None:
    """The table in docs/operations.md has every metric, with its labels, and no other."""
    text = (_ROOT / "docs/operations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(bridged_\w+)` \| (.*?) ?\|", text, re.M)
    documented = {name: set(re.findall(r"\w+", labels)) - {"le"} for name, labels in rows}
    metrics = {}
    for metric in vars(Metrics()).values():
        if hasattr(metric, "collect") and not isinstance(metric, CollectorRegistry):
            [family] = metric.collect()
            name = f"{family.name}_total" if family.type == "counter" else family.name
            metrics[name] = set(getattr(metric, "_labelnames", ()))
    assert documented == metrics


def test_all_codes_are_documented() -> None:
    """The table in docs/protocol.md has every code with its family, and no other."""
    text = (_ROOT / "docs/protocol.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (\w+) \|", text, re.M))
    assert rows == {code.value: code.kind for code in Code}


def test_the_architecture_names_modules_that_exist() -> None:
    """Each `folder/module.py` of docs/architecture.md is one of the bridge's; no folder is left out."""
    text = (_ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    modules = set(re.findall(r"`([a-z_]+/[a-z_]+\.py)`", text))
    assert [module for module in modules if not (_ROOT / "bridge" / module).is_file()] == []
    folders = {folder.parent.name for folder in (_ROOT / "bridge").glob("*/__init__.py")}
    assert folders == {folder for folder in folders if f"`{folder}/" in text}
