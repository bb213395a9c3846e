"""How the story's approver decides where no browser can be driven."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from demo.people import Approver


class Door(BaseHTTPRequestHandler):
    """The identity service and the app, as far as a decision needs them."""

    asked: list[tuple[str, str]]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, self.headers.get("Authorization", "")))  # type: ignore[attr-defined]
        body = json.dumps({"access_token": "hers"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


@pytest.mark.parametrize(("stub", "why"), [(False, "there is no Chromium here"), (True, "would not start")], ids=["none", "a stub"])
def test_without_a_browser_she_decides_over_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stub: bool, why: str) -> None:
    if stub:
        (tmp_path / "chromium").write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "chromium").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    server = HTTPServer(("127.0.0.1", 0), Door)
    server.asked = []  # type: ignore[attr-defined]
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    try:
        import certifi

        approver = Approver({"EMULATOR_URL": url, "AZURE_TENANT_ID": "t", "SSL_CERT_FILE": certifi.where()}, "grace", "grace")
        said = approver.decide({"link": f"{url}/ui", "decision_url": f"{url}/decide", "link_token": "l"}, "approve", "go")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert said.startswith("over HTTP")
    assert why in said
    assert server.asked == [("/t/oauth2/v2.0/token", ""), ("/decide", "Bearer hers")]  # type: ignore[attr-defined]
