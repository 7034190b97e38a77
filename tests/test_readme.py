"""What README.md and docs/ say: their links lead somewhere, and the first route works as it stands."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("page", [Path("README.md"), *_PAGES], ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    """A link to a file of the project names one that exists."""
    text = (_ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (_ROOT / page.parent / target).exists(), target
