"""The client page: what the daemon serves of it, and that it is whole."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from bridge.config.model import Http
from bridge.web import client_page
from bridge.web.client_page import find_page_faults, find_page_folder, make_page_routes

_ROOT = Path(__file__).parents[2]
_DOCS = _ROOT / "docs"
_PAGE = (_DOCS / "websocket_client_example.html").read_text(encoding="utf-8")
_SCRIPTS = [path for path in sorted((_DOCS / "client").glob("*.js")) if not path.name.endswith(".min.js")]


@pytest.fixture
async def client() -> AsyncIterator[TestClient[web.Request, web.Application]]:
    """A server that has the page alone."""
    app = web.Application()
    app.add_routes(make_page_routes(_DOCS))
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_all_that_the_page_names_is_served(client: TestClient[web.Request, web.Application]) -> None:
    """By the addresses that lead to the same files when the page is opened from disk."""
    async with client.get("/client") as response:
        assert (response.status, response.content_type) == (200, "text/html")
        assert await response.text() == _PAGE
    parts = re.findall(r'(?:src|href)="((?!data:)[^"]+)"', _PAGE)
    assert len(parts) == 5
    for part in parts:
        async with client.get(f"/{part}") as response:
            assert (response.status, await response.read()) == (200, (_DOCS / part).read_bytes()), part
            assert response.content_type == ("text/css" if part.endswith("css") else "text/javascript")
            assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_the_page_runs_no_script_but_its_own(client: TestClient[web.Request, web.Application]) -> None:
    """Its policy takes scripts and styles from the daemon's files alone, and nobody may frame it."""
    async with client.get("/client") as response:
        policy = dict(
            part.strip().split(" ", 1) for part in response.headers["Content-Security-Policy"].split(";")
        )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", _PAGE)


async def test_nothing_else_of_the_folder_is_served(client: TestClient[web.Request, web.Application]) -> None:
    """The documentation beside the page stays where it is."""
    for path in (
        "/client/",
        "/client/../protocol.md",
        "/client/%2e%2e/protocol.md",
        "/protocol.md",
        "/client/x.js",
    ):
        async with client.get(path) as response:
            assert response.status == 404, path


def test_the_vendored_client_is_the_official_one() -> None:
    """Byte for byte the file of the locked npm package."""
    official = _ROOT / "tests" / "node_modules" / "socket.io-client" / "dist" / "socket.io.min.js"
    assert (_DOCS / "client" / "socket.io.min.js").read_bytes() == official.read_bytes()


@pytest.mark.parametrize("script", _SCRIPTS, ids=lambda script: script.name)
def test_no_script_writes_html(script: Path) -> None:
    """What a server sends goes into the page as text."""
    text = script.read_text(encoding="utf-8")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(|srcdoc", text
    )


def test_a_page_that_is_not_installed_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said at the start, not by a 404 later on; whoever asks for no page needs none."""
    assert find_page_folder() == _DOCS
    assert find_page_faults(Http(client_page=True), "bridge.yaml") == []
    monkeypatch.setattr(client_page, "PAGE", "missing.html")
    assert find_page_faults(Http(), "bridge.yaml") == []
    (fault,) = find_page_faults(Http(client_page=True), "bridge.yaml")
    assert str(fault).startswith("bridge.yaml: http.client_page: docs/missing.html is not there")
    monkeypatch.undo()
    monkeypatch.setattr(client_page, "_PARTS", {"client/missing.js": "text/javascript"})
    assert len(find_page_faults(Http(client_page=True), "bridge.yaml")) == 1
