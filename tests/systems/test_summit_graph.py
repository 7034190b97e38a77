"""A shared graph: Y.js documents in browsers of their own converge, with the example service keeping it."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.daemon import ROOT, Daemon, unique
from tests.support.js_client import JsClients
from tests.support.page import Page, open_page
from tests.support.summit import Summit, visit_summit

_PAGE = Path(__file__).parent / "summit_page.mjs"
_SERVICE = ROOT / "examples" / "summit_service.py"


@pytest.fixture(scope="module")
def url(amqp_urls: Iterator[str]) -> str:
    """A virtual host of the example's own: its queue takes what other tests expect nobody to take."""
    return next(amqp_urls)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, url: str) -> Iterator[Daemon]:
    """The daemon as shipped."""
    daemon = Daemon(tmp_path_factory.mktemp("graph"), url)
    daemon.start()
    yield daemon
    assert daemon.stop() == 0


@pytest_asyncio.fixture(loop_scope="session")
async def summit(daemon: Daemon, url: str, js: JsClients) -> AsyncIterator[Summit]:
    """Browsers beside the example service."""
    async with visit_summit(daemon, url, js) as summit:
        yield summit


@contextlib.asynccontextmanager
async def run_service(summit: Summit) -> AsyncIterator[asyncio.subprocess.Process]:
    """The example service, once it takes commands."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(_SERVICE),
        env={**os.environ, "AMQP_URL": summit.services.amqp_url},
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        client = await summit.connect()
        async with asyncio.timeout(20):
            while not isinstance(await client.call("graph:sync", unique("probe"), b"\x00"), bytes):
                assert process.returncode is None
                await asyncio.sleep(0.1)
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        assert await process.wait() == 0


@pytest_asyncio.fixture(loop_scope="session")
async def service(summit: Summit) -> AsyncIterator[asyncio.subprocess.Process]:
    """The example service beside the test's browsers."""
    async with run_service(summit) as process:
        yield process


async def open_graph(stack: AsyncExitStack, summit: Summit, **claims: object) -> Page:
    """A page with the test's investigation, that has what the service has."""
    environ = {
        "URL": summit.daemon.url,
        "TOKEN": summit.token(user=unique("ann"), **claims),
        "INVESTIGATION": summit.investigation,
    }
    page = await stack.enter_async_context(open_page(_PAGE, environ))
    await page.wait_for("synced")
    return page


def is_graph(nodes: dict[str, object], notes: str) -> Callable[[object], bool]:
    """Whether a page shows this."""
    return lambda shown: shown == {"nodes": nodes, "notes": notes}


@pytest.mark.usefixtures("service")
async def test_two_documents_converge_and_a_late_joiner_too(summit: Summit) -> None:
    """Edits of both sides meet, also those of the same place; a third page fetches all of it."""
    async with AsyncExitStack() as stack:
        ann, bob = await open_graph(stack, summit), await open_graph(stack, summit)
        ann.tell(put=["n1", {"label": "Größe", "x": 1.5}])
        await bob.wait_for("graph", is_graph({"n1": {"label": "Größe", "x": 1.5}}, ""))
        bob.tell(put=["n2", {"label": "B"}])
        bob.tell(write=[0, "world"])
        await ann.wait_for("graph", lambda shown: isinstance(shown, dict) and shown["notes"] == "world")
        ann.tell(write=[0, "hello "])
        ann.tell(remove="n1")
        last = is_graph({"n2": {"label": "B"}}, "hello world")
        await ann.wait_for("graph", last)
        await bob.wait_for("graph", last)
        late = await open_graph(stack, summit)
        assert ("graph", {"nodes": {"n2": {"label": "B"}}, "notes": "hello world"}) in late.shown


@pytest.mark.usefixtures("service")
async def test_edits_at_the_same_moment_converge(summit: Summit) -> None:
    """Both write many times without waiting: in the end both, and a late joiner, show the same text."""
    async with AsyncExitStack() as stack:
        pages = [await open_graph(stack, summit) for _ in range(2)]
        for number in range(40):
            pages[0].tell(write=[0, "a"])
            pages[1].tell(write=[0, "b"])
            pages[0].tell(put=["shared", number])
            pages[1].tell(put=["shared", -number])

        def is_whole(shown: object) -> bool:
            return isinstance(shown, dict) and len(shown["notes"]) == 80

        texts = [await page.wait_for("graph", is_whole) for page in pages]
        late = await open_graph(stack, summit)
        shown = late.shown[-2][1] if late.shown[-1][0] == "synced" else late.shown[-1][1]
        assert is_whole(shown)
        assert isinstance(shown, dict)
        assert all(isinstance(text, dict) and text["notes"] == shown["notes"] for text in texts)
        assert sorted(shown["notes"]) == ["a"] * 40 + ["b"] * 40
        for page, text in zip(pages, texts, strict=True):
            if text != shown:
                await page.wait_for("graph", lambda now: now == shown)


@pytest.mark.usefixtures("service")
async def test_a_page_that_was_away_catches_up(summit: Summit) -> None:
    """What both sides changed while one was offline is merged when it comes back."""
    async with AsyncExitStack() as stack:
        ann, bob = await open_graph(stack, summit), await open_graph(stack, summit)
        ann.tell(put=["n1", 1])
        await bob.wait_for("graph", is_graph({"n1": 1}, ""))
        bob.tell(leave=True)
        bob.tell(put=["offline", True])
        ann.tell(put=["n2", 2])
        await ann.wait_for("graph", is_graph({"n1": 1, "n2": 2}, ""))
        bob.tell(enter=True)
        both = is_graph({"n1": 1, "n2": 2, "offline": True}, "")
        await ann.wait_for("graph", both)
        await bob.wait_for("graph", both)


@pytest.mark.usefixtures("service")
async def test_another_tenants_graph_of_that_name_is_another(summit: Summit) -> None:
    """A page of another tenant finds an empty graph under the same id, and its changes reach nobody here."""
    async with AsyncExitStack() as stack:
        ann = await open_graph(stack, summit)
        ann.tell(put=["secret", 1])
        await ann.wait_for("graph", is_graph({"secret": 1}, ""))
        eve = await open_graph(stack, summit, tenant=unique("other"))
        eve.tell(put=["mine", 1])
        await eve.wait_for("graph", is_graph({"mine": 1}, ""))
        late = await open_graph(stack, summit)
        assert ("graph", {"nodes": {"secret": 1}, "notes": ""}) in late.shown
        assert all(shown == {"nodes": {"mine": 1}, "notes": ""} for on, shown in eve.shown if on == "graph")


@pytest.mark.usefixtures("service")
async def test_the_example_survives_junk(summit: Summit) -> None:
    """Bytes that are no Y.js are refused (sync) or left out (update), and the graph is served on."""
    client = await summit.member()
    ack = await client.call("graph:sync", summit.investigation, b"\xff\xff")
    assert isinstance(ack, dict)
    assert (ack["code"], ack["message"]) == ("REJECTED", "This is no state vector")
    for junk in (b"", b"\xff" * 40, b"\x01\x01"):
        await client.call("graph:update", summit.investigation, junk)
    async with AsyncExitStack() as stack:
        page = await open_graph(stack, summit)
        page.tell(put=["n", 1])
        await page.wait_for("graph", is_graph({"n": 1}, ""))


@pytest.mark.usefixtures("service")
async def test_the_example_answers_changes(summit: Summit) -> None:
    """Annotations and comments come back to all of the investigation, the sender too, and to nobody else."""
    ann, bob = await summit.member(), await summit.member(user=unique("bob"))
    stranger = await summit.member(user=unique("eve"), tenant=unique("other"))
    for event in ("annotation:add", "annotation:update", "annotation:delete", "comment:add"):
        said = {"investigationId": summit.investigation, "text": event}
        assert (await ann.call(event, said)).__class__ is dict
        for client in (ann, bob):
            ((seen,),) = await client.wait_for(event)
            assert isinstance(seen, dict)
            assert {**seen, "timestamp": ""} == {**said, "user_id": summit.user, "timestamp": ""}
    await stranger.call("investigation:leave", {"investigationId": summit.investigation})
    assert stranger.events == []


@pytest.mark.usefixtures("service")
async def test_the_example_runs_a_run(summit: Summit) -> None:
    """The demo run of the tenant `default` shows updates, logs and status."""
    client = await summit.connect(tenant=None)
    for command in ("maestro:subscribe_run", "maestro:subscribe_logs"):
        assert await client.call(command, {"runId": "demo"}) == {"status": "ok"}
    assert await client.call("maestro:subscribe_status") == {"status": "ok"}
    for event in ("maestro:run_update", "maestro:log", "maestro:status_update"):
        await client.wait_for(event, timeout=15)


async def test_the_example_takes_up_what_came_while_it_was_away(summit: Summit) -> None:
    """Changes that are sent while it is stopped lie in its queue."""
    async with run_service(summit):
        pass
    client = await summit.member()
    said = {"investigationId": summit.investigation, "text": "later"}
    ack = await client.call("comment:add", said)
    assert isinstance(ack, dict)
    assert ack["status"] == "ok"
    async with run_service(summit):
        await client.wait_for("comment:add")
