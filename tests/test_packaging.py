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

_ROOT = Path(__file__).parent.parent
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
