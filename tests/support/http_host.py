"""Serves the app's HTTP functions on a free loopback port, for tests of what talks to them over HTTP."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
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
        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def _answer(self, method: str) -> None:
            url = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            for known, pattern, name in routes:
                match = pattern.fullmatch(url.path)
                if known == method and match:
                    request = func.HttpRequest(
                        method=method, url=self.path, headers=dict(self.headers.items()), params=dict(parse_qsl(url.query)),
                        route_params={key: unquote(value) for key, value in match.groupdict().items()}, body=body)
                    function = user_function(name)
                    takes_client = "client" in function.__code__.co_varnames[:function.__code__.co_argcount]
                    response = function(request, client) if takes_client else function(request)
                    self._send(response.status_code, response.get_body(), dict(response.headers))
                    return
            self._send(404, b"", {})

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
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
