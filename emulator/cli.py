"""`emulator`: the local platform from the command line."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from emulator.context import EmulatorError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Azure ML, Event Grid, Functions, identity and storage on this machine.")
functions = typer.Typer(no_args_is_help=True, help="The Functions host alone.")
app.add_typer(functions, name="functions")
_errors = Console(stderr=True, highlight=False)


@app.command()
def up(
    state: Annotated[Path, typer.Option(help="Folder that keeps everything; start on it again to go on.")],
    ports: Annotated[str, typer.Option(help="`fixed` for the documented ports, `auto` for free ones.")] = "fixed",
    config: Annotated[Path, typer.Option(help="What the platform consists of.")] = Path("platform.yaml"),
    no_functions: Annotated[bool, typer.Option("--no-functions", help="Without the Functions host: for work with the SDKs alone.")] = False,
) -> None:
    """Start the platform; `ready` is printed when all of it answers. SIGTERM or Ctrl-C ends it."""
    from emulator.config import load
    from emulator.platform import Platform

    if ports not in ("fixed", "auto"):
        raise typer.BadParameter("use fixed or auto", param_hint="--ports")
    try:
        settings = load(config)

        async def main() -> None:
            await Platform(settings, state, automatic_ports=ports == "auto", functions=not no_functions,
                           app=config.resolve().parent / settings.app.path, say=lambda text: print(text, flush=True)).run()

        asyncio.run(main())
    except EmulatorError as error:
        _errors.print(f"{type(error).__name__}: {error}", style="red", markup=False)
        raise typer.Exit(1) from error


@functions.command()
def start(
    port: Annotated[int, typer.Option(help="Port of the host on 127.0.0.1.")] = 7071,
    app_folder: Annotated[Path, typer.Option("--app", help="Folder of the Functions app.")] = Path(),
    state: Annotated[Path | None, typer.Option(help="Folder for durable state and keys; default: .functions in the app's folder.")] = None,
) -> None:
    """Serve any v2-model Functions app, as Core Tools would."""
    from emulator.functions_host.command import serve

    serve(app_folder.resolve(), port, state or app_folder.resolve() / ".functions")


if __name__ == "__main__":
    app()
