"""Serves the app's HTTP functions on a free loopback port, for tests of what talks to them over HTTP.

Whoever is signed in with a browser comes as App Service Authentication hands them on: here the cookie `who` says who that is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import azure.functions as func

from tests.support.routes import FUNCTIONS, DurableClient, user_function


def _routes() -> list[tuple[str, re.Pattern[str], str]]:
    found = []
    for name, function in FUNCTIONS.items():
        trigger = function.get_trigger().get_dict_repr()
        if trigger["type"] == "httpTrigger":
            pattern = re.compile("/api/" + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", trigger["route"]))
            found += [(method.value, pattern, name) for method in trigger["methods"]]
    return found


@contextmanager
def serving(client: DurableClient) -> Iterator[str]:
    """The address of the app while the context lasts."""
    routes = _routes()

    class Handler(BaseHTTPRequestHandler):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):
                return self._answer
            raise AttributeError(name)

        def _answer(self) -> None:
            path = urlsplit(self.path).path
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            for method, pattern, name in routes:
                if method == self.command and (match := pattern.fullmatch(path)):
                    self._send(self._ask(name, {key: unquote(value) for key, value in match.groupdict().items()}, body))
                    return
            self._send(func.HttpResponse(status_code=405 if any(pattern.fullmatch(path) for _, pattern, _ in routes) else 404))

        def _ask(self, name: str, route: dict[str, str], body: bytes) -> func.HttpResponse:
            headers = {key: value for key, value in self.headers.items() if not key.upper().startswith("X-MS-")}
            cookies = SimpleCookie(self.headers.get("Cookie", ""))
            if "who" in cookies:
                headers["X-MS-TOKEN-AAD-ACCESS-TOKEN"] = cookies["who"].value
            request = func.HttpRequest(
                method=self.command, url=f"http://{self.headers['Host']}{self.path}", headers=headers, route_params=route,
                params=dict(parse_qsl(urlsplit(self.path).query)), body=body)
            function = user_function(name)
            takes_client = "client" in function.__code__.co_varnames[:function.__code__.co_argcount]
            return function(request, client) if takes_client else function(request)

        def _send(self, response: func.HttpResponse) -> None:
            body = response.get_body()
            self.send_response(response.status_code)
            usual = {"Content-Type": f"{response.mimetype}; charset={response.charset}", "Content-Length": str(len(body))}
            for name, value in {**usual, **dict(response.headers)}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Silent: the tests read the command's own output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
