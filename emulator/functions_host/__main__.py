"""`python -m emulator.functions_host`: how the platform starts the host."""

from __future__ import annotations

import argparse
from pathlib import Path

from emulator.functions_host.command import serve

parser = argparse.ArgumentParser(prog="emulator.functions_host", description="Serve an Azure Functions app.")
parser.add_argument("--app", type=Path, default=Path())
parser.add_argument("--port", type=int, default=7071)
parser.add_argument("--state", type=Path, required=True)
parser.add_argument("--clock", type=Path, help="the platform's clock file")
parser.add_argument("--watch", action="store_true", help="start again when a file of the app changes")
arguments = parser.parse_args()
if arguments.watch:
    from emulator.functions_host.watch import serve_watched

    serve_watched(arguments.app.resolve(), arguments.port, arguments.state, arguments.clock)
else:
    serve(arguments.app.resolve(), arguments.port, arguments.state, arguments.clock)
