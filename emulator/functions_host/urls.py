"""A request's URL as it was sent: Starlette's is decoded, and a decoded one can't be sent back, nor told from another."""

from __future__ import annotations

from urllib.parse import quote

from starlette.requests import Request


def raw_path(request: Request) -> str:
    """The path with its percent-encoding, without the query."""
    return str(request.scope.get("raw_path", quote(request.scope["path"]).encode()).decode("latin-1"))


def raw_url(request: Request) -> str:
    """Scheme, host, path and query."""
    query = request.scope["query_string"].decode("latin-1")
    return f"{request.url.scheme}://{request.url.netloc}{quote(raw_path(request), safe='/%:@!$&()*+,;=~')}" + (f"?{query}" if query else "")
