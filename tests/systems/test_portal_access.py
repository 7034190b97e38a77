"""Who may connect to the portal's namespaces, over which transports, and how many connections a user has."""

import base64
import json
import urllib.request

import jwt
import pytest

from tests.support.daemon import SECRET, Daemon, make_token, unique
from tests.support.js_client import JsClient, JsConnectError
from tests.support.portal import Portal


@pytest.mark.parametrize(
    ("namespace", "claims"),
    [
        ("/portal", {}),
        ("/project/{project}", {}),
        ("/chat/{project}", {}),
        ("/monitoring", {"permissions": ["monitoring:read"]}),
        ("/admin", {"roles": ["admin"]}),
    ],
)
async def test_a_token_in_the_handshake_opens_each_namespace(
    portal: Portal, namespace: str, claims: dict[str, object]
) -> None:
    """The five namespaces let in whoever's claims allow it."""
    client = await portal.connect(namespace.format(project=portal.project), **claims)
    assert client.connected
    assert client.sid


@pytest.mark.parametrize(
    ("namespace", "claims"),
    [
        ("/project/{project}", {"projects": ["another"]}),
        ("/project/{project}", {"projects": []}),
        ("/project/{project}", {"projects": ["{project}-2"]}),
        ("/chat/{project}", {"projects": ["another"]}),
        ("/monitoring", {}),
        ("/monitoring", {"permissions": ["approvals:write"], "roles": ["admin"]}),
        ("/admin", {}),
        ("/admin", {"roles": ["user"], "permissions": ["admin"]}),
    ],
)
async def test_claims_that_do_not_allow_a_namespace_are_refused(
    portal: Portal, namespace: str, claims: dict[str, object]
) -> None:
    """`/admin` needs the role, `/monitoring` the permission, projects and chats the project."""
    with pytest.raises(JsConnectError) as refused:
        await portal.connect(namespace.format(project=portal.project), **claims)
    assert refused.value.message
    assert _code(refused.value) == "FORBIDDEN"


async def test_a_star_in_projects_is_all_projects(portal: Portal) -> None:
    """`"*"` = all."""
    client = await portal.connect(f"/project/{portal.project}", projects=["*"])
    await portal.tell(client)


async def test_project_access_is_read_where_projects_is_absent(portal: Portal) -> None:
    """The document's claim `project_access` lets in where there is no `projects`, and only there."""
    client = await portal.connect(
        f"/chat/{portal.project}", token=make_token(portal.user, project_access=[portal.project])
    )
    assert client.connected
    both = make_token(portal.user, projects=["another"], project_access=[portal.project])
    with pytest.raises(JsConnectError):
        await portal.connect(f"/chat/{portal.project}", token=both)


async def test_a_token_in_the_authorization_header_counts(portal: Portal) -> None:
    """A client that can set headers may send its token as a bearer."""
    client = await portal.js.connect(
        f"{portal.daemon.url}/project/{portal.project}",
        transports=["websocket"],
        extraHeaders={"Authorization": f"Bearer {portal.token()}"},
    )
    await portal.tell(client)


def _bad_tokens() -> dict[str, object]:
    unsigned = jwt.encode({"sub": "ann", "exp": 4_000_000_000, "projects": ["*"]}, None, algorithm="none")
    head, body, signature = make_token("ann", projects=["a"]).split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**claims, "projects": ["*"]}).encode()).decode().rstrip("=")
    return {
        "of another secret": make_token("ann", secret="x" * 40, projects=["*"]),
        "expired": make_token("ann", -10, projects=["*"]),
        "without an expiry": make_token("ann", None, projects=["*"]),
        "with a text as expiry": make_token("ann", None, projects=["*"], exp="4000000000"),
        "not valid yet": make_token("ann", projects=["*"], nbf=4_000_000_000),
        "unsigned": unsigned,
        "with forged claims": f"{head}.{forged}.{signature}",
        "of a stronger algorithm": jwt.encode(
            {"sub": "ann", "exp": 4_000_000_000, "projects": ["*"]}, SECRET * 2, algorithm="HS512"
        ),
        "without a user": make_token("", projects=["*"]),
        "of a user with a line break": make_token("ann\r\nroot", projects=["*"]),
        "too long": make_token("ann", projects=["*"], padding="x" * 9000),
        "no token": "abc",
        "a number": 42,
        "a list": [make_token("ann", projects=["*"])],
    }


@pytest.mark.parametrize("kind", list(_bad_tokens()))
async def test_a_bad_token_is_refused(portal: Portal, kind: str) -> None:
    """A token that is not good lets nobody in, and the client learns a code and nothing of the inside."""
    with pytest.raises(JsConnectError) as refused:
        await portal.js.connect(
            f"{portal.daemon.url}/portal", transports=["websocket"], auth={"token": _bad_tokens()[kind]}
        )
    assert refused.value.message
    assert _code(refused.value) == "INVALID_TOKEN"


@pytest.mark.parametrize(
    ("transports", "in_the_end"),
    [
        (["websocket", "polling"], "websocket"),
        (["polling"], "polling"),
        (["polling", "websocket"], "websocket"),
    ],
    ids=["as in the document", "fallback", "upgrade"],
)
async def test_both_transports_serve(portal: Portal, transports: list[str], in_the_end: str) -> None:
    """`Transports: websocket, polling (fallback)`, with the upgrade of the official client's defaults."""
    client = await portal.project_client(options={"transports": transports})
    await client.until(lambda: client.transport == in_the_end)
    await portal.tell(client)


def test_heartbeat_and_size_are_those_of_the_document(portal_daemon: Daemon) -> None:
    """Heartbeats every 25 s, 60 s of patience, messages up to 1 MB, at `/socket.io/`."""
    address = f"{portal_daemon.url}/socket.io/?EIO=4&transport=polling"
    with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310  http
        opened = json.loads(answer.read()[1:])
    assert (opened["pingInterval"], opened["pingTimeout"]) == (25_000, 60_000)
    assert opened["maxPayload"] == 1_000_000
    assert "websocket" in opened["upgrades"]


async def test_several_namespaces_share_one_connection(portal: Portal) -> None:
    """All five namespaces live on one Engine.IO connection, each with its own access."""
    claims: dict[str, object] = {"permissions": ["monitoring:read"], "roles": ["admin"]}
    first = await portal.connect("/portal", **claims)
    others = [
        await portal.connect(namespace, shares=first, **claims)
        for namespace in (f"/project/{portal.project}", f"/chat/{portal.project}", "/monitoring", "/admin")
    ]
    assert all(client.connected for client in others)
    with pytest.raises(JsConnectError):
        await portal.connect("/project/another", shares=first, **claims)
    await portal.tell(others[0])
    assert first.connected


async def test_a_user_has_five_connections(portal: Portal) -> None:
    """The sixth connection of a user is refused; the others, and other users, are untouched."""
    clients = [await portal.project_client() for _ in range(5)]
    with pytest.raises(JsConnectError) as refused:
        await portal.connect("/portal")
    assert _code(refused.value) == "TOO_MANY_CONNECTIONS"
    await portal.project_client(user=unique("bob"))
    await portal.connect("/portal", shares=clients[0])
    await portal.tell(clients[4])
    assert all(client.connected for client in clients)


async def test_a_place_that_becomes_free_may_be_taken(portal: Portal) -> None:
    """A connection that ends no longer counts, whether it is left or lost."""
    clients = [await portal.project_client() for _ in range(5)]
    await _close(portal, clients[0])
    await portal.project_client()
    await clients[1].kill()
    await clients[1].wait_connected(2)
    assert clients[1].connects == 2


async def test_connections_are_counted_at_authentication(portal: Portal) -> None:
    """A connection that has not signed in belongs to nobody; signing in as a sixth one fails."""
    sixth = await portal.connect_unsigned("/portal")
    clients = [await portal.project_client() for _ in range(5)]
    await sixth.emit("authenticate", {"token": portal.token()})
    failed = (await sixth.wait_for("authentication_failed"))[0][0]
    assert isinstance(failed, dict)
    assert failed["code"] == "TOO_MANY_CONNECTIONS"
    assert sorted(failed) == ["code", "message"]
    await _close(portal, clients[0])
    await sixth.emit("authenticate", {"token": portal.token()})
    await sixth.wait_for("authenticated")


async def _close(portal: Portal, client: JsClient) -> None:
    """Close a client of a project, and wait until the server has noticed."""

    def count() -> float:
        return portal.daemon.metrics()['bridged_clients{namespace="/project/{project}"}']

    before = count()
    await client.close()
    await portal.daemon.until(lambda: count() < before, 5, "a client fewer")


def _code(refused: JsConnectError) -> object:
    assert isinstance(refused.data, dict)
    return refused.data["code"]
