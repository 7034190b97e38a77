"""What the project is delivered with: lock files, make, image, compose file, tables of the documentation."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from prometheus_client.metrics import MetricWrapperBase

from bridge.errors import Code
from bridge.telemetry.metrics import Metrics

_ROOT = Path(__file__).parent.parent
_PAGES = [*_ROOT.glob("*.md"), *_ROOT.glob("docs/**/*.md")]
_JAVASCRIPT = tuple(
    f"{folder}/{file}"
    for folder in ("tests", "examples", "benchmarks/rivals")
    for file in ("package-lock.json", "package.json")
)
_LOCKS = ("requirements.txt", "requirements-examples.txt", "requirements-dev.txt")


def _pins(file: str) -> dict[str, str]:
    """Name and version of everything that a requirements file holds."""
    text = (_ROOT / file).read_text(encoding="utf-8")
    return {
        canonicalize_name(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)", text, re.M)
    }


@pytest.mark.parametrize("file", [*_LOCKS, *_JAVASCRIPT])
def test_locks_name_no_host(file: str) -> None:
    """Where packages come from is the business of whoever installs them: no address and no path is locked."""
    text = (_ROOT / file).read_text(encoding="utf-8")
    assert not re.search(r"https?://|file:|--find-links|--(extra-)?index-url|\"resolved\"", text)


@pytest.mark.parametrize("file", _LOCKS)
def test_everything_is_hashed(file: str) -> None:
    """Each pinned package names the hashes of its files."""
    for block in re.split(r"\n(?=[\w.-]+==)", (_ROOT / file).read_text(encoding="utf-8"))[1:]:
        assert "--hash=sha256:" in block, block.splitlines()[0]


def test_locks_satisfy_the_project() -> None:
    """The lock files hold what pyproject.toml asks for, in the same versions."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    runtime, examples, everything = (_pins(file) for file in _LOCKS)
    asked = project["project"]["dependencies"] + project["dependency-groups"]["build"]
    for text in asked:
        wanted = Requirement(text)
        assert wanted.specifier.contains(runtime[canonicalize_name(wanted.name)]), text
    for extra, pins in (("examples", examples), ("test", everything)):
        for text in project["project"]["optional-dependencies"][extra]:
            wanted = Requirement(text)
            assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), text
    assert runtime.items() <= examples.items() <= everything.items()


@pytest.mark.parametrize(
    ("folder", "package"),
    [
        ("tests", "socket.io-client"),
        ("examples", "amqplib"),
        ("benchmarks/rivals", "socket.io"),
    ],
)
def test_javascript_packages_are_pinned(folder: str, package: str) -> None:
    """The official client, and whatever else a page needs, is locked to one version, with its hash."""
    lock = json.loads((_ROOT / folder / "package-lock.json").read_text(encoding="utf-8"))
    wanted = json.loads((_ROOT / folder / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert package in wanted
    assert wanted == {name: lock["packages"][f"node_modules/{name}"]["version"] for name in wanted}
    assert all("integrity" in package for name, package in lock["packages"].items() if name)


def test_make_explains_every_target() -> None:
    """`make` alone lists all targets that a person calls."""
    done = subprocess.run(["make"], cwd=_ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    phony = re.search(r"^\.PHONY: (.*)$", (_ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert phony is not None
    assert re.findall(r"^  make (\w+)", done.stdout, re.M) == phony[1].split()


def test_image_asks_for_its_health_by_python() -> None:
    """The health check of the image is valid Python, and nothing runs as root."""
    text = (_ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    check = re.search(r"^HEALTHCHECK .*?CMD (\[.*\])$", text, re.M)
    assert check is not None
    python, option, code = json.loads(check[1])
    assert (python, option) == ("python", "-c")
    assert "/healthz" in code
    compile(code, "HEALTHCHECK", "exec")
    assert re.search(r"^USER \d+$", text, re.M)


def test_compose_waits_for_health() -> None:
    """Each service starts when what it needs is healthy."""
    services = yaml.safe_load((_ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    assert services["bridge"]["depends_on"] == {"rabbitmq": {"condition": "service_healthy"}}
    assert services["example"]["depends_on"] == {"bridge": {"condition": "service_healthy"}}
    assert services["bridge"]["read_only"] is True


def test_all_metrics_are_documented() -> None:
    """The table in docs/operations.md has every metric, with its labels, and no other."""
    text = (_ROOT / "docs/operations.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(bridged_\w+)` \| (.*?) ?\|", text, re.M)
    documented = {name: set(re.findall(r"\w+", labels)) - {"le"} for name, labels in rows}
    metrics = [metric for metric in vars(Metrics()).values() if isinstance(metric, MetricWrapperBase)]
    assert documented == {
        f"{metric._name}_total" if metric._type == "counter" else metric._name: set(metric._labelnames)
        for metric in metrics
    }


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


@pytest.mark.parametrize(
    "page", [*_ROOT.glob("*.md"), *_ROOT.glob("docs/**/*.md")], ids=lambda page: page.name
)
def test_links_of_the_documents_lead_somewhere(page: Path) -> None:
    """To a file of the repository, and to a heading or anchor that is there."""
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)]*))?\)", page.read_text("utf-8")):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name}: {target}"
        if anchor:
            text = file.read_text(encoding="utf-8")
            anchors = set(re.findall(r'<a id="([^"]+)"', text))
            for heading in re.findall(r"^#+ (.*)$", text, re.M):
                anchors.add(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"))
            assert anchor in anchors, f"{page.name}: {target}#{anchor}"
