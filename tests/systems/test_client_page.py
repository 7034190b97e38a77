"""The client page in a real browser: served by the daemon and opened from disk."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.browser import Browser, BrowserPage
from tests.support.daemon import ROOT, Daemon, make_token, unique
from tests.support.services import Services

_FROM_DISK = (ROOT / "docs" / "websocket_client_example.html").as_uri()
_ATTACK = "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>"
_CLAIMS: dict[str, object] = {"permissions": ["monitoring:read", "approvals:write"], "roles": ["admin"]}


@pytest.fixture(scope="module")
def url(amqp_urls: Iterator[str]) -> str:
    """The virtual host of the daemon."""
    return next(amqp_urls)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, url: str) -> Iterator[Daemon]:
    """The daemon as shipped, with the page switched on and pages from disk let in."""
    environ = {"CLIENT_PAGE": "true", "CORS_ORIGINS": "null"}
    daemon = Daemon(tmp_path_factory.mktemp("page"), url, environ=environ)
    daemon.start()
    yield daemon
    assert daemon.stop() == 0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """Chromium, one for all tests of this module."""
    async with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[BrowserPage]:
    """A tab; a test's errors in it fail the test."""
    page = await browser.open()
    yield page
    assert await page.complaints() == []
    await page.close()


@pytest_asyncio.fixture(loop_scope="session")
async def services(url: str) -> AsyncIterator[Services]:
    """The portal's services."""
    async with Services(url) as services:
        yield services


@pytest.fixture
def project() -> str:
    """A project of the test's own."""
    return unique("apollo")


async def _connect(page: BrowserPage, daemon: Daemon, namespace: str, token: str | None) -> None:
    """Fill the form as a person does, and connect."""
    await page.fill("#server", daemon.url)
    await page.fill("#path", "/socket.io")
    await page.fill("#namespace", namespace)
    await page.fill("#token", token or "")
    await page.click("#connect")


async def _watch(page: BrowserPage, daemon: Daemon, project: str) -> None:
    """Open the served page and connect it to a project."""
    await page.goto(f"{daemon.url}/client")
    await _connect(page, daemon, f"/project/{project}", make_token("ann", projects=[project], **_CLAIMS))
    await page.wait("state === 'connected'")


def _change(project: str, **fields: object) -> dict[str, object]:
    return {
        "project_name": project,
        "old_state": "IDLE",
        "new_state": "SPRINT_ACTIVE",
        "timestamp": "2026-11-20T10:00:00Z",
        "triggered_by": "ann",
        **fields,
    }


async def _publish(services: Services, project: str, **fields: object) -> dict[str, object]:
    body = _change(project, **fields)
    await services.publish(f"project.{project}.state_change", body)
    return body


async def test_it_is_served_only_where_it_is_switched_on(daemon: Daemon, portal_daemon: Daemon) -> None:
    """Off by default."""
    assert daemon.get("/client")[0] == 200
    assert portal_daemon.get("/client")[0] == 404
    assert portal_daemon.get("/client/page.js")[0] == 404


@pytest.mark.parametrize("where", ["served", "from disk"])
async def test_events_arrive_and_commands_are_answered(
    page: BrowserPage, daemon: Daemon, services: Services, project: str, where: str
) -> None:
    """The way of a newcomer: the hint, a token, an event with its time and age, a command with its ack."""
    await page.goto(_FROM_DISK if where == "from disk" else f"{daemon.url}/client")
    assert "Watch events arrive" in await page.text("#empty")
    await _connect(page, daemon, f"/project/{project}", make_token("ann", projects=[project]))
    await page.wait("state === 'connected'")
    assert await page.text("#status-text") == f"Connected to /project/{project}"
    assert await page.text("#transport") == "websocket"
    await page.wait("document.querySelector('#latency').textContent.endsWith(' ms')")
    body = await _publish(services, project, reason="größer & <b>")
    await page.wait("document.querySelectorAll('.entry.event').length === 1")
    assert await page.text(".entry.event .entry-name") == "state_change"
    assert json.loads(await page.text(".entry.event pre")) == body
    assert await page.evaluate(
        r"/^\d\d:\d\d:\d\d\.\d{3}$/.test(document.querySelector('.entry time').textContent)"
    )
    await page.wait("/^[1-9] s ago$/.test(document.querySelector('.entry.event .entry-age').textContent)")
    await page.fill("#command", "join_project")
    await page.fill("#payload", json.dumps({"project_name": project}))
    await page.do("press", "#payload", "Control+Enter")
    await page.wait("document.querySelector('.entry.sent .ack.good') !== null")
    assert json.loads(await page.text(".entry.sent .ack pre")) == {"status": "ok"}
    await page.wait(
        "[...document.querySelectorAll('.entry-name')].some((each) => each.textContent === 'joined_project')"
    )
    await page.click("#connect")
    await page.wait("state === 'idle'")


async def test_refusals_are_shown(page: BrowserPage, daemon: Daemon, project: str) -> None:
    """Of a connection beside the form, of a command in its ack, of wrong JSON before it is sent."""
    await page.goto(f"{daemon.url}/client")
    await _connect(page, daemon, f"/project/{project}", make_token("ann", projects=["other"]))
    await page.wait("state === 'refused'")
    assert (await page.text("#notice")).startswith("FORBIDDEN: ")
    await _watch(page, daemon, project)
    await page.fill("#command", "join_project")
    await page.fill("#payload", "{project_name: 1}")
    await page.click("#send")
    assert (await page.text("#payload-problem")).startswith("This is not JSON: ")
    await page.fill("#payload", '{"project_name": 1}')
    await page.click("#send")
    await page.wait("document.querySelector('.entry.sent .ack.bad') !== null")
    assert "VALIDATION_FAILED" in await page.text(".entry.sent .ack")
    await page.fill("#command", "disconnect")
    await page.click("#send")
    assert "own word" in await page.text("#payload-problem")


async def test_a_page_that_may_not_connect_is_told_why(browser: Browser, portal_daemon: Daemon) -> None:
    """Opened from disk, where the daemon does not allow the origin `null`; it keeps trying."""
    page = await browser.open()
    await page.goto(_FROM_DISK)
    await _connect(page, portal_daemon, "/portal", "")
    await page.wait("!document.querySelector('#notice').hidden")
    assert "its origin is null" in await page.text("#notice")
    assert await page.text("#status-text") == "No answer, trying again"
    await page.close()


async def test_what_arrives_is_never_markup(
    page: BrowserPage, daemon: Daemon, services: Services, project: str
) -> None:
    """Markup in payloads, keys, claims, commands and filters is shown as the text that it is."""
    await page.goto(f"{daemon.url}/client")
    claims = {"projects": [project], "roles": [_ATTACK]}
    await _connect(page, daemon, f"/project/{project}", make_token("ann", **claims))
    await page.wait("state === 'connected'")
    body = await _publish(services, project, reason=_ATTACK, new_state={_ATTACK: [_ATTACK]})
    await page.wait("document.querySelectorAll('.entry.event').length === 1")
    assert json.loads(await page.text(".entry.event pre")) == body
    assert _ATTACK in await page.text("#token-hint")
    await page.fill("#command", _ATTACK)
    await page.fill("#payload", json.dumps({_ATTACK: _ATTACK}))
    await page.click("#send")
    await page.wait("document.querySelector('.entry.sent .ack.bad') !== null")
    await page.fill("#filter", _ATTACK)
    await page.click("#compact")
    assert await page.evaluate("document.querySelectorAll('main img, body script').length") == 0
    assert await page.evaluate("document.title") == "bridged client"


async def test_pause_filter_compact_and_clear(
    page: BrowserPage, daemon: Daemon, services: Services, project: str
) -> None:
    """What a person does when much arrives."""
    await _watch(page, daemon, project)
    for number in range(3):
        await _publish(services, project, reason=f"reason-{number}")
    await page.wait("document.querySelectorAll('.entry.event').length === 3")
    assert "reason-2" in await page.text(".entry")  # the newest first
    await page.fill("#filter", "REASON-1")
    shown = "[...document.querySelectorAll('.entry.event')].filter((each) => !each.hidden).length"
    assert await page.evaluate(shown) == 1
    await page.fill("#filter", "nothing like it")
    assert "Nothing matches" in await page.text("#empty")
    await page.fill("#filter", "")
    await page.click("#pause")
    await _publish(services, project, reason="reason-3")
    await page.wait("document.querySelector('#pause').textContent === 'Resume (1 new)'")
    assert await page.evaluate(shown) == 3
    await page.click("#pause")
    await page.wait(f"{shown} === 4")
    await page.click("#compact")
    assert (
        await page.evaluate("getComputedStyle(document.querySelector('.entry.event pre')).display") == "none"
    )
    assert "reason-3" in await page.text(".entry .entry-line")
    await page.click("#names button")
    assert (
        await page.evaluate("document.querySelector('#names button').getAttribute('aria-pressed')") == "true"
    )
    await page.click("#clear")
    assert await page.evaluate("document.querySelectorAll('.entry').length") == 0
    assert "Waiting for events" in await page.text("#empty")


async def test_a_flood_leaves_it_usable(
    page: BrowserPage, daemon: Daemon, services: Services, project: str
) -> None:
    """It keeps the newest 500 entries and counts all."""
    await _watch(page, daemon, project)
    for number in range(700):
        await _publish(services, project, reason=f"reason-{number}")
    await page.wait("document.querySelector('#total').textContent === '700'")
    await page.wait("document.querySelector('.entry')?.innerText.includes('reason-699')")
    assert await page.evaluate("document.querySelectorAll('.entry').length") == 500


async def test_every_preset_fits_the_shipped_configuration(page: BrowserPage, daemon: Daemon) -> None:
    """Each namespace lets the demo user in, and each command is known and takes the payload of the preset."""
    token = make_token("demo", projects=["apollo"], **_CLAIMS)
    await page.goto(f"{daemon.url}/client#token={token}")
    assert await page.evaluate("location.hash") == ""
    systems = await page.evaluate("SYSTEMS.filter((each) => !each.open)")
    assert isinstance(systems, list)
    assert [each["name"] for each in systems] == ["Portal", "Summit", "Agents", "SWE Agent"]
    for system in systems:
        await page.evaluate("disconnect()")
        await page.click(f'#presets >> text="{system["name"]}"')
        for namespace in system["namespaces"]:
            await page.evaluate(f"chooseNamespace({json.dumps(namespace['name'])}); connect()")
            name = json.dumps(f"Connected to {namespace['name']}")
            await page.wait(f"document.querySelector('#status-text').textContent === {name}")
            for command in namespace["commands"]:
                await page.click("#clear")
                await page.click(f'#commands >> text="{command}"')
                await page.click("#send")
                await page.wait(
                    "document.querySelector('.entry.sent .ack.good, .entry.sent .ack.bad') !== null"
                )
                ack = await page.text(".entry.sent .ack")
                assert '"ok"' in ack or '"success"' in ack or '"pong"' in ack or "UNROUTABLE" in ack, (
                    command,
                    ack,
                )


async def test_the_link_of_make_run_connects_by_itself(page: BrowserPage, daemon: Daemon) -> None:
    """The token leaves the address at once, and stays in this tab when it is loaded again."""
    token = make_token("demo", projects=["apollo"])
    await page.goto(f"{daemon.url}/client#preset=agents&token={token}")
    await page.wait("state === 'connected'")
    assert await page.evaluate("location.href") == f"{daemon.url}/client"
    assert await page.evaluate("document.querySelector('#path').value") == "/ws"
    await page.goto(f"{daemon.url}/client")
    assert await page.evaluate("document.querySelector('#token').value") == token


@pytest.mark.parametrize("width", [320, 400, 768, 1024, 1920])
async def test_it_fits_every_width(
    page: BrowserPage, daemon: Daemon, services: Services, project: str, width: int, tmp_path: Path
) -> None:
    """Nothing is wider than the window, in light and dark, whatever arrives."""
    await page.do("resize", width, 800)
    await _watch(page, daemon, project)
    await _publish(services, project, reason="long" * 500)
    await page.wait("document.querySelectorAll('.entry.event').length === 1")
    for dark in (False, True):
        await page.do("dark", dark)
        assert await page.evaluate("document.documentElement.scrollWidth") == width
        shot = tmp_path / f"{width}-{'dark' if dark else 'light'}.png"
        await page.do("screenshot", str(shot))
        assert shot.stat().st_size > 10_000
