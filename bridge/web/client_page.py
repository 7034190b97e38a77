"""`/client`: the page of docs/websocket_client_example.html, to try the namespaces by hand."""

from pathlib import Path
from typing import Final

from aiohttp import web

from bridge.config.model import Http
from bridge.errors import Fault

PAGE: Final = "websocket_client_example.html"
_PARTS: Final = {
    "client/page.css": "text/css",
    "client/systems.js": "text/javascript",
    "client/json.js": "text/javascript",
    "client/page.js": "text/javascript",
    "client/socket.io.min.js": "text/javascript",
}
"""What the page loads, by addresses that lead to the same files when it is opened from disk."""
_HEADERS: Final = {
    # No script and no style but these files; the page may connect to any server that lets it in.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; "
    "connect-src http: https: ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def find_page_folder() -> Path | None:
    """The folder `docs` that holds the page: of the project's own tree, else of the working directory."""
    folders = (Path(__file__).resolve().parents[2] / "docs", Path("docs").resolve())
    return next(
        (folder for folder in folders if all((folder / name).is_file() for name in (PAGE, *_PARTS))), None
    )


def find_page_faults(http: Http, file: str) -> list[Fault]:
    """What is wrong where the page is asked for and not installed; `file` is the configuration's name."""
    if not http.client_page or find_page_folder() is not None:
        return []
    message = f"docs/{PAGE} is not there, with its parts: start in the project's folder, or set it to false"
    return [Fault(file=file, path="http.client_page", message=message)]


def make_page_routes(folder: Path) -> list[web.RouteDef]:
    """The routes of the page and its parts, which are read from the folder once."""
    routes = [_route("/client", folder / PAGE, "text/html")]
    return routes + [_route(f"/{part}", folder / part, kind) for part, kind in _PARTS.items()]


def _route(path: str, file: Path, kind: str) -> web.RouteDef:
    body = file.read_bytes()

    async def show(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=_HEADERS)

    return web.get(path, show)
