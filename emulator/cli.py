"""`emulator`: the local platform from the command line."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from emulator import commands
from emulator.errors import EmulatorError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Azure ML, Event Grid, Functions, identity and storage on this machine.")
functions = typer.Typer(no_args_is_help=True, help="The Functions host alone.")
app.add_typer(functions, name="functions")
commands.add_to(app)
_output, _errors = Console(highlight=False), Console(stderr=True, highlight=False)
_END_WITHIN = 30.0

State = Annotated[Path, typer.Option(help="Folder that keeps everything; start on it again to go on.")]


@app.command()
def up(
    state: State,
    ports: Annotated[str, typer.Option(help="`fixed` for the documented ports, `auto` for free ones.")] = "fixed",
    config: Annotated[Path | None, typer.Option(help="What it consists of; default: ./platform.yaml, or one workspace.")] = None,
    no_functions: Annotated[bool, typer.Option("--no-functions", help="Without the Functions host: for work with the SDKs alone.")] = False,
) -> None:
    """Start the platform; `ready` is printed when all of it answers. SIGTERM or Ctrl-C ends it."""
    from emulator.config import chosen, load
    from emulator.platform import Platform

    if ports not in ("fixed", "auto"):
        raise typer.BadParameter("use fixed or auto", param_hint="--ports")
    try:
        file, folder = chosen(config)
        settings = load(file)
        app = folder / settings.app.path
        # Without a platform.yaml nobody has said that there is an app.
        with_functions = not no_functions and (app / "host.json").exists() if file.resolve().parent != folder else not no_functions

        async def main() -> None:
            await Platform(settings, state, automatic_ports=ports == "auto", functions=with_functions,
                           app=app, say=_say).run()

        asyncio.run(main())
    except EmulatorError as error:
        _fail(error)


@app.command()
def stop(state: State) -> None:
    """End the platform that runs on a state folder, and wait until it has ended."""
    from emulator.lock import running

    process = running(state)
    if process is None:
        _output.print(f"no platform runs on {state}", markup=False)
        return
    os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + _END_WITHIN
    while running(state) is not None:
        if time.monotonic() > deadline:
            _fail(EmulatorError(f"process {process} did not end within {_END_WITHIN:g} s"))
        time.sleep(0.05)


@functions.command()
def start(
    port: Annotated[int | None, typer.Option(help="Port on 127.0.0.1; default: LocalHttpPort of local.settings.json, or 7071.")] = None,
    app_folder: Annotated[Path, typer.Option("--app", help="Folder of the Functions app.")] = Path(),
    state: Annotated[Path | None, typer.Option(help="Folder for durable state and keys; default: .functions in the app's folder.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Start again when a file of the app changes.")] = False,
) -> None:
    """Serve any v2-model Functions app, as Core Tools would."""
    from emulator.functions_host.command import serve
    from emulator.functions_host.settings import local_port
    from emulator.functions_host.watch import serve_watched

    folder = app_folder.resolve()
    try:
        chosen = port or local_port(folder) or 7071
    except EmulatorError as error:
        _fail(error)
    (serve_watched if watch else serve)(folder, chosen, (state or folder / ".functions").resolve())


def _say(text: str) -> None:
    """A line of progress: in colour for people, plain for scripts, and at once for both."""
    style = {"ready": "bold green", "ending": "dim"}.get(text) if _output.is_terminal else None
    _output.print(text, style=style, markup=False, soft_wrap=True)
    _output.file.flush()


def _fail(error: EmulatorError) -> None:
    _errors.print(f"{type(error).__name__}: {error}", style="red", markup=False, soft_wrap=True)
    raise typer.Exit(1) from error


if __name__ == "__main__":
    app()
