"""What messages are sent to, on loopback: an HTTP server that keeps what is posted, and a mail server that keeps letters."""

from __future__ import annotations

import json
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Posts:
    """Keeps the JSON that is posted to it, and answers with `status`; a redirect leads to itself."""

    def __init__(self, certificate: tuple[str, str] | None = None) -> None:
        self.status, self.bodies, self.paths = 200, [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.paths.append(self.path)
                outer.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(outer.status)
                if outer.status in (301, 302, 307):
                    self.send_header("Location", f"http://127.0.0.1:{outer.port}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)

    bodies: list[Any]
    paths: list[str]

    @property
    def port(self) -> int:
        return self.server.server_port

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.port}/s3cret-path"


class Letters:
    """As much of SMTP (RFC 5321) as smtplib asks for."""

    def __init__(self) -> None:
        self.letters: list[EmailMessage] = []
        letters = self.letters

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self._say("220 letters")
                while line := self.rfile.readline().decode().strip():
                    verb = line.split(" ")[0].split(":")[0].upper()
                    if verb == "DATA":
                        self._say("354 go on")
                        content = b"".join(iter(self.rfile.readline, b".\r\n"))
                        letters.append(message_from_bytes(content.replace(b"\r\n..", b"\r\n."), policy=policy.default))  # type: ignore[arg-type]
                    self._say("221 bye" if verb == "QUIT" else "250 fine")
                    if verb == "QUIT":
                        return

            def _say(self, text: str) -> None:
                self.wfile.write(f"{text}\r\n".encode())

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])


@contextmanager
def listening[R: (Posts, Letters)](receiver: R) -> Iterator[R]:
    """The receiver, answering as long as the context lasts."""
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join()
