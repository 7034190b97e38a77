"""Every event of Summit's document reaches those who asked for it, as it was published, and nobody else."""

import pytest

from tests.support.daemon import unique
from tests.support.portal import names
from tests.support.summit import Summit
from tests.systems.summit_events import EXAMPLES, INVESTIGATION_EXAMPLES, Example


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: str(example.event))
async def test_event_arrives_as_it_was_published(summit: Summit, example: Example) -> None:
    """The document's own example is deeply equal in the browser; binary ones come as (id, bytes)."""
    client = await summit.watch()
    sent = example.of(summit.run, summit.investigation)
    await summit.publish(sent.key, sent.body)
    assert await client.wait_for(sent.event) == [sent.args(summit.investigation)]
    assert names(client) == [sent.event]


async def test_all_statuses_arrive(summit: Summit) -> None:
    """RUNNING, COMPLETED and FAILED; a progress may be a whole number."""
    client = await summit.watch()
    for status in ("RUNNING", "COMPLETED", "FAILED"):
        body = {"runId": summit.run, "status": status, "timestamp": 1234567890.5}
        await summit.publish(f"maestro.run.{summit.run}.status", body)
        await summit.publish(f"maestro.run.{summit.run}.update", {**body, "progress": 1})
    updates = await client.wait_for("maestro:run_update", 3)
    assert [args[0]["status"] for args in updates if isinstance(args[0], dict)] == [
        "RUNNING",
        "COMPLETED",
        "FAILED",
    ]
    await client.wait_for("maestro:status_update", 3)


async def test_what_the_document_does_not_name_stays_behind(summit: Summit) -> None:
    """An internal field of a run's event never reaches a browser; those of open bodies all do."""
    client = await summit.watch()
    body = {"runId": summit.run, "status": "FAILED", "timestamp": 1}
    await summit.publish(f"maestro.run.{summit.run}.status", {**body, "host": "10.0.0.1"})
    assert await client.wait_for("maestro:status_update") == [[body]]
    await summit.publish(f"investigation.{summit.investigation}.comment.add", {"anything": 1})
    assert await client.wait_for("comment:add") == [[{"anything": 1}]]


@pytest.mark.parametrize("size", [0, 1, 300_000])
async def test_binary_events_of_any_size_arrive(summit: Summit, size: int) -> None:
    """Bytes arrive as they were published, none, one or many."""
    client = await summit.member()
    update = bytes(number % 251 for number in range(size))
    await summit.publish(f"investigation.{summit.investigation}.graph.update", update)
    assert await client.wait_for("graph:update") == [[summit.investigation, update]]


async def test_each_subscription_shows_its_own_events(summit: Summit) -> None:
    """Updates, logs and status are subscribed to one by one, runs and investigations too."""
    commands = {
        "maestro:run_update": ("maestro:subscribe_run", {"runId": summit.run}),
        "maestro:log": ("maestro:subscribe_logs", {"runId": summit.run}),
        "maestro:status_update": ("maestro:subscribe_status", None),
    }
    clients = {}
    for event, (command, payload) in commands.items():
        clients[event] = await summit.connect()
        assert await clients[event].call(command, payload) == {"status": "ok"}
    member, all_seeing = await summit.member(), await summit.watch()
    for example in EXAMPLES:
        for of in (example.of(summit.run, summit.investigation), example.of("another", "another")):
            await summit.publish(of.key, of.body)
    await summit.tell(all_seeing)
    for event, client in clients.items():
        await client.wait_for(event, 3 if event == "maestro:status_update" else 1)
    own = [example.event for example in INVESTIGATION_EXAMPLES]
    await member.wait_for(own[-1])
    assert [names(client) for client in clients.values()] == [
        ["maestro:run_update"],
        ["maestro:log"],
        ["maestro:status_update"] * 3,
    ]
    assert names(member) == own


async def test_bystanders_receive_nothing(summit: Summit) -> None:
    """Another tenant who asked for the same ids, a client in no room, and one who has left: not one event."""
    stranger = await summit.watch(user=unique("eve"), tenant=unique("other"))
    untenanted = await summit.watch(user=unique("eve"), tenant=None)
    in_no_room = await summit.connect(user=unique("bob"))
    gone = await summit.watch(user=unique("cid"))
    for command, payload in (
        ("maestro:unsubscribe_run", {"runId": summit.run}),
        ("maestro:unsubscribe_logs", {"runId": summit.run}),
        ("maestro:unsubscribe_status", None),
        ("investigation:leave", {"investigationId": summit.investigation}),
    ):
        assert await gone.call(command, payload) == {"status": "ok"}
    watcher = await summit.watch()
    for example in EXAMPLES:
        sent = example.of(summit.run, summit.investigation)
        await summit.publish(sent.key, sent.body)
    await summit.tell(watcher)
    assert names(watcher) == [*(example.event for example in EXAMPLES), "maestro:status_update"]
    for client in (stranger, untenanted, in_no_room, gone):
        await client.call("maestro:unsubscribe_status")  # its answer comes behind whatever was sent before
        assert names(client) == []


async def test_without_a_tenant_is_the_default_tenant(summit: Summit) -> None:
    """An event without the header, and a token without the claim, belong to `default`."""
    client = await summit.watch(tenant=None)
    named = await summit.watch(tenant="default")
    bodies = [{"investigationId": summit.investigation, "number": number} for number in range(2)]
    await summit.publish(f"investigation.{summit.investigation}.comment.add", bodies[0], tenant=None)
    await summit.publish(f"investigation.{summit.investigation}.comment.add", bodies[1], tenant="default")
    for each in (client, named):
        assert await each.wait_for("comment:add", 2) == [[body] for body in bodies]


@pytest.mark.parametrize("tenant", ["*", "", "a b", "\u0000", "x" * 129])
async def test_an_event_of_no_tenant_is_nobodys(summit: Summit, tenant: str) -> None:
    """A header that names no tenant shows the event to nobody, not to all."""
    default, own = await summit.watch(tenant=None), await summit.watch()
    key = f"investigation.{summit.investigation}.comment.add"
    await summit.services.publish(key, {"text": "lost"}, headers={"tenant": tenant})
    await summit.publish(key, {"text": "mark"}, tenant=None)
    await summit.publish(key, {"text": "mark"})
    for client in (default, own):
        assert await client.wait_for("comment:add") == [[{"text": "mark"}]]


async def test_an_event_that_is_published_twice_is_shown_once(summit: Summit) -> None:
    """Under one message id, as a service does that did not hear the confirm; binary ones too."""
    client = await summit.watch()
    key = f"investigation.{summit.investigation}.graph.update"
    for _ in range(2):
        await summit.services.publish(
            key,
            b"once",
            content_type="application/octet-stream",
            headers={"tenant": summit.tenant},
            message_id=unique("message"),
        )
    message_id = unique("message")
    for _ in range(2):
        await summit.services.publish(
            key,
            b"again",
            content_type="application/octet-stream",
            headers={"tenant": summit.tenant},
            message_id=message_id,
        )
    await summit.tell(client)
    assert [args[1] for args in client.received("graph:update")] == [b"once", b"once", b"again"]
