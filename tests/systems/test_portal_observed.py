"""What operators see of the portal: metrics by what the configuration names, and a log without secrets."""

import pytest

from tests.support.js_client import JsConnectError
from tests.support.portal import Portal


async def test_metrics_count_events_and_commands(portal: Portal) -> None:
    """Events by route and outcome, commands by name and outcome, clients by namespace, queues, broker."""
    commands = await portal.take_commands()
    before = portal.daemon.metrics()
    client = await portal.project_client()
    chat = await portal.chat_client()
    await portal.tell(client)
    await chat.call("send_message", {"content": "hello", "type": "message"})
    await chat.call("dance")
    await commands.wait_for()
    metrics = portal.daemon.metrics()

    def grown(*parts: str) -> float:
        return sum(
            value - before.get(name, 0)
            for name, value in metrics.items()
            if all(part in name for part in parts)
        )

    assert grown("bridged_events_total", "state_change", 'outcome="sent"') >= 1
    assert grown("bridged_commands_total", "send_message", 'outcome="ok"') == 1
    assert grown("bridged_commands_total", 'outcome="UNKNOWN_COMMAND"') == 1
    assert grown("bridged_clients", 'namespace="/chat/{project}"') == 1
    assert grown("bridged_event_age_seconds_count") >= 1
    assert metrics['bridged_broker_up{connection="read"}'] == 1
    assert metrics['bridged_broker_up{connection="publish"}'] == 1
    assert {name for name in metrics if name.startswith("bridged_queue_length")}


async def test_metrics_and_log_name_nobodys_data(portal: Portal) -> None:
    """Labels hold no project and no user; the log holds users, but no token, payload or connection's id."""
    client = await portal.chat_client()
    good, bad = portal.token(user=portal.user), portal.token(user="eve", projects=[])
    with pytest.raises(JsConnectError):
        await portal.chat_client(token=bad)
    await client.emit("authenticate", {"token": good})
    await client.wait_for("authenticated")
    await client.emit("send_message", {"content": "s3cret-content", "type": "message"})
    await client.wait_for("error")
    await client.emit("dance-s3cret", {"s3cret": 1})
    await client.wait_for("error", 2)

    samples = "\n".join(portal.daemon.metrics())
    assert portal.project not in samples
    assert portal.user not in samples
    log = portal.daemon.log
    assert client.sid is not None
    for secret in (good, bad, "s3cret", client.sid):
        assert secret not in log
        assert secret not in samples


async def test_the_log_keeps_an_audit(portal: Portal) -> None:
    """One line for each connection that is opened, refused and closed: who, where from, why."""
    client = await portal.project_client()
    with pytest.raises(JsConnectError):
        await portal.connect("/admin")
    await client.disconnect()
    await portal.daemon.until(lambda: "connection.closed" in "".join(_lines(portal)), 5, "the audit")
    opened, closed = (
        next(line for line in _lines(portal) if f"connection.{what}" in line) for what in ("opened", "closed")
    )
    assert "127.0.0.1" in opened
    assert "reason=client_disconnect" in closed
    refused = [line for line in portal.daemon.log.splitlines() if "connection.refused" in line][-1]
    assert "reason=FORBIDDEN" in refused
    assert "namespace=/admin" in refused


def _lines(portal: Portal) -> list[str]:
    """The lines of the log that name the test's user."""
    return [line for line in portal.daemon.log.splitlines() if f"user={portal.user} " in line]
