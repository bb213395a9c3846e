"""Keeps other web sites' pages in the user's browser away from the platform's pages and control API.

They need no sign-in: what protects them is that only this machine reaches them. A browser on this machine also runs
the scripts and forms of strangers, whose requests it marks with where they come from (`Origin`, `Sec-Fetch-Site`), or which
use a name of their own for the loopback address (DNS rebinding), which `Host` shows.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from emulator.faults import is_own

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class OwnPages:
    """Answers 403 to what another site's page asks of the platform itself; everything else goes on to `app`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and is_own(scope["path"]):
            headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
            if problem := refusal(scope["method"], headers):
                await JSONResponse({"error": problem}, 403)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def refusal(method: str, headers: dict[str, str]) -> str | None:
    """Why a request (names of headers in lower case) is refused; None when it may go on."""
    host = headers.get("host", "")
    if _name(f"//{host}") not in _LOOPBACK:
        return f"the platform is called localhost, not {host!r}"
    if method in _SAFE:
        return None
    origin = headers.get("origin")
    if origin is not None and _netloc(origin) != host:
        return "a page of another site may not change anything here"
    if origin is None and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return "a page of another site may not change anything here"
    return None


def _netloc(url: str) -> str | None:
    try:
        return urlsplit(url).netloc
    except ValueError:
        return None


def _name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
