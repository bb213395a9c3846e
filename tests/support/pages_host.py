"""The app's pages in a browser without a platform: a server in this process that hands requests to the functions as the host does.

Whoever is signed in comes as App Service Authentication hands them on; here the browser's cookie `who` says who that is.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import azure.functions as func

from tests.support.routes import FUNCTIONS, DurableClient, user_function


def _routes() -> list[tuple[str, re.Pattern[str], str, bool]]:
    found = []
    for name, function in FUNCTIONS.items():
        trigger = function.get_trigger().get_dict_repr()
        if trigger["type"].lower() == "httptrigger" and trigger["route"]:
            pattern = re.compile("/api/" + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", trigger["route"]))
            takes_client = any(binding.type == "durableClient" for binding in function.get_bindings())
            found += [(method.value, pattern, name, takes_client) for method in trigger["methods"]]
    return found


@contextmanager
def pages_host(orchestrator: Any) -> Iterator[str]:
    """The address; the app is the one that `bootstrap` has."""
    routes, client = _routes(), DurableClient(orchestrator)

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            parts = urlsplit(self.path)
            for method, pattern, name, takes_client in routes:
                if method == self.command and (match := pattern.fullmatch(parts.path)):
                    self._answer(name, {key: unquote(value) for key, value in match.groupdict().items()}, takes_client)
                    return
            self.send_response(405 if any(pattern.fullmatch(parts.path) for _, pattern, _, _ in routes) else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _answer(self, name: str, route: dict[str, str], takes_client: bool) -> None:
            headers = {key: value for key, value in self.headers.items() if not key.upper().startswith("X-MS-")}
            cookie = SimpleCookie(self.headers.get("Cookie", ""))
            if "who" in cookie:
                headers["X-MS-TOKEN-AAD-ACCESS-TOKEN"] = cookie["who"].value
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = func.HttpRequest(
                method=self.command, url=f"http://{self.headers['Host']}{self.path}", headers=headers, route_params=route,
                params=dict(parse_qsl(urlsplit(self.path).query)), body=body)
            response = user_function(name)(request, client) if takes_client else user_function(name)(request)
            content = response.get_body()
            self.send_response(response.status_code)
            self.send_header("Content-Type", f"{response.mimetype}; charset={response.charset}")
            self.send_header("Content-Length", str(len(content)))
            for key, value in response.headers.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(content)

        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return self._serve
            raise AttributeError(name)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
