"""The commands for a platform that runs: status, reset, clock, faults, journal, seed."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from emulator.errors import EmulatorError
from emulator.remote import Remote

State = Annotated[Path, typer.Option(help="The folder that the platform keeps everything in.")]
AsJson = Annotated[bool, typer.Option("--json", help="For scripts: JSON, and nothing else.")]
_output, _errors = Console(highlight=False), Console(stderr=True, highlight=False)
_FOLLOW_EVERY = 0.5

clock = typer.Typer(no_args_is_help=True, help="The platform's virtual time.")
faults = typer.Typer(no_args_is_help=True, help="Faults on demand: what goes wrong for which requests.")


def add_to(app: typer.Typer) -> None:
    """Register everything of this module."""
    for command in (status, reset, seed, journal):
        app.command()(command)
    app.add_typer(clock, name="clock")
    app.add_typer(faults, name="faults")


def status(state: State, as_json: AsJson = False) -> None:
    """What runs on a state folder, and what there is."""
    found = _ask(state, "GET", "/status")
    if as_json:
        _json(found)
        return
    _line(f"{found['url']}  {found['now'][:19].replace('T', ' ')} UTC"
          + (f" ({found['offset_seconds']:.0f} s ahead)" if found["offset_seconds"] else ""))
    total = sum(process["memory"] for process in found["processes"])
    _table(("process", "id", "memory"), [
        *((process["role"], str(process["pid"]), _size(process["memory"])) for process in found["processes"]), ("total", "", _size(total))])
    numbers = {**found["resources"], **{f"deliveries, {name.replace('_', ' ')}": number for name, number in found["deliveries"].items()},
               **{name: found[name] for name in ("requests", "messages", "faults")}}
    _table(("what", "number"), [(name, str(number)) for name, number in numbers.items()])


def reset(state: State, as_json: AsJson = False) -> None:
    """Forget everything that clients have made. Configuration, keys, containers, tables and the time stay."""
    found = _ask(state, "POST", "/reset")
    if as_json:
        _json(found)
    else:
        _line(f"empty, after {sum(found['milliseconds'].values()):.0f} ms")


def seed(file: Annotated[Path, typer.Argument(help="YAML: data, models, environments, endpoints (docs/emulator/README.md).")],
         state: State, as_json: AsJson = False) -> None:
    """Create what a file names through the services' own API. What is there already stays as it is."""
    from emulator.seeding import sow

    with _shown(), Remote(state) as remote:
        made: list[dict[str, str]] = []
        for item in sow(file, remote.env):
            made.append(item)
            if not as_json:
                _line(f"{item['outcome']}  {item['kind']}  {item['name']}")
        if as_json:
            _json({"items": made})


def journal(state: State, path: Annotated[str, typer.Option(help="A regular expression, searched in the path.")] = "",
            method: str = "", follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
            as_json: AsJson = False) -> None:
    """The requests that clients have made, oldest first."""
    since = 0
    with _shown(), Remote(state) as remote:
        while True:
            for entry in remote.ask("GET", "/journal", params={"path": path, "method": method, "since": since})["items"]:
                since = entry["seq"]
                if as_json:
                    _output.out(json.dumps(entry), highlight=False)
                else:
                    caller = f"  {entry['caller']}" if entry["caller"] else ""
                    _line(f"{entry['time'][11:23]}  {entry['status'] or '---'}  {entry['method']:6}  {entry['path']}{caller}")
            if not follow:
                return
            try:
                time.sleep(_FOLLOW_EVERY)
            except KeyboardInterrupt:
                return


@clock.command("show")
def show_clock(state: State, as_json: AsJson = False) -> None:
    """What time it is there."""
    _clock(_ask(state, "GET", "/clock"), as_json)


@clock.command()
def advance(duration: Annotated[str, typer.Argument(help="ISO 8601, such as PT1H or P30D.")], state: State,
            as_json: AsJson = False) -> None:
    """Let time pass: durable timers, schedules, delivery retries and expiries move together."""
    _clock(_ask(state, "POST", "/clock", json={"advance": duration}), as_json)


@faults.command("list")
def list_faults(state: State, as_json: AsJson = False) -> None:
    """Those in force, with how often they have hit."""
    found = _ask(state, "GET", "/faults")
    if as_json:
        _json(found)
    elif not found["items"]:
        _line("no fault is in force")
    else:
        _table(("id", "action", "when", "service", "method", "path", "hits", "holds"), [
            (str(item["id"]), f"{item['action']} {item['status']}" if item["action"] == "status" else item["action"], item["when"],
             item["service"] or "any", item["method"] or "any", item["path"], f"{item['hits']} of {item['count']}", str(item["holding"]))
            for item in found["items"]])


@faults.command("add")
def add_fault(path: Annotated[str, typer.Argument(help="A regular expression, searched in the path.")], state: State,
              action: Annotated[str, typer.Option(help="status, drop, hold, delay, fail_operation or stick_operation.")] = "status",
              when: Annotated[str, typer.Option(help="`before` or `after` the request has its effect.")] = "before",
              service: Annotated[str, typer.Option(help="azure_ml, event_grid, identity or storage; all when left out.")] = "",
              method: str = "", status: int = 503, count: int = 1, skip: int = 0,
              delay: Annotated[float, typer.Option(help="Seconds.")] = 1.0,
              header: Annotated[list[str] | None, typer.Option(help="Of the answer, as `Retry-After: 3`; may be given again.")] = None,
              code: str = "InternalServerError", message: str = "a fault was asked for", as_json: AsJson = False) -> None:
    """Make requests go wrong: the first `count` that match, after letting `skip` go by."""
    headers = {}
    for text in header or []:
        name, colon, value = text.partition(":")
        if not colon:
            raise typer.BadParameter(f"{text!r} has no colon", param_hint="--header")
        headers[name.strip()] = value.strip()
    found = _ask(state, "POST", "/faults", json={
        "path": path, "action": action, "when": when, "service": service, "method": method, "status": status, "count": count, "skip": skip,
        "delay_seconds": delay, "headers": headers, "code": code, "message": message})
    if as_json:
        _json(found)
    else:
        _line(f"fault {found['id']} is in force")


@faults.command("clear")
def clear_faults(state: State, number: Annotated[int | None, typer.Argument(help="One of them; all when left out.")] = None) -> None:
    """Remove faults; requests that they hold go on."""
    if number is None:
        _ask(state, "DELETE", "/faults")
        return
    if all(item["id"] != number for item in _ask(state, "GET", "/faults")["items"]):
        _fail(EmulatorError(f"no fault {number} is in force: see `emulator faults list`"))
    _ask(state, "DELETE", f"/faults/{number}")


# --- output -----------------------------------------------------------------------------------------------------------


def _ask(state: Path, method: str, path: str, **options: Any) -> Any:
    with _shown(), Remote(state) as remote:
        return remote.ask(method, path, **options)


class _shown:
    """Our own errors end the command with a line, not a traceback."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, EmulatorError):
            _fail(error)


def _clock(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _json(found)
    else:
        _line(f"{found['now'][:19].replace('T', ' ')} UTC, {found['offset_seconds']:.0f} s ahead of the machine")


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """A table for people; columns with two spaces between them where nobody looks."""
    if not _output.is_terminal:
        for row in rows:
            _line("  ".join(row).rstrip())
        return
    table = Table(*head, box=None, header_style="dim", pad_edge=False)
    for row in rows:
        table.add_row(*(re.sub(r"\[", r"\\[", cell) for cell in row))
    _output.print(table)


def _line(text: str) -> None:
    _output.print(text, markup=False, soft_wrap=True)
    _output.file.flush()


def _json(value: Any) -> None:
    _output.out(json.dumps(value, indent=2), highlight=False)


def _size(number: int) -> str:
    return f"{number / 1024 / 1024:.0f} MiB"


def _fail(error: EmulatorError) -> NoReturn:
    _errors.print(f"{type(error).__name__}: {error}", style="red", markup=False, soft_wrap=True)
    raise typer.Exit(1) from error
