"""The document's own client code runs against the bridge as it stands there."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

from tests.support.daemon import unique
from tests.support.page import Page, open_page
from tests.support.portal import Portal

_PAGE = Path(__file__).parent / "portal_page.mjs"


def _open_page(portal: Portal, token: str) -> AbstractAsyncContextManager[Page]:
    """A page of the document's client, for the test's project."""
    environ = {
        "PORT": str(portal.daemon.port),
        "PROJECT": portal.project,
        "TOKEN": token,
        "USER_ID": portal.user,
    }
    return open_page(_PAGE, environ)


async def test_the_documents_client_follows_a_project(portal: Portal) -> None:
    """The page signs in on connect, joins through its hook, shows events, and leaves when it is left.

    `join_project` is emitted before the connection stands, hence flushed ahead of `authenticate`: it is
    held and run afterwards.
    """
    other = await portal.connect("/portal", user=unique("bob"))
    await other.emit("join_project", {"project_name": portal.project})
    await other.wait_for("joined_project")
    async with _open_page(portal, portal.token()) as page:
        joined = await page.wait_for("joined_project")
        assert joined == {
            "project_name": portal.project,
            "current_state": None,
            "active_users": 2,
            "last_activity": None,
        }
        authenticated = {"user_id": portal.user, "permissions": []}
        assert ("authenticated", authenticated) in page.shown
        assert ("page", {"connected": True, "error": None}) in page.shown
        assert (await other.wait_for("user_joined"))[0][0]
        await portal.publish("state_change", portal.state_change())
        assert await page.wait_for("state_change") == portal.state_change()
        page.tell(unmount=True)
        await other.wait_for("user_left")


async def test_the_documents_client_chats(portal: Portal) -> None:
    """`send_message` of the document's example reaches the service, and its answer reaches the page."""
    commands = await portal.take_commands()
    async with _open_page(portal, portal.token()) as page:
        await page.wait_for("joined_project")
        chat = f"/chat/{portal.project}"
        page.tell(send=[chat, "send_message", {"content": "/sprint start", "type": "command"}])
        sent = await commands.body()
        assert (sent["content"], sent["user_id"]) == ("/sprint start", portal.user)
        await portal.services.publish(f"chat.{portal.project}.message_received", {**sent, "type": "response"})
        assert await page.wait_for("message_received") == {**sent, "type": "response"}


async def test_the_documents_client_shows_errors(portal: Portal) -> None:
    """A refusal arrives where the document's callbacks read it, with one of the types it handles."""
    async with _open_page(portal, portal.token()) as page:
        await page.wait_for("joined_project")
        page.tell(emit=["resolve_approval", {"request_id": "r-1", "approved": True}])
        error = await page.wait_for("error")
        assert isinstance(error, dict)
        assert error["type"] == "authentication"
        assert error["message"]


async def test_the_documents_client_hears_of_a_bad_token(portal: Portal) -> None:
    """`authentication_failed {message, code}` reaches the document's handler."""
    async with _open_page(portal, "nonsense") as page:
        failed = await page.wait_for("authentication_failed")
        assert isinstance(failed, dict)
        assert sorted(failed) == ["code", "message"]
