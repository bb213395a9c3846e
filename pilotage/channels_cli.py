"""`pilotage channels`: how the channels fare by which people are told, and a card to try one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pilotage.client import PilotageClient
from pilotage.console import out, short_time, show_json, table, telling

app = typer.Typer(help="Channels by which people are told.")

Url = Annotated[str | None, typer.Option("--url", envvar="FUNCTIONS_URL", help="The app's address.")]
Json = Annotated[bool, typer.Option("--json", help="Print the values as JSON.")]


@app.callback(invoke_without_command=True)
def channels(ctx: typer.Context, url: Url = None, as_json: Json = False) -> None:
    """How each channel fares: when it last took a message, since when it fails, and why."""
    if ctx.invoked_subcommand is not None:
        return
    with telling():
        answer = PilotageClient.from_environment(url).channels()
    if as_json:
        show_json(answer)
        return
    rows = [_row(item) for item in answer["items"]]
    out().print(table("", ["channel", "state", "last told", "failing since", "failures", "last failure"], rows) if rows
                else "no channel is configured: set PILOTAGE_NOTIFY_CHANNELS or PILOTAGE_NOTIFY_WEBHOOK")


@app.command("test")
def try_channel(
    channel: Annotated[str, typer.Argument(metavar="NAME", help="As the app's settings name it.")], url: Url = None, as_json: Json = False,
) -> None:
    """Have the app send a card that says it is a test. Ends with 1 when it was not taken."""
    with telling():
        answer = PilotageClient.from_environment(url).try_channel(channel)
    if as_json:
        show_json(answer)
    else:
        for name in answer["told"]:
            out().print(f"{name}: told", markup=False)
        for name, reason in answer["failed"].items():
            out().print(f"{name}: not told: {reason}", markup=False)
    raise typer.Exit(1 if answer["failed"] else 0)


def _row(item: dict[str, Any]) -> list[str]:
    failure = f"{short_time(item['last_error_at'] or '')} {item['last_error']}".strip() if item["last_error"] else ""
    return [item["name"], item["state"], short_time(item["last_ok"] or ""), short_time(item["failing_since"] or ""),
            str(item["failures"]), failure]
