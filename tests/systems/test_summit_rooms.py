"""Attacks on rooms and keys: no id, tenant or number of joins shows a client what is not its own."""

import asyncio
import unicodedata

import aiohttp
import msgspec
import pytest

from tests.support.amqp import without_debug
from tests.support.daemon import unique
from tests.support.js_client import JsClient
from tests.support.portal import names
from tests.support.summit import Summit

LOOKALIKES = [
    "1",
    "\uff11",  # full-width
    "3",
    "\u0663",  # Arabic
    "a",
    "A",
    "\u0430",  # Cyrillic
    "é",
    unicodedata.normalize("NFD", "é"),
    ":",
    "%3A",
    "%253A",
    "a:b",
    "a%3Ab",
    "a/b",
    "a%2Fb",
    "{run}",
    "$each",
    "__proto__",
    "constructor",
    "null",
]
"""Ids that something between the browser and the room might take for one another; all are key words."""


def update(run: str) -> dict[str, object]:
    """A run's update."""
    return {"runId": run, "status": "RUNNING", "progress": 0.5, "timestamp": 1}


async def subscribe(client: JsClient, run: str) -> None:
    """Follow a run."""
    assert await client.call("maestro:subscribe_run", {"runId": run}) == {"status": "ok"}


async def test_a_separator_in_a_name_moves_nothing(summit: Summit) -> None:
    """Tenant `a:b` with run `c` and tenant `a` with run `b:c` never meet, in either direction."""
    a, b, c = unique("a"), unique("b"), unique("c")
    wide = await summit.connect(tenant=f"{a}:{b}")
    narrow = await summit.connect(tenant=a)
    await subscribe(wide, c)
    await subscribe(narrow, f"{b}:{c}")
    await summit.publish(f"maestro.run.{c}.update", update("wide"), tenant=f"{a}:{b}")
    await summit.publish(f"maestro.run.{b}:{c}.update", update("narrow"), tenant=a)
    for client, run in ((wide, "wide"), (narrow, "narrow")):
        assert await client.wait_for("maestro:run_update") == [[update(run)]]
        await client.call("maestro:unsubscribe_run", {"runId": "-"})
        assert names(client) == ["maestro:run_update"]


async def test_a_run_is_not_a_log_nor_an_investigation(summit: Summit) -> None:
    """Rooms of one kind do not show those of another, however the id is written."""
    client = await summit.connect()
    for run in (f"x:{summit.run}", f"logs:{summit.tenant}:{summit.run}", f"{summit.tenant}:{summit.run}"):
        await subscribe(client, run)
    assert await client.call("investigation:join", {"investigationId": summit.run}) == {"status": "ok"}
    watcher = await summit.watch()
    await summit.publish(f"maestro.run.{summit.run}.update", update(summit.run))
    await summit.tell(watcher)
    await client.call("maestro:unsubscribe_status")
    assert names(client) == []


async def test_ids_that_look_alike_are_different(summit: Summit) -> None:
    """Full-width digits, other alphabets, other compositions, percent signs: each is a run of its own."""
    clients = {run: await summit.connect(user=unique("ann")) for run in LOOKALIKES}
    for run, client in clients.items():
        await subscribe(client, run)
        assert await client.call("maestro:subscribe_status") == {"status": "ok"}
    for run in LOOKALIKES:
        await summit.publish(f"maestro.run.{run}.update", update(run))
    await summit.tell(*clients.values())
    for run, client in clients.items():
        assert (run, client.received("maestro:run_update")) == (run, [[update(run)]])


@pytest.mark.parametrize(
    "tenants",
    [("a", "A"), ("1", "\uff11"), ("a", "a:"), ("%3A", ":"), ("a", "a\u0301")],
    ids=ascii,
)
async def test_tenants_that_look_alike_are_different(summit: Summit, tenants: tuple[str, str]) -> None:
    """A tenant whose name only resembles another's sees nothing of it."""
    first, second = (f"{summit.tenant}{tenant}" for tenant in tenants)
    client, other = await summit.connect(tenant=first), await summit.connect(tenant=second)
    for each in (client, other):
        await each.call("maestro:subscribe_run", {"runId": summit.run})
    await summit.publish(f"maestro.run.{summit.run}.update", update(summit.run), tenant=first)
    await client.wait_for("maestro:run_update")
    await other.call("maestro:unsubscribe_status")
    assert other.received("maestro:run_update") == []


@pytest.mark.parametrize(
    "run",
    [
        "a.b",
        "a#",
        "*",
        "#",
        "a*",
        "a\u0000b",
        "\u0000",
        "a\nb",
        "a\u2028b",
        " ",
        "",
        "\u0085",
        "x" * 129,
        "\ud800",
    ],
    ids=ascii,
)
@pytest.mark.parametrize("command", ["maestro:subscribe_run", "investigation:join", "comment:add"])
async def test_an_id_that_is_no_key_word_is_refused(summit: Summit, command: str, run: str) -> None:
    """Wildcards, dots, NUL, whitespace, 129 characters, half a surrogate pair."""
    service = await summit.services.take("investigation.#")
    client = await summit.connect()
    if run == "\ud800":
        await _send_raw(summit, command)
    else:
        ack = await client.call(command, {"runId" if "run" in command else "investigationId": run})
        assert isinstance(ack, dict)
        assert ack["code"] in ("SUBSCRIPTION_FAILED", "VALIDATION_FAILED")
    assert service.messages == []


async def test_a_list_is_no_room(summit: Summit) -> None:
    """Nor is a mapping, a number, or a list of one: nothing is joined, and the refusal is one answer."""
    client = await summit.connect()
    for value in (["a", "b"], [summit.run], [], {"0": "a"}, 1, True, None, [[summit.run]]):
        ack = await client.call("maestro:subscribe_run", {"runId": value})
        assert isinstance(ack, dict)
        assert ack["code"] == "SUBSCRIPTION_FAILED"
    watcher = await summit.watch()
    for run in ("a", "b", summit.run, "1", "True", "true"):
        await summit.publish(f"maestro.run.{run}.update", update(run))
    await summit.tell(watcher)
    assert client.received("maestro:run_update") == []


async def test_no_field_of_a_client_becomes_a_header(summit: Summit) -> None:
    """What looks like a property or header of AMQP in a body stays in the body."""
    service = await summit.services.take(f"investigation.{summit.investigation}.#")
    client = await summit.connect()
    forged = {
        "headers": {"tenant": "x"},
        "x-user": "root",
        "CC": ["a"],
        "BCC": ["a"],
        "reply_to": "q",
        "tenant": "x",
    }
    await client.call("comment:add", {"investigationId": summit.investigation, **forged})
    (message,) = await service.wait_for()
    assert message.headers["tenant"] == summit.tenant
    assert message.headers["x-user"] == summit.user
    assert sorted(message.headers) == ["tenant", "x-namespace", "x-sid", "x-user"]
    assert (message.reply_to, message.user_id) == (None, None)


async def test_a_hundred_thousand_joins_are_capped(summit: Summit) -> None:
    """128 rooms are joined, all else is refused by `maestro:error`; the daemon does not grow by it."""
    without_debug()
    before = _resident(summit.daemon.pid)
    joined = 0
    async with aiohttp.ClientSession() as session:
        url = f"{summit.daemon.url}/socket.io/?EIO=4&transport=websocket"
        async with session.ws_connect(url, max_msg_size=0) as socket:
            await socket.receive_str()
            await socket.send_str("40/realtime," + msgspec.json.encode({"token": summit.token()}).decode())
            await socket.receive_str()
            for start in range(0, 100_000, 2000):
                for number in range(start, start + 2000):
                    await socket.send_str(
                        f'42/realtime,{number}["maestro:subscribe_run",{{"runId":"r{number}"}}]'
                    )
                joined += await _count_joined(socket, 2000)
    assert joined == 128
    assert _resident(summit.daemon.pid) - before < 50_000_000


async def _count_joined(socket: aiohttp.ClientWebSocketResponse, commands: int) -> int:
    """Read the acks of so many commands, and an event for each refusal; returns how many succeeded."""
    acks = joined = errors = 0
    async with asyncio.timeout(30):
        while acks < commands or errors < commands - joined:
            text = await socket.receive_str()
            if text == "2":
                await socket.send_str("3")
            elif text.startswith("43/realtime,"):
                (ack,) = msgspec.json.decode(text[text.index("[") :])
                acks += 1
                joined += ack["status"] == "ok"
                assert ack["status"] == "ok" or ack["code"] == "SUBSCRIPTION_FAILED"
            else:
                event, error = msgspec.json.decode(text[text.index("[") :])
                assert (event, error["code"]) == ("maestro:error", "SUBSCRIPTION_FAILED")
                errors += 1
    return joined


async def _send_raw(summit: Summit, command: str) -> None:
    """Send half a surrogate pair as an id; no client library would. The connection is closed."""
    async with aiohttp.ClientSession() as session:
        url = f"{summit.daemon.url}/socket.io/?EIO=4&transport=websocket"
        async with session.ws_connect(url) as socket:
            await socket.receive_str()
            await socket.send_str("40/realtime," + msgspec.json.encode({"token": summit.token()}).decode())
            await socket.receive_str()
            name = "runId" if "run" in command else "investigationId"
            await socket.send_str(f'42/realtime,["{command}",{{"{name}":"\\ud800"}}]')
            async with asyncio.timeout(5):
                assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE


def _resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096
