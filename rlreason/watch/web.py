"""A run as a web page on this machine: read-only, without a network, and for whoever knows its address alone.

    browser -> /TOKEN/view.json?stage=...&version=... -> feed.view as JSON, or 204 where nothing has changed

The server listens on 127.0.0.1 alone. Other users of the machine do not know the token in the address, and a page
elsewhere cannot reach this one by a name that it lets point here, since the Host header is checked. Text from records
is set as text by the page's script, never as markup, and its content policy allows no other script.
"""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from rlreason.errors import MachineError
from rlreason.watch.feed import Feed

HOST = "127.0.0.1"
LOOK_EVERY_S = 1.0
"""Shortest time between two looks at the run's files, however many pages ask."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"  # plotly sets its styles inline
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_PAGE = files("rlreason.watch") / "page"
_FILES = {
    "": _PAGE / "index.html",
    "watch.js": _PAGE / "watch.js",
    "watch.css": _PAGE / "watch.css",
    "report.css": files("rlreason.report") / "templates" / "style.css",
    "plotly.js": files("plotly") / "package_data" / "plotly.min.js",
}


class LockedFeed:
    """A feed that several requests share: one looks at a time, and not more often than `LOOK_EVERY_S`."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._lock = threading.Lock()
        self._looked = float("-inf")

    def newer(self, stage: str | None, version: int) -> dict[str, object] | None:
        """The view as JSON with its "version"; None where that is `version` still."""
        with self._lock:
            if time.monotonic() - self._looked >= LOOK_EVERY_S:
                self._feed.look()
                self._looked = time.monotonic()
            if self._feed.version == version:
                return None
            return {"version": self._feed.version, **self._feed.view(stage).as_json()}


def make_app(feed: Feed, token: str) -> Starlette:
    """The application; everything it serves is below /TOKEN/."""
    shared = LockedFeed(feed)

    def view(request: Request) -> Response:
        asked = request.query_params.get("version", "")
        found = shared.newer(request.query_params.get("stage"), int(asked) if asked.isdecimal() else -1)
        return Response(status_code=204, headers=HEADERS) if found is None else JSONResponse(found, headers=HEADERS)

    def file(name: str) -> Callable[[Request], Response]:
        return lambda request: FileResponse(Path(str(_FILES[name])), headers=HEADERS)

    routes = [Route(f"/{token}/view.json", view), *(Route(f"/{token}/{name}", file(name)) for name in _FILES)]
    return Starlette(routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])])


def serve(feed: Feed, port: int, told: Callable[[str], None]) -> None:
    """Serve until Ctrl-C.

    Args:
        port: 0: one that is free.
        told: given the page's address once it can be asked for.
    Raises:
        MachineError: the port is taken, or may not be used.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()  # from here on who asks waits, and is not refused
    except OSError as error:
        listener.close()
        raise MachineError(
            f"port {port} cannot be used: {error.strerror}; give another, or 0 for one that is free"
        ) from None
    token = secrets.token_urlsafe(16)
    config = uvicorn.Config(make_app(feed, token), log_level="warning", access_log=False, server_header=False)
    told(f"http://{HOST}:{listener.getsockname()[1]}/{token}/")
    uvicorn.Server(config).run(sockets=[listener])
